"""The clockwork: what django-q2's schedule does every minute."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone
from django_q.models import Schedule

from . import wake
from .claims import heads, is_quiet, load_destinations, note_interrupted
from .destinations import Destination
from .models import Attempt, DedupeKey, Delivery, Event, Lane, Payload
from .results import release_next
from .selectors import first_id_of
from .tasks import ensure_runners
from .transactions import engine_transaction, write_transaction

logger = logging.getLogger(__name__)

# Rows a transaction: 20 ms on SQLite (facts/performance.md C). While one runs, nobody else writes.
BATCH = 500
# Each that expires costs a few queries, as its sender is told.
EXPIRE_BATCH = 50
# The worker that does this is the one that a lane runner hands over to; what is left after so
# many seconds is left to the next minute.
SECONDS = 3.0

MINUTE = "hermes: minute"

Duty = Callable[[datetime], int]
_added: list[Duty] = []


def every_minute_also(duty: Duty) -> None:
    """Let an app above have a duty of its own done every minute; it says how much it did."""
    _added.append(duty)


def install_schedules() -> None:
    """Create or correct our django-q2 schedule; safe to repeat."""
    wanted = {
        "func": "deliveries.clockwork.every_minute",
        "schedule_type": Schedule.MINUTES,
        "minutes": 1,
        "repeats": -1,
    }
    ours = Schedule.objects.filter(name=MINUTE)
    first = ours.order_by("pk").first()
    if first is None:
        Schedule.objects.create(name=MINUTE, **wanted)
    else:
        ours.exclude(pk=first.pk).delete()
        ours.update(**wanted)


def every_minute() -> None:
    """Keep runners alive, free lanes that wait for nothing, drop what is past its time."""
    ensure_runners()
    for duty in (unstick, expire, purge_keys, purge, *_added):
        try:
            duty(timezone.now())
        except OperationalError:
            raise  # the database is away; so it is for the others
        except Exception:
            logger.exception("a duty of the clockwork failed")


def unstick(now: datetime) -> int:
    """Free lanes that wait for nothing; return how many.

    A failing lane has one probe scheduled, an open one parks nothing that could go. A worker
    that died at the wrong moment, a probe that expired or a conversation that was deleted leaves
    a lane without either. What is looked up may be old by a moment; freeing twice does no harm.
    """
    freed = _flush_forgotten() + _probe_failing(now)
    if freed:
        wake.notify()
    return freed


def _flush_forgotten() -> int:
    forgotten = heads().filter(lane__state=Lane.State.OPEN)
    lanes = set(forgotten.values_list("lane_id", flat=True))
    if not lanes:
        return 0
    with engine_transaction():
        return Lane.objects.filter(pk__in=lanes, state=Lane.State.OPEN).update(
            state=Lane.State.FLUSHING, ease=0
        )


def _probe_failing(now: datetime) -> int:
    freed = 0
    pending = Delivery.objects.filter(pending_lane__isnull=False, lane__state=Lane.State.FAILING)
    lanes = pending.values_list("lane_id", "lane__failed_at").annotate(
        first=Min("next_attempt_at"), in_flight=Count("id", filter=Q(claim__isnull=False))
    )
    for lane_id, failed_at, first, in_flight in lanes:
        # What is scheduled may be a far rung of the very delivery that ails.
        far = first is not None and first > now + timedelta(minutes=1) and not in_flight
        if first is None or (far and is_quiet(failed_at, now)):
            oldest = heads().filter(pending_lane=lane_id).order_by("failures", "id").first()
            if oldest is not None:
                freed += (
                    heads().filter(pk=oldest.pk, pending_lane=lane_id).update(next_attempt_at=now)
                )
    return freed


def expire(now: datetime) -> int:
    """Drop what has been pending for 24 hours and tell its senders; return how many (spec 002)."""
    before = now - timedelta(hours=settings.PENDING_HOURS)
    old = (
        Delivery.objects.filter(pending_lane__isnull=False, created_at__lte=before)
        .exclude(redelivered_at__gt=before)
        .exclude(claim__isnull=False, next_attempt_at__gt=now)
    )
    # Asked outside the transaction: what waits may be much, and is seldom old.
    return _in_batches(partial(_expire_batch, old, now), EXPIRE_BATCH) if old.exists() else 0


def _expire_batch(old: QuerySet[Delivery], now: datetime) -> int:
    with engine_transaction():
        rows = list(old.select_related("lane").order_by("id")[:EXPIRE_BATCH])
        note_interrupted([row.pk for row in rows if row.claim])
        Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
            status=Delivery.Status.UNREACHABLE,
            error_class="expired",
            completed_at=now,
            pending_lane=None,
            next_attempt_at=None,
            claim=None,
        )
        release_next(rows, now)
        destinations = load_destinations({row.lane for row in rows})
        for row in rows:
            logger.warning("delivery %s to %s expired", row.pk, row.lane.label)
            if row.lane_id in destinations:
                _tell_expired(destinations[row.lane_id], row)
    return len(rows)


def _tell_expired(destination: Destination, row: Delivery) -> None:
    try:
        with transaction.atomic():
            destination.expired(row)
    except OperationalError:
        raise
    except Exception:
        # Nobody is told; but a delivery that could not be dropped would come up for ever.
        logger.exception("delivery %s: its sender could not be told that it expired", row.pk)


def purge(now: datetime) -> int:
    """Remove events past their retention with all that hangs on them; return how many events.

    What is pending stays, and so does its event.
    """
    before = first_id_of(now - timedelta(days=settings.LEDGER_DAYS))
    return _in_batches(partial(_purge_batch, before), BATCH)


def _purge_batch(before: UUID) -> int:
    # Not beside the engine: what is deleted here could be redelivered there.
    with engine_transaction():
        events = list(
            Event.objects.filter(pk__lt=before)
            .exclude(deliveries__pending_lane__isnull=False)
            .order_by("pk")
            .values_list("pk", flat=True)[:BATCH]
        )
        deliveries = list(Delivery.objects.filter(event__in=events).values_list("pk", flat=True))
        # By hand and by key: Django's own cascade loads every row first.
        Payload.objects.filter(pk__in=events + deliveries)._raw_delete("default")
        Attempt.objects.filter(delivery__in=deliveries)._raw_delete("default")
        Delivery.objects.filter(pk__in=deliveries)._raw_delete("default")
        Event.objects.filter(pk__in=events)._raw_delete("default")
    return len(events)


def purge_keys(now: datetime) -> int:
    """Forget idempotency keys past their window; return how many."""
    before = now - timedelta(seconds=settings.IDEMPOTENCY_SECONDS)
    return _in_batches(partial(_purge_keys_batch, before), BATCH)


def _purge_keys_batch(before: datetime) -> int:
    with write_transaction():
        old = DedupeKey.objects.filter(at__lt=before)
        keys = list(old.values_list("pk", flat=True)[:BATCH])
        # A key that was taken anew meanwhile stays.
        old.filter(pk__in=keys)._raw_delete("default")
    return len(keys)


def _in_batches(batch: Callable[[], int], size: int) -> int:
    """Repeat a batch until one is not full or the time is up; return how many rows in all."""
    deadline = time.monotonic() + SECONDS
    total = 0
    while True:
        done = batch()
        total += done
        if done < size or time.monotonic() > deadline:
            return total
