"""What django-q2 runs: slices of the lane runner, and the net that keeps one alive per slot."""

import logging
import time
from datetime import timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from .models import Runner
from .runner import LaneRunner, thread_pool
from .wake import Ear

logger = logging.getLogger(__name__)

# A slice is short, so that a worker is never far from its next look at the queue. Its successor
# is enqueued before it ends and takes the slot over; until then the slice goes on.
SLICE_SECONDS = 12.0
# With no successor in sight (a frozen cluster) a slice ends all the same, within Q_CLUSTER's
# timeout; the silence of the heartbeat then brings the watchdog.
LONGEST_SECONDS = 30.0
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
    while not ear.stopping:
        age = time.monotonic() - started
        if age > LONGEST_SECONDS:
            break
        if age > SLICE_SECONDS and not handing_over:
            async_task("deliveries.tasks.run_lanes", slot, str(token))
            handing_over = True
        if time.monotonic() - beaten > BEAT_SECONDS:
            if not _beat(slot, token):
                break  # the successor has the slot
            beaten = time.monotonic()
        try:
            sent += runner.cycle()
        except Exception:
            # The database is away or busy: nothing is lost, the leases run. Try again shortly.
            logger.exception("runner %s: a cycle failed", slot)
            time.sleep(0.5)
        runner.sleep(BEAT_SECONDS)
    runner.drain(DRAIN_SECONDS)
    return f"{sent} attempts"


def _take_slot(slot: int, token: UUID, predecessor: UUID | None) -> bool:
    now = timezone.now()
    with transaction.atomic():
        mine = Runner.objects.filter(slot=slot)
        if predecessor is not None and mine.filter(token=predecessor).update(
            token=token, beat_at=now
        ):
            return True
        if mine.filter(beat_at__lt=now - STALE).update(token=token, beat_at=now):
            return True
        _row, created = Runner.objects.get_or_create(
            slot=slot, defaults={"token": token, "beat_at": now}
        )
        return created


def _beat(slot: int, token: UUID) -> bool:
    """Write the heartbeat; return whether the slot is still ours."""
    return bool(
        Runner.objects.filter(slot=slot, token=token).update(beat_at=timezone.now())
    )


def ensure_runners() -> int:
    """Enqueue a runner for every slot without a fresh heartbeat; return how many.

    Safe at any time: a runner that finds its slot taken ends at once.
    """
    fresh = set(
        Runner.objects.filter(beat_at__gte=timezone.now() - STALE).values_list("slot", flat=True)
    )
    silent = [slot for slot in range(settings.RUNNERS) if slot not in fresh]
    for slot in silent:
        async_task("deliveries.tasks.run_lanes", slot)
    return len(silent)
