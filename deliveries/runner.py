"""The lane runner: claims what is due, sends it from a pool of threads, writes what came of it.

One transaction a cycle writes the outcomes that came in and claims what is due next. Between
cycles the runner sleeps until a wake-up, an outcome, or the next due moment.
"""

import logging
import time
from collections import deque
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from django.conf import settings
from django.utils import timezone

from .claims import Claimed, claim, next_due
from .models import Lane
from .results import Result, record_results
from .sending import send
from .transactions import write_transaction

logger = logging.getLogger(__name__)

# The net below the wake-ups, in seconds: other machines and hints that got lost.
POLL = 0.25
# After a claim that left due rows for want of room: something finishes soon, perhaps elsewhere.
CROWDED_POLL = 0.02


class Ear(Protocol):
    """What a runner waits with; see `wake.Ear`."""

    stopping: bool

    def nudge(self) -> None: ...
    def wait(self, seconds: float) -> None: ...


class LaneRunner:
    """Sends what is due, under one claim token."""

    def __init__(self, executor: Executor, threads: int, ear: Ear | None = None) -> None:
        self.token: UUID = uuid4()
        self._executor = executor
        self._threads = threads
        self._ear = ear
        self._finished: deque[Result] = deque()
        self._in_flight = 0
        self._crowded = False

    @property
    def idle(self) -> bool:
        """Return whether nothing is in flight or waits to be written."""
        return not self._in_flight and not self._finished

    def cycle(self, *, claiming: bool = True) -> int:
        """Write the outcomes that came in, claim what is due, hand it to the threads.

        Returns how many deliveries were claimed.
        """
        finished = [self._finished.popleft() for _ in range(len(self._finished))]
        room = self._threads - self._in_flight + len(finished) if claiming else 0
        now = timezone.now()
        if not finished and not (room and self._has_work(now)):
            return 0
        claimed: list[Claimed] = []
        try:
            with write_transaction():
                record_results(finished, now)
                if room:
                    claimed, self._crowded = claim(self.token, room, now)
        except Exception:
            self._finished.extendleft(reversed(finished))  # nothing was written: once more
            raise
        self._in_flight += len(claimed) - len(finished)
        for item in claimed:
            self._executor.submit(self._work, item)
        return len(claimed)

    def sleep(self, longest: float) -> None:
        """Wait for a hint, an outcome, or the next due moment; at most so many seconds."""
        assert self._ear is not None
        if self._finished:
            return
        wait = min(longest, CROWDED_POLL if self._crowded else POLL)
        due = next_due()
        if due is not None and not self._crowded:
            wait = min(wait, (due - timezone.now()).total_seconds())
        self._ear.wait(wait)

    def drain(self, seconds: float) -> None:
        """Claim nothing more; write what is in flight as it comes in, for so many seconds."""
        assert self._ear is not None
        deadline = time.monotonic() + seconds
        while not self.idle and time.monotonic() < deadline:
            if not self._finished:
                self._ear.wait(min(POLL, deadline - time.monotonic()))
            self.cycle(claiming=False)

    def _has_work(self, now: datetime) -> bool:
        due = next_due()
        return (due is not None and due <= now) or Lane.objects.filter(
            state=Lane.State.FLUSHING
        ).exists()

    def _work(self, item: Claimed) -> None:
        self._finished.append(send(item))
        if self._ear is not None:
            self._ear.nudge()


_pool: ThreadPoolExecutor | None = None


def thread_pool() -> ThreadPoolExecutor:
    """Return this process' sender threads; they outlive a slice, and so do their connections."""
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(settings.SENDER_THREADS, thread_name_prefix="sender")
    return _pool


class InPlace(Executor):
    """Runs what is submitted at once, in the caller's thread."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def, override]
        """Call ``fn`` and return nothing: the runner reads results from its own queue."""
        fn(*args, **kwargs)


def run_until_idle() -> int:
    """Send everything that is due right now, in this thread; return how many attempts were made.

    For commands and tests: the same cycle as in the workers, without threads and sleep.
    """
    runner = LaneRunner(InPlace(), settings.SENDER_THREADS)
    attempts = 0
    while True:
        claimed = runner.cycle()
        attempts += claimed
        if runner.idle and not claimed:
            return attempts
