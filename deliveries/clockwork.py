"""The clockwork: what django-q2's schedules do every minute and every hour."""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min
from django.utils import timezone
from django_q.models import Schedule

from . import wake
from .claims import SECOND_PROBE, load_destinations
from .models import Attempt, DedupeKey, Delivery, Event, Lane, Payload
from .selectors import first_id_of
from .tasks import ensure_runners
from .transactions import write_transaction

logger = logging.getLogger(__name__)

BATCH = 500  # rows a transaction: 20 ms on SQLite (facts/performance.md C)

SCHEDULES = {
    "hermes: minute": ("deliveries.clockwork.every_minute", Schedule.MINUTES, 1),
    "hermes: hour": ("deliveries.clockwork.every_hour", Schedule.HOURLY, None),
}


def install_schedules() -> None:
    """Create or correct our django-q2 schedules; safe to repeat."""
    for name, (func, kind, minutes) in SCHEDULES.items():
        Schedule.objects.update_or_create(
            name=name,
            defaults={"func": func, "schedule_type": kind, "minutes": minutes, "repeats": -1},
        )


def every_minute() -> None:
    """Keep runners alive, free lanes that lost their probe, drop what waited too long."""
    ensure_runners()
    unstick(timezone.now())
    expire(timezone.now())
    purge_keys(timezone.now())


def every_hour() -> None:
    """Purge what is past its retention."""
    purge(timezone.now())


def unstick(now: datetime) -> int:
    """Schedule the oldest delivery of lanes that wait for nothing; return how many lanes.

    A failing lane has one probe scheduled, an open one parks nothing. A probe that expired, or a
    worker that died at the wrong moment, leaves a lane without either.
    """
    freed = 0
    waiting = Delivery.objects.filter(pending_lane__isnull=False)
    for lane in Lane.objects.exclude(state=Lane.State.HELD):
        mine = waiting.filter(pending_lane=lane.pk)
        scheduled = mine.aggregate(first=Min("next_attempt_at"))["first"]
        parked = mine.filter(next_attempt_at__isnull=True).order_by("failures", "id")
        lost = scheduled is None
        slow = (
            lane.state == Lane.State.FAILING
            and lane.failed_at is not None
            and lane.failed_at < now - SECOND_PROBE
            and not lost
            and scheduled > now + timedelta(minutes=1)
        )
        if not (lost or slow):
            continue
        oldest = parked.values_list("pk", flat=True).first()
        if oldest is not None:
            freed += mine.filter(pk=oldest, next_attempt_at=None).update(next_attempt_at=now)
    if freed:
        wake.notify()
    return freed


def expire(now: datetime) -> int:
    """Drop what has been pending for 24 hours and tell its senders; return how many (spec 002)."""
    before = now - timedelta(hours=settings.PENDING_HOURS)
    dropped = 0
    while True:
        with write_transaction():
            rows = list(
                Delivery.objects.filter(pending_lane__isnull=False, created_at__lte=before)
                .exclude(claim__isnull=False, next_attempt_at__gt=now)
                .select_related("lane")
                .order_by("id")[:BATCH]
            )
            if not rows:
                return dropped
            Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
                status=Delivery.Status.UNREACHABLE,
                error_class="expired",
                completed_at=now,
                pending_lane=None,
                next_attempt_at=None,
                claim=None,
            )
            destinations = load_destinations({row.lane for row in rows})
            for row in rows:
                logger.warning("delivery %s to %s expired", row.pk, row.lane.label)
                if row.lane_id in destinations:
                    destinations[row.lane_id].expired(row)
        dropped += len(rows)


def purge(now: datetime) -> int:
    """Remove events past their retention with all that hangs on them; return how many events."""
    before = first_id_of(now - timedelta(days=settings.LEDGER_DAYS))
    purged = 0
    while True:
        with write_transaction():
            events = list(
                Event.objects.filter(pk__lt=before)
                .exclude(deliveries__pending_lane__isnull=False)
                .order_by("pk")
                .values_list("pk", flat=True)[:BATCH]
            )
            if not events:
                return purged
            deliveries = list(
                Delivery.objects.filter(event__in=events).values_list("pk", flat=True)
            )
            # By hand and by key: Django's own cascade loads every row first.
            Payload.objects.filter(pk__in=events + deliveries)._raw_delete("default")
            Attempt.objects.filter(delivery__in=deliveries)._raw_delete("default")
            Delivery.objects.filter(pk__in=deliveries)._raw_delete("default")
            Event.objects.filter(pk__in=events)._raw_delete("default")
        purged += len(events)


def purge_keys(now: datetime) -> int:
    """Forget idempotency keys past their window; return how many."""
    before = now - timedelta(seconds=settings.IDEMPOTENCY_SECONDS)
    gone = 0
    while True:
        with write_transaction():
            keys = list(
                DedupeKey.objects.filter(at__lt=before).values_list("pk", flat=True)[:BATCH]
            )
            if not keys:
                return gone
            DedupeKey.objects.filter(pk__in=keys)._raw_delete("default")
        gone += len(keys)
