"""Sends that take minutes: threads of their own, leases renewed meanwhile, outcomes recorded.

A lane runner lives for seconds and its threads are for quick sends. What is taken over here
outlives it: it depends on nothing but this process, and on the claim that it came with.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from deliveries import wake
from deliveries.claims import LEASE_MARGIN, Claimed
from deliveries.models import Delivery
from deliveries.results import Result, record_singly
from deliveries.sending import send
from deliveries.transactions import engine_transaction

logger = logging.getLogger(__name__)

# Without a sign of life for so many seconds, a delivery is somebody else's to send.
BUDGET = 40.0
BEAT = 10.0  # seconds from one sign of life to the next; three may be missed
# A database that is away is waited for: what a model has said was paid for.
RECORD_SECONDS = 600.0
PATIENCE = 1.0


def take_over(claimed: Claimed) -> None:
    """Send a claimed delivery in a thread of its own, or when one of them is free; return at once.

    What comes of it is recorded as a runner would. Until then its lease is renewed, also while
    it waits for a thread: if this process dies, the lease ends and a runner claims it anew.
    """
    _thinkers.take_over(claimed)


def under_way() -> int:
    """Return how many deliveries this process has taken over and not recorded yet."""
    return _thinkers.under_way()


class Thinkers:
    """As many threads as there are sends, up to MODEL_THREADS; none while there are none.

    They do not keep the process from ending: what they are at is healed by its lease, and a
    worker that waits for a model could not be replaced meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._held: dict[int, Claimed] = {}
        self._waiting: deque[Claimed] = deque()
        self._threads = 0
        self._beating = False

    def under_way(self) -> int:
        """Return how many are held."""
        with self._lock:
            return len(self._held)

    def take_over(self, claimed: Claimed) -> None:
        """Hold a delivery, and start a thread for it if there is room for one more."""
        with self._lock:
            if self._threads < settings.MODEL_THREADS and _started(self._work, "thinker"):
                self._threads += 1
            if not self._threads:
                return  # there is nobody to send it, and its lease hands it on
            self._held[id(claimed)] = claimed
            self._waiting.append(claimed)
            if not self._beating:
                self._beating = _started(self._beat, "heart")

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                claimed = self._waiting.popleft()
            try:
                _send_and_record(claimed)
            finally:
                with self._lock:
                    del self._held[id(claimed)]
                    self._lock.notify_all()

    def _beat(self) -> None:
        """Renew the leases of what is held, until nothing is."""
        while True:
            with self._lock:
                if self._lock.wait_for(lambda: not self._held, BEAT):
                    self._beating = False
                    return
                held = list(self._held.values())
            try:
                renew(held)
            except DatabaseError:
                logger.exception("the leases of %d deliveries could not be renewed", len(held))
            finally:
                connection.close()


def _started(target: Callable[[], None], name: str) -> bool:
    try:
        threading.Thread(target=target, name=name, daemon=True).start()
    except RuntimeError:
        logger.exception("the system has no thread left")
        return False
    return True


def renew(held: list[Claimed]) -> int:
    """Move the ends of leases that are still ours; return of how many."""
    until = timezone.now() + timedelta(seconds=BUDGET) + LEASE_MARGIN
    with engine_transaction():
        return Delivery.objects.filter(
            pk__in=[claimed.delivery.pk for claimed in held],
            claim__in={claimed.token for claimed in held},
            pending_lane__isnull=False,
        ).update(next_attempt_at=until)


def _send_and_record(claimed: Claimed) -> None:
    """Send, and record what came of it; outside of both no connection is kept open."""
    try:
        result = send(claimed)
        connection.close()
        _record(result)
    except Exception:
        # It is left to its lease, and goes out again.
        logger.exception("delivery %s: what came of it is lost", claimed.delivery.pk)
    finally:
        connection.close()


def _record(result: Result) -> None:
    deadline = time.monotonic() + RECORD_SECONDS
    while True:
        try:
            record_singly([result], timezone.now())
            wake.notify()  # the next of its conversation, or what its lane had no room for
            return
        except DatabaseError:
            if time.monotonic() > deadline:
                raise
            delivery = result.claimed.delivery
            logger.exception("delivery %s: its outcome waits to be written", delivery.pk)
            connection.close()
            time.sleep(PATIENCE)


_thinkers = Thinkers()
