"""One process of the gateway: started, restarted with patience, stopped with all it started."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO

from django.conf import settings

from hermes_site.logs import PROCESS

# Waits before a crashed child is started again, in seconds; the last one from then on.
BACKOFF = (1.0, 2.0, 5.0, 10.0)
# A child that lived this long has earned a clean slate.
HEALTHY_AFTER = 60.0


class Child:
    """A module of ours run as a process in a session of its own, so that a signal to the
    terminal reaches the supervisor alone and SIGKILL reaches everything the child has started."""

    def __init__(self, name: str, module: str, arguments: Sequence[str] = ()) -> None:
        self.name = name
        self._command = [sys.executable, "-m", module, str(os.getpid()), *arguments]
        self._crashes = 0
        self.process: subprocess.Popen[bytes] | None = None
        #: When to start it (again), on the monotonic clock; None: not.
        self.due: float | None = None
        self.started_at = 0.0

    def start(self) -> IO[bytes]:
        """Start the process; return what it prints, as a stream to read from."""
        self.due = None
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603  our own modules
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                **os.environ,
                # Found wherever we were started from; a relative path in a setting stays true.
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(settings.BASE_DIR), os.environ.get("PYTHONPATH")])
                ),
                "PYTHONUNBUFFERED": "1",
                PROCESS: self.name,
            },
        )
        if self.process.stdout is None:
            raise RuntimeError("a process that was given a pipe has none")
        return self.process.stdout

    def exited(self) -> int | None:
        """Return the exit code once the process has ended, negative for a signal, else None."""
        return self.process.poll() if self.process else None

    def start_later(self, now: float) -> float:
        """Plan the next start after a crash at ``now`` (monotonic); return the wait in seconds."""
        if now - self.started_at > HEALTHY_AFTER:
            self._crashes = 0
        wait = BACKOFF[min(self._crashes, len(BACKOFF) - 1)]
        self._crashes += 1
        self.due = now + wait
        return wait

    def terminate(self) -> None:
        """Ask the process to finish what is under way and end; it stops its own children."""
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End the process and everything it started, at once; also what a dead one left."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until a process that was killed is gone."""
        if self.process:
            self.process.wait()
