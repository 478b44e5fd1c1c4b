"""Which streams the supervisor runs: a process for each app that a channel receives by."""

import logging
import threading
import time
from dataclasses import dataclass

from django.db import connection

from platforms.dingtalk import streams
from platforms.dingtalk.streams import App

from .child import Child

logger = logging.getLogger(__name__)

LOOK_EVERY = 3.0  # seconds from a change in the admin to a stream that follows it
LEAVE_WITHIN = 15.0


@dataclass(slots=True)
class _Leaving:
    """A process that was asked to end, and until when it may take."""

    child: Child
    until: float


class Streams:
    """The streams' processes. A thread looks at the channels, as a database may be slow."""

    def __init__(self) -> None:
        self._wanted: dict[str, App] = {}
        self._kept: dict[str, tuple[str, Child]] = {}  # by app: version, process
        self._leaving: dict[str, _Leaving] = {}
        self._ended = threading.Event()
        self._blind = False
        self._thread = threading.Thread(target=self._watch, name="streams", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def end(self) -> None:
        """Look no more, and let every stream end."""
        self._ended.set()
        for child in self.children:
            child.terminate()

    @property
    def kept(self) -> list[Child]:
        """Return the processes that are started again when they end."""
        return [child for _version, child in self._kept.values()]

    @property
    def children(self) -> list[Child]:
        """Return every process, with those that are on their way out."""
        return [*self.kept, *(leaving.child for leaving in self._leaving.values())]

    def turn(self) -> list[Child]:
        """Let go of what is not wanted any more; return what is to be started."""
        now, wanted = time.monotonic(), self._wanted
        for key, (version, child) in list(self._kept.items()):
            if key not in wanted or wanted[key].version != version:
                logger.info("%s is stopped: its channel has changed.", child.name)
                child.terminate()
                self._leaving[key] = _Leaving(child, now + LEAVE_WITHIN)
                del self._kept[key]
        for key, leaving in list(self._leaving.items()):
            if leaving.child.exited() is None and now < leaving.until:
                continue
            leaving.child.kill()  # and what it left behind
            leaving.child.wait()
            del self._leaving[key]
        return [
            self._keep(key, app)
            for key, app in wanted.items()
            if key not in self._kept and key not in self._leaving
        ]

    def _keep(self, key: str, app: App) -> Child:
        child = Child("stream", "hermes_site.gateway.stream", (app.channel,))
        self._kept[key] = (app.version, child)
        return child

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                self._wanted = streams.wanted()
                self._blind = False
            except Exception:
                # Whatever it is, what runs goes on.
                if not self._blind:
                    logger.exception("The channels can't be read")
                self._blind = True
            finally:
                connection.close()
            self._ended.wait(LOOK_EVERY)
