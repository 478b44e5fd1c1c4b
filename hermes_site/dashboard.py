"""The dashboard: what needs a person, four numbers, a day at a glance, what failed last."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Value
from django.utils import timezone
from django.utils.formats import number_format

from agents.models import Agent
from deliveries.admin.places import with_lanes
from deliveries.models import Delivery, Event
from deliveries.selectors import SILENT, first_id_of, runner_age
from platforms.dingtalk.sessions import is_open_otherwise
from platforms.models import Channel, SessionWebhook
from routes.models import Refusal, Route

from .models import Incident, Trouble
from .troubles import url_of

DAY = timedelta(hours=24)
RECENT = 6
# So many rows of each kind of trouble are named; more would bury the rest.
NAMED = 5
# So many refusals in an hour, and so many times those of the hour before, have grown.
GROWN_FROM = 10
GROWN_BY = 3
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


@dataclass(frozen=True, slots=True)
class Refused:
    """Refusals of the last hour that are many more than those of the hour before."""

    now: int
    before: int
    mostly: str  # the reason of most of them


@dataclass(frozen=True, slots=True)
class Open:
    """An incident that is not over, and the path of the page where one can do something."""

    incident: Incident
    url: str


@dataclass(slots=True)
class Attention:
    """What needs a person."""

    unreachable: list[Agent] = field(default_factory=list)
    offline: list[Agent] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    unsigned: list[Route] = field(default_factory=list)
    incidents: list[Open] = field(default_factory=list)
    sessions: list[SessionWebhook] = field(default_factory=list)
    refused: Refused | None = None
    worker_silent: bool = False

    @property
    def any(self) -> bool:
        """Return whether something does."""
        return bool(
            self.worker_silent
            or self.unreachable
            or self.offline
            or self.channels
            or self.incidents
            or self.sessions
            or self.refused
            or self.unsigned
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
        found.sessions = ending_sessions(timezone.now())
    if user.has_perm("hermes_site.view_incident"):
        # The other kinds are told from what is so now, above.
        rows = Incident.objects.filter(closed_at=None, kind__in=(Trouble.ROUTE, Trouble.EXPIRING))
        found.incidents = [Open(row, url_of(row)) for row in rows.order_by("pk")[:NAMED]]
    if user.has_perm("routes.view_refusal"):
        found.refused = growing(timezone.now())
    if user.has_perm("routes.view_route"):
        found.unsigned = list(
            Route.objects.filter(enabled=True, insecure_no_auth=True)
            .only("name")
            .order_by("name")[:NAMED]
        )
    age = runner_age()
    found.worker_silent = age is None or age > SILENT
    return found


def growing(now: datetime) -> Refused | None:
    """Return the refusals of the last hour where they have grown; None where they have not."""
    hour = timedelta(hours=1)
    rows = Refusal.objects.filter(at__gte=now - 2 * hour).order_by()  # never many: they are capped
    counts = rows.values_list("reason").annotate(
        now=Count("pk", filter=Q(at__gte=now - hour)),
        before=Count("pk", filter=Q(at__lt=now - hour)),
    )
    found = [(latest, earlier, reason) for reason, latest, earlier in counts]
    total, before = sum(row[0] for row in found), sum(row[1] for row in found)
    if total < GROWN_FROM or total < GROWN_BY * before:
        return None
    return Refused(total, before, mostly=max(found)[2])


def ending_sessions(now: datetime) -> list[SessionWebhook]:
    """Return the chats in which soon nothing can be answered, unless somebody writes there."""
    rows = SessionWebhook.objects.filter(
        warned_at__isnull=False, expires_at__gt=now, channel__enabled=True
    )
    ending = rows.select_related("channel").defer("url", "channel__config").order_by("expires_at")
    return [row for row in ending[: 10 * NAMED] if not is_open_otherwise(row, row.channel)][:NAMED]


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

    Ids carry their time, so each hour is a range of the primary key, and the status index alone
    answers for it: 0.13 s for a million in the day, a fourth of what grouping them by hour takes.
    """
    full = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)
    starts = [full - timedelta(hours=back) for back in range(24, -1, -1)]
    hours = [Hour(start) for start in starts]
    edges = [first_id_of(now - DAY), *(first_id_of(start) for start in starts[1:]), None]
    parts = [_of_hour(number, *edges[number : number + 2]) for number in range(len(hours))]
    counts: Any = parts[0].union(*parts[1:], all=True)
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


def _of_hour(number: int, first: UUID | None, end: UUID | None) -> Any:
    rows = Delivery.objects.filter(status__in=Delivery.Status.values, pk__gte=first)
    if end is not None:
        rows = rows.filter(pk__lt=end)
    numbered: Any = rows.order_by().annotate(hour=Value(number)).values_list("hour", "status")
    return numbered.annotate(count=Count("pk"))


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
