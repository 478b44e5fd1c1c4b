"""The lane runner: claims what is due, sends it from a pool of threads, writes what came of it.

One transaction a cycle writes the outcomes that came in and claims what is due next. Between
cycles the runner sleeps until a wake-up, an outcome, or the next due moment.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection
from django.utils import timezone

from .claims import Claimed, claim, next_due
from .models import Lane
from .results import Result, record_results, record_singly
from .sending import send
from .transactions import engine_transaction

logger = logging.getLogger(__name__)

# The net below the wake-ups, in seconds: other machines and hints that got lost.
POLL = 0.25
# A send that has been out for so long, in seconds, waits for the other side and costs nothing but
# its thread: it gives its place to another. So many slow ones for each place, and no more.
SLOW = 1.0
SLOW_PER_PLACE = 3
# After a cycle that failed, in seconds: the database is away or busy.
PATIENCE = 0.5


class Ear(Protocol):
    """What a runner waits with; see `wake.Ear`."""

    stopping: bool

    def nudge(self) -> None: ...
    def wait(self, seconds: float) -> None: ...


class Deaf:
    """An ear that hears nothing, for a runner that does not wait."""

    stopping = False

    def nudge(self) -> None:
        """Do nothing."""

    def wait(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        time.sleep(max(0.0, seconds))


class LaneRunner:
    """Sends what is due, under one claim token; ``places`` is how many quick sends at a time.

    What a `SlowDestination` takes over is out of its hands. With ``handing_over`` off it sends
    that as well, however long it takes.
    """

    def __init__(
        self,
        executor: Executor,
        places: int,
        ear: Ear | None = None,
        *,
        handing_over: bool = True,
    ) -> None:
        self.token: UUID = uuid4()
        self._executor = executor
        self._places = places
        self._ear = ear or Deaf()
        self._handing_over = handing_over
        self._finished: deque[Result] = deque()
        # When each send that has no outcome written yet was started, on the monotonic clock.
        self._out: dict[int, float] = {}
        self._looked_at = timezone.now()
        self._more = False

    @property
    def idle(self) -> bool:
        """Return whether nothing is in flight, waits to be written, or may be claimed at once."""
        return not self._out and not self._more

    def cycle(self, *, claiming: bool = True) -> int:
        """Write the outcomes that came in, claim what is due, hand it to the threads.

        Returns how many deliveries were claimed. Raises when the database is not to be had; the
        outcomes are kept for the next cycle.
        """
        finished = list(self._finished)
        room = self._room(finished) if claiming else 0
        self._looked_at = now = timezone.now()
        self._more = False
        if not finished and not (room > 0 and self._has_work(now)):
            return 0
        claimed = self._write(finished, room, now)
        for result in finished:
            self._finished.popleft()
            del self._out[id(result.claimed)]
        for item in claimed:
            if self._handing_over and _taken_over(item):
                continue
            self._out[id(item)] = time.monotonic()
            self._executor.submit(self._work, item)
        return len(claimed)

    def sleep(self, longest: float) -> None:
        """Wait for a hint, an outcome, or the next due moment; at most so many seconds.

        What was due already and is still there waits for a place or for its lane's cap, so for an
        outcome: ours wakes us, and another runner claims what comes after its own.
        """
        if self._finished or self._more:
            return
        wait = min(longest, POLL)
        due = next_due(after=self._looked_at)
        if due is not None:
            wait = min(wait, (due - timezone.now()).total_seconds())
        self._ear.wait(wait)

    def drain(self, seconds: float) -> None:
        """Claim nothing more; write what is in flight as it comes in, for so many seconds."""
        deadline = time.monotonic() + seconds
        self._more = False
        while not self.idle and time.monotonic() < deadline:
            if not self._finished:
                self._ear.wait(min(POLL, deadline - time.monotonic()))
            try:
                self.cycle(claiming=False)
            except Exception:
                logger.exception("outcomes could not be written")
                pause_after_fault()

    def _room(self, finished: list[Result]) -> int:
        """Return how many more sends may start now."""
        over = {id(result.claimed) for result in finished}
        slow_since = time.monotonic() - SLOW
        ages = [started for item, started in self._out.items() if item not in over]
        quick = sum(started > slow_since for started in ages)
        return min(self._places - quick, self._places * (1 + SLOW_PER_PLACE) - len(ages))

    def _write(self, finished: list[Result], room: int, now: datetime) -> list[Claimed]:
        """Write outcomes and claim, in one transaction; apart where that does not work."""
        claimed: list[Claimed] = []
        try:
            with engine_transaction():
                record_results(finished, now)
                if room > 0:
                    claimed, self._more = claim(self.token, room, now)
        except Exception:
            if not finished:
                raise
            logger.exception("outcomes could not be written together")
            renew_connection()
            record_singly(finished, now)
            self._more = room > 0
            return []
        return claimed

    def _has_work(self, now: datetime) -> bool:
        due = next_due()
        return (due is not None and due <= now) or Lane.objects.filter(
            state=Lane.State.FLUSHING
        ).exists()

    def _work(self, item: Claimed) -> None:
        self._finished.append(send(item))
        self._ear.nudge()


def _taken_over(item: Claimed) -> bool:
    """Hand a delivery to its destination, if that is one which sends apart; return whether."""
    take_over = getattr(item.destination, "take_over", None)
    if take_over is None or item.message is None:
        return False
    take_over(item)
    return True


_pool: ThreadPoolExecutor | None = None


def thread_pool() -> ThreadPoolExecutor:
    """Return this process' sender threads; they outlive a slice, and so do their connections."""
    global _pool
    if _pool is None:
        most = settings.SENDER_THREADS * (1 + SLOW_PER_PLACE)  # it starts none before it needs it
        _pool = ThreadPoolExecutor(most, thread_name_prefix="sender")
    return _pool


def renew_connection() -> None:
    """Drop a database connection that is broken, so that the next query opens another."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def pause_after_fault() -> None:
    """Wait a moment for the database to come back."""
    renew_connection()
    time.sleep(PATIENCE)


class InPlace(Executor):
    """Runs what is submitted at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn``; the runner reads results from its own queue and not from the future."""
        fn(*args, **kwargs)
        return Future()


def run_until_idle() -> int:
    """Send everything that is due right now, in this thread; return how many attempts were made.

    For commands and tests: the same cycle as in the workers, without threads and sleep.
    """
    runner = LaneRunner(InPlace(), settings.SENDER_THREADS, handing_over=False)
    attempts = 0
    while True:
        claimed = runner.cycle()
        attempts += claimed
        if runner.idle and not claimed:
            return attempts
