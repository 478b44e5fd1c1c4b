"""The supervisor: starts web, worker and streams, keeps them going, stops them gracefully."""

import contextlib
import http.client
import logging
import os
import queue
import selectors
import signal
import time
from collections.abc import Iterator
from types import FrameType

from django.conf import settings

from deliveries import wake

from .child import Child
from .output import Relay
from .streams import Streams
from .watchdog import Watchdog

logger = logging.getLogger(__name__)

# The first start, imports included, on a slow machine.
START_SECONDS = 60.0
# What is under way may take its 10 s, and some more to be recorded.
STOP_SECONDS = 15.0
# How long the workers go on alone with what the web server still lets in.
DRAIN_SECONDS = 5.0
HEALTH_SECONDS = 2.0
LAST_WORDS_SECONDS = 2.0
TICK = 0.5


class Supervisor:
    """Runs ``web``, ``worker`` once web answers, then streams; `run` returns the exit code.

    SIGTERM or SIGINT stops them and what is under way is finished; a second one kills.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (_reachable(host), port)
        self._web = Child("web", "hermes_site.gateway.web", (host, str(port)))
        self._worker = Child("worker", "hermes_site.gateway.worker")
        self._streams = Streams()
        self._restarts: queue.SimpleQueue[str] = queue.SimpleQueue()  # of worker; the reasons
        self._watchdog = Watchdog(frozen=self._restarts.put)
        self._selector = selectors.DefaultSelector()
        self._relays: set[Relay] = set()
        self._signals: list[int] = []

    def run(self) -> int:
        """Supervise until a signal asks for the end or the first start fails."""
        with self._listening():
            try:
                if not self._start():
                    return 1 if not self._signals else self._stop()
                self._watchdog.start()
                self._streams.start()
                while not self._signals:
                    self._turn()
                return self._stop()
            finally:
                self._watchdog.end()
                self._streams.end()
                self._kill()

    @property
    def _children(self) -> list[Child]:
        return [self._web, self._worker, *self._streams.children]

    def _start(self) -> bool:
        """Start web, and worker when web answers; False when that came to nothing."""
        self._launch(self._web)
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            if self._signals:
                return False
            if self._web.exited() is not None:
                self._relay(TICK)
                logger.error("web could not start; its own words are above.")
                return False
            if time.monotonic() > deadline:
                logger.error("web did not answer GET /health within %d s.", START_SECONDS)
                return False
            self._relay(0.1)
        self._launch(self._worker)
        logger.info("Ready on port %d: %s/admin/", self._address[1], settings.PUBLIC_URL)
        return True

    def _turn(self) -> None:
        """Wait for something to happen, and act on it."""
        due = [child.due for child in self._children if child.due is not None]
        wait = min([TICK, *(moment - time.monotonic() for moment in due)])
        self._relay(max(0.0, wait))
        self._reap_strangers()
        while not self._restarts.empty():
            logger.warning("Starting worker anew: %s.", self._restarts.get())
            self._worker.kill()
            self._worker.wait()
            self._launch(self._worker)
        for stream in self._streams.turn():
            self._launch(stream)
        for child in (self._web, self._worker, *self._streams.kept):
            code = child.exited()
            if code is not None and child.due is None:
                child.kill()  # what it left behind
                wait = child.start_later(time.monotonic())
                logger.error("%s ended (%s); starting it in %d s.", child.name, _said(code), wait)
            if child.due is not None and time.monotonic() >= child.due:
                self._launch(child)

    def _stop(self) -> int:
        """Stop web and streams, then worker; return the exit code."""
        logger.info("Stopping; what is under way is finished first.")
        self._watchdog.end()
        self._streams.end()
        begun = time.monotonic()
        worker_told = False
        self._web.terminate()
        while any(child.process and child.exited() is None for child in self._children):
            elapsed = time.monotonic() - begun
            if len(self._signals) > 1:
                logger.warning("Told twice: killing what still runs.")
                return 128 + self._signals[1]
            if elapsed > STOP_SECONDS:
                logger.warning("Not done after %d s: killing what still runs.", STOP_SECONDS)
                return 0
            if self._web.exited() is not None or elapsed > DRAIN_SECONDS:
                # Again and again: a runner that was queued may begin after the first call.
                wake.stop()
                if not worker_told:
                    self._worker.terminate()
                    worker_told = True
            self._relay(0.2)
        logger.info("Stopped.")
        return 0

    def _kill(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        while self._relays and time.monotonic() < deadline:
            self._relay(TICK)

    def _launch(self, child: Child) -> None:
        relay = Relay(child.name, child.start())
        self._relays.add(relay)
        self._selector.register(relay, selectors.EVENT_READ, relay)
        if child is self._worker:
            self._watchdog.cluster_started()

    def _relay(self, seconds: float) -> None:
        """Pass output on as it comes, for up to so many seconds or until something happens."""
        for key, _events in self._selector.select(seconds):
            if isinstance(key.data, Relay):
                if not key.data.pass_on():
                    self._selector.unregister(key.data)
                    self._relays.remove(key.data)
                    key.data.close()
            else:
                with contextlib.suppress(BlockingIOError):
                    os.read(key.fd, 4096)

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(*self._address, timeout=HEALTH_SECONDS)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _reap_strangers(self) -> None:
        """Bury what was left to us as process 1 of a container; our own are polled for."""
        ours = {child.process.pid for child in self._children if child.process}
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid in ours:
                    return
                os.waitpid(ended.si_pid, 0)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Note the signals, and let them and the end of a child wake us."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(reader, selectors.EVENT_READ)
        handled = {
            signal.SIGTERM: self._note,
            signal.SIGINT: self._note,
            signal.SIGCHLD: lambda _number, _frame: None,
        }
        before = {number: signal.signal(number, handler) for number, handler in handled.items()}
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(reader)
            os.close(writer)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)


def _reachable(host: str) -> str:
    """Return an address on which this machine can reach a server that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _said(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
