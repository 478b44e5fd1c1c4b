"""The dashboard: what needs a person, four numbers, a day at a glance, what failed last."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Count, Exists, OuterRef, QuerySet, Value, When
from django.utils import timezone
from django.utils.formats import number_format

from agents.models import Agent
from deliveries.admin.places import with_lanes
from deliveries.models import Delivery, Event
from deliveries.selectors import first_id_of, runner_age
from platforms.models import Channel
from routes.models import Route

DAY = timedelta(hours=24)
# A runner beats every second or two; the gateway's own watchdog uses the same limit.
SILENT = timedelta(seconds=10)
RECENT = 6
# So many rows of each kind of trouble are named; more would bury the rest.
NAMED = 5
# Counting on beyond this tells nobody more.
COUNTED = 10_000

LOST = (Delivery.Status.FAILED, Delivery.Status.UNREACHABLE)
PARTS = ("delivered", "waiting", "failed", "skipped")


@dataclass(slots=True)
class Hour:
    """One hour's deliveries, by what became of them."""

    start: datetime
    delivered: int = 0
    waiting: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """Return how many deliveries the hour brought."""
        return self.delivered + self.waiting + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of a bar, in the units of the drawing."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour as drawn: its parts from the bottom up, and its label where it has one."""

    hour: Hour
    x: float
    parts: list[Part]
    label: str
    minor: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """The day as a drawing of WIDTH by HEIGHT units."""

    bars: list[Bar]
    delivered: int
    waiting: int
    failed: int
    skipped: int

    width = 820
    height = 160
    base = 138
    bar = 26


@dataclass(slots=True)
class Attention:
    """What needs a person."""

    unreachable: list[Agent] = field(default_factory=list)
    offline: list[Agent] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    unsigned: list[Route] = field(default_factory=list)
    worker_silent: bool = False

    @property
    def any(self) -> bool:
        """Return whether something does."""
        return bool(
            self.unreachable or self.offline or self.channels or self.unsigned or self.worker_silent
        )


@dataclass(frozen=True, slots=True)
class Traffic:
    """The last 24 hours in numbers; ``share`` is of what came to an end, None without any."""

    total: int
    share: str | None
    waiting: str
    failed: int
    chart: Chart
    failures: list[Delivery]


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """What has been done on the way to the first delivery."""

    channel: bool
    route: bool
    agent: bool


def attention(user: Any) -> Attention:
    """Return what needs a person, as far as this one may see it."""
    found = Attention()
    if user.has_perm("agents.view_agent"):
        agents = Agent.objects.order_by("status_changed_at")
        found.unreachable = list(agents.filter(connection_status=Agent.Status.UNREACHABLE)[:NAMED])
        waits = Delivery.objects.filter(pending_lane=OuterRef("lane_id"))
        found.offline = list(
            agents.filter(Exists(waits), connection_status=Agent.Status.OFFLINE)[:NAMED]
        )
    if user.has_perm("platforms.view_channel"):
        # Without the configuration: nothing here needs a secret to be opened.
        found.channels = list(
            Channel.objects.filter(enabled=True, health=Channel.Health.NEEDS_ATTENTION)
            .only("name", "health_reason")
            .order_by("name")[:NAMED]
        )
    if user.has_perm("routes.view_route"):
        found.unsigned = list(
            Route.objects.filter(enabled=True, insecure_no_auth=True)
            .only("name")
            .order_by("name")[:NAMED]
        )
    age = runner_age()
    found.worker_silent = age is None or age > SILENT
    return found


def traffic(now: datetime | None = None) -> Traffic:
    """Return the last 24 hours in numbers, hour by hour, and the latest failures."""
    now = now or timezone.now()
    hours = hourly(now)
    delivered = sum(hour.delivered for hour in hours)
    failed = sum(hour.failed for hour in hours)
    ended = delivered + failed
    pending = Delivery.objects.filter(pending_lane__isnull=False)[: COUNTED + 1].count()
    return Traffic(
        total=sum(hour.total for hour in hours),
        share=number_format(round(100 * delivered / ended, 1)) if ended else None,
        waiting=f"{COUNTED}+" if pending > COUNTED else str(pending),
        failed=failed,
        chart=draw(hours[1:]),
        failures=failures(),
    )


def hourly(now: datetime) -> list[Hour]:
    """Return the last 24 hours: the broken one they begin in, then 24 by the clock.

    One walk over a range of the primary key, whose ids carry their time; the status index
    answers it alone.
    """
    full = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)
    starts = [full - timedelta(hours=back) for back in range(24, -1, -1)]
    hours = [Hour(start) for start in starts]
    which = Case(
        *(
            When(pk__lt=first_id_of(start), then=Value(index))
            for index, start in enumerate(starts[1:])
        ),
        default=Value(len(starts) - 1),
    )
    counts = (
        Delivery.objects.filter(status__in=Delivery.Status.values, pk__gte=first_id_of(now - DAY))
        .order_by()
        .annotate(hour=which)
        .values_list("hour", "status")
        .annotate(count=Count("pk"))
    )
    for index, status, count in counts:
        if status == Delivery.Status.DELIVERED:
            hours[index].delivered += count
        elif status == Delivery.Status.PENDING:
            hours[index].waiting += count
        elif status == Delivery.Status.SKIPPED:
            hours[index].skipped += count
        else:
            hours[index].failed += count
    return hours


def draw(hours: list[Hour]) -> Chart:
    """Return the bars of a day, the highest hour at full height."""
    top = max((hour.total for hour in hours), default=0) or 1
    step = Chart.width / len(hours)
    bars = []
    for index, hour in enumerate(hours):
        y = float(Chart.base)
        parts = []
        for kind in PARTS:
            height = round(getattr(hour, kind) / top * (Chart.base - 8), 1)
            if height:
                y = round(y - height, 1)
                parts.append(Part(kind, y, height))
        labelled = index % 3 == 0
        bars.append(
            Bar(
                hour=hour,
                x=round(index * step + 4, 1),
                parts=parts,
                label=f"{hour.start:%H}:00" if labelled else "",
                minor=bool(index % 6),
            )
        )
    return Chart(
        bars,
        delivered=sum(hour.delivered for hour in hours),
        waiting=sum(hour.waiting for hour in hours),
        failed=sum(hour.failed for hour in hours),
        skipped=sum(hour.skipped for hour in hours),
    )


def failures() -> list[Delivery]:
    """Return the latest deliveries that were given up; one short read of an index per status."""
    found: list[Delivery] = []
    for status in LOST:
        rows: QuerySet[Delivery] = Delivery.objects.filter(status=status).order_by("-pk")
        found += with_lanes(rows[:RECENT])
    return sorted(found, key=lambda row: row.pk, reverse=True)[:RECENT]


def first_steps() -> FirstSteps | None:
    """Return what is still to be done before the first event; None once there was one."""
    if Event.objects.exists():
        return None
    return FirstSteps(
        channel=Channel.objects.exists(),
        route=Route.objects.exists(),
        agent=Agent.objects.filter(connection_status=Agent.Status.READY).exists(),
    )
