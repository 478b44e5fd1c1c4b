"""What happened on a route, for a person who looks at it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.db.models.functions import Length
from django.utils import timezone

from deliveries.models import Delivery, Event, Payload
from deliveries.selectors import first_id_of

from .models import Refusal, Route

DAY = timedelta(hours=24)
# Beyond so many events a page says "more than"; nobody waits for a count.
COUNTED = 1000
# A body beyond it is passed over where many are read at once.
READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours of a route: its events, and its deliveries by status."""

    events: int
    more: bool  # there were more events than are counted
    deliveries: Sequence[tuple[str, str, int]]  # status, its word, how many


@dataclass(frozen=True, slots=True)
class RefusedDay:
    """What a route refused in the last 24 hours, by reason, the most frequent first.

    Only the newest refusals are kept; ``capped`` says that older ones of the day are gone.
    """

    total: int
    reasons: Sequence[tuple[str, int]]
    capped: bool


def last_events(route: Route, limit: int) -> QuerySet[Event]:
    """Return the newest events of a route."""
    return Event.objects.filter(route=route.name).order_by("-pk")[:limit]


def last_day(route: Route) -> Day:
    """Return how a route's events of the last 24 hours fared, of the newest `COUNTED`."""
    since = first_id_of(timezone.now() - DAY)
    rows = Event.objects.filter(route=route.name, pk__gte=since).order_by("-pk")
    ids = list(rows.values_list("pk", flat=True)[: COUNTED + 1])
    more = len(ids) > COUNTED
    counts: Counter[str] = Counter()
    # By the events' ids in slices: SQLite takes a bounded number of them in one query.
    for start in range(0, min(len(ids), COUNTED), 500):
        found: Any = Delivery.objects.filter(event__in=ids[start : start + 500]).values("status")
        for row in found.annotate(number=Count("pk")).order_by():
            counts[row["status"]] += row["number"]
    words = dict(Delivery.Status.choices)
    return Day(
        events=min(len(ids), COUNTED),
        more=more,
        deliveries=[(key, str(words[key]), counts[key]) for key in words if counts[key]],
    )


def refused_last_day(route: Route, kept: int) -> RefusedDay:
    """Return what a route refused in the last 24 hours; ``kept`` rows of it are kept at most."""
    rows: Any = Refusal.objects.filter(route=route.name)
    since = timezone.now() - DAY
    counted = rows.filter(at__gte=since).values("reason").annotate(number=Count("pk"))
    reasons = [(row["reason"], row["number"]) for row in counted.order_by("-number", "reason")]
    total = sum(number for _reason, number in reasons)
    return RefusedDay(total=total, reasons=reasons, capped=total >= kept)


def last_bodies(route: Route, limit: int) -> list[bytes]:
    """Return the bodies of a route's newest events; those beyond `READ_BYTES` are passed over."""
    ids = list(last_events(route, limit).values_list("pk", flat=True))
    rows: Any = Payload.objects.filter(pk__in=ids).annotate(size=Length("body"))
    return [
        bytes(body) for body in rows.filter(size__lte=READ_BYTES).values_list("body", flat=True)
    ]
