"""Wake-ups: a hint to the lane runners of this machine that something is due.

Each runner listens on a datagram socket of its own; whoever has committed work sends one byte to
all of them. A lost hint costs a moment (runners look by themselves, too), a doubled one nothing.
"""

import contextlib
import os
import select
import socket
from pathlib import Path

from django.conf import settings
from django.db import transaction

WAKE = b"."
STOP = b"s"


def notify() -> None:
    """Wake every runner; after the commit when called inside a transaction."""
    transaction.on_commit(_wake)


def stop() -> int:
    """Ask every runner of this machine to finish what is in flight and end; return how many."""
    return _broadcast(STOP)


def _wake() -> None:
    _broadcast(WAKE)


def _folder() -> Path:
    return Path(settings.HERMES_DATA_DIR) / "run"


_sender: tuple[int, socket.socket] | None = None


def _broadcast(message: bytes) -> int:
    """Send to whoever listens; return how many do."""
    global _sender
    if _sender is None or _sender[0] != os.getpid():
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.setblocking(False)
        _sender = (os.getpid(), sock)
    try:
        names = os.listdir(_folder())
    except FileNotFoundError:
        return 0
    listening = 0
    for name in names:
        if not name.endswith(".wake"):
            continue
        path = _folder() / name
        try:
            _sender[1].sendto(message, str(path))
            listening += 1
        except BlockingIOError:
            listening += 1  # its buffer is full of hints already
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # left behind by a runner that was killed
        except FileNotFoundError:
            pass
    return listening


class Ear:
    """A runner's end: waits for a hint, for its own threads, or for a moment in time."""

    def __init__(self) -> None:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / f"{os.getpid()}.wake"
        self._path.unlink(missing_ok=True)
        self._hints = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._hints.setblocking(False)
        self._hints.bind(str(self._path))
        # Objects and not bare descriptors: a thread that ends late must not write into whatever
        # has got the number since.
        self._nudged, self._nudging = socket.socketpair()
        self._nudged.setblocking(False)
        self._nudging.setblocking(False)
        # Not select(): connections kept by many threads may have used up its 1024 descriptors.
        self._poll = select.poll()
        self._poll.register(self._hints, select.POLLIN)
        self._poll.register(self._nudged, select.POLLIN)
        self.stopping = False

    def nudge(self) -> None:
        """Wake this runner from one of its own threads, if it still listens."""
        with contextlib.suppress(OSError):  # full of nudges, or closed
            self._nudging.send(b".")

    def wait(self, seconds: float) -> None:
        """Sleep until a hint, a nudge, or for so many seconds."""
        self._poll.poll(max(0.0, seconds) * 1000)
        with contextlib.suppress(BlockingIOError):
            while hint := self._hints.recv(16):
                self.stopping = self.stopping or hint == STOP
        with contextlib.suppress(BlockingIOError):
            self._nudged.recv(65536)

    def close(self) -> None:
        """Stop listening."""
        self._path.unlink(missing_ok=True)
        self._hints.close()
        self._nudging.close()
        self._nudged.close()
