"""Queries worth a name."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from .models import Delivery, Runner

# A runner beats every second; one that has said nothing for so long is gone or stuck.
SILENT = timedelta(seconds=10)


def waiting(lane_id: int) -> QuerySet[Delivery]:
    """Return the pending deliveries of a lane, oldest first."""
    return Delivery.objects.filter(pending_lane=lane_id).order_by("id")


def first_id_of(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 of a moment: our ids carry their time, so a range of time is a
    range of the primary key."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (0b10 << 62))


def runner_age() -> timedelta | None:
    """Return how long ago the most silent of our runners beat; None when none is at work."""
    slots = Runner.objects.filter(slot__lt=settings.RUNNERS)
    oldest = slots.order_by("beat_at").values_list("beat_at", flat=True).first()
    return None if oldest is None else timezone.now() - oldest
