"""What django-q2 runs: slices of the lane runner, and the net that keeps one alive per slot."""

import logging
import time
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone
from django_q.tasks import async_task

from .models import Runner
from .runner import LaneRunner, pause_after_fault, thread_pool
from .wake import Ear

logger = logging.getLogger(__name__)

# A slice is short, so that a worker is never far from its next look at the queue. Its successor
# is enqueued before it ends and takes the slot over; until then the slice goes on.
SLICE_SECONDS = 12.0
# With no successor in sight (a frozen cluster) a slice ends all the same, within Q_CLUSTER's
# timeout. The watchdog sees the wait for a successor, and acts before that.
LONGEST_SECONDS = 40.0
# The sends in flight when a slice ends: a destination's budget and a little more.
DRAIN_SECONDS = 15.0
BEAT_SECONDS = 1.0
# A slot whose heartbeat is older than this has lost its runner.
STALE = timedelta(seconds=5)


def run_lanes(slot: int = 0, predecessor: str | None = None) -> str:
    """Run one slice of the lane runner in this slot; enqueue the next before it ends.

    1. Take the slot over from the predecessor, or take it because it has gone silent.
    2. Claim, send and record until the slice is over.
    3. Enqueue the successor and carry on until it has taken the slot.
    4. Write what is still in flight, without claiming more.
    """
    token = uuid4()
    if not _take_slot(slot, token, UUID(predecessor) if predecessor else None):
        return "the slot is taken"
    ear = Ear()
    try:
        return _run_slice(slot, token, ear)
    finally:
        ear.close()


def _run_slice(slot: int, token: UUID, ear: Ear) -> str:
    runner = LaneRunner(thread_pool(), settings.SENDER_THREADS, ear)
    started = time.monotonic()
    beaten = started
    handing_over = False
    sent = 0
    while not ear.stopping and (age := time.monotonic() - started) < LONGEST_SECONDS:
        try:
            if age > SLICE_SECONDS and not handing_over:
                _hand_over(slot, token)
                handing_over = True
            if time.monotonic() - beaten > BEAT_SECONDS:
                if not _beat(slot, token):
                    break  # the successor has the slot
                beaten = time.monotonic()
            sent += runner.cycle()
            runner.sleep(BEAT_SECONDS)
        except Exception:
            # The database is away or busy: nothing is lost, the leases run. Try again shortly.
            logger.exception("runner %s: a cycle failed", slot)
            pause_after_fault()
    _let_go(slot, token)
    runner.drain(DRAIN_SECONDS)
    return f"{sent} attempts"


def _take_slot(slot: int, token: UUID, predecessor: UUID | None) -> bool:
    now = timezone.now()
    with transaction.atomic():
        mine = Runner.objects.filter(slot=slot)
        taken = {"token": token, "beat_at": now, "handover_at": None}
        if predecessor is not None and mine.filter(token=predecessor).update(**taken):
            return True
        if mine.exclude(beat_at__range=_fresh()).update(**taken):
            return True
        _row, created = Runner.objects.get_or_create(slot=slot, defaults=taken)
        return created


def _fresh() -> tuple[datetime, datetime]:
    """Return when a runner that is alive has beaten; not later, as a clock can be set back."""
    now = timezone.now()
    return now - STALE, now + STALE


def _hand_over(slot: int, token: UUID) -> None:
    """Enqueue a successor, and note since when it is waited for."""
    async_task("deliveries.tasks.run_lanes", slot, str(token))
    Runner.objects.filter(slot=slot, token=token).update(handover_at=timezone.now())


def _beat(slot: int, token: UUID) -> bool:
    """Write the heartbeat; return whether the slot is still ours."""
    return bool(Runner.objects.filter(slot=slot, token=token).update(beat_at=timezone.now()))


def _let_go(slot: int, token: UUID) -> None:
    """Leave the slot to whoever comes, if nobody has taken it over."""
    try:
        Runner.objects.filter(slot=slot, token=token).delete()
    except DatabaseError:
        logger.exception("runner %s: its slot will be free when its heartbeat is old", slot)


def ensure_runners() -> int:
    """Enqueue a runner for every slot without a fresh heartbeat; return how many.

    Safe at any time: a runner that finds its slot taken ends at once.
    """
    alive = Runner.objects.filter(beat_at__range=_fresh())
    silent = set(range(settings.RUNNERS)) - set(alive.values_list("slot", flat=True))
    for slot in sorted(silent):
        async_task("deliveries.tasks.run_lanes", slot)
    return len(silent)


def replace_runners() -> None:
    """Enqueue a runner for every slot, to take it from whoever has it and may be no more."""
    holders = dict(Runner.objects.values_list("slot", "token"))
    for slot in range(settings.RUNNERS):
        async_task(
            "deliveries.tasks.run_lanes", slot, str(holders[slot]) if slot in holders else None
        )
