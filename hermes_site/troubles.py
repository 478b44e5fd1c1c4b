"""What is wrong at a moment: read from the database, each question by an index and bounded."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from agents.models import Agent
from deliveries.admin.places import lanes
from deliveries.models import Delivery, Event, Lane
from deliveries.selectors import first_id_of, runner_age, waiting
from platforms.models import Channel
from routes.models import Refusal, Route
from routes.refusals import UNKNOWN_ROUTE

from .models import AlertSettings, Incident, Trouble

# A runner that hangs is replaced within half a minute; after this long, that did not work.
WORKER_SILENT = timedelta(seconds=60)
ERRORS_WITHIN = timedelta(minutes=15)
# Deliveries that ended badly, of the latest so many of each status.
LOOKED_AT = 2_000
# Nobody needs to know how much more than this it is.
COUNTED = 10_000
LOST = (Delivery.Status.FAILED, Delivery.Status.UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Found:
    """A trouble: its kind, the key and the name of what ails, and a sentence for a person."""

    kind: Trouble
    subject: str = ""
    label: str = ""
    detail: str = ""


def find(limits: AlertSettings, now: datetime) -> list[Found]:
    """Return everything that is wrong now, by the numbers of ``limits``."""
    return [
        *_worker(),
        *_agents(),
        *_channels(),
        *_expiring(timedelta(minutes=limits.expires_within), now),
        *_routes(limits.route_errors, limits.route_share, now),
    ]


def url_of(incident: Incident) -> str:
    """Return the path of the page on which one can do something about it; empty: there is none."""
    match incident.kind:
        case Trouble.AGENT:
            return _change_url("agents_agent", incident.subject)
        case Trouble.CHANNEL:
            return _change_url("platforms_channel", incident.subject)
        case Trouble.ROUTE:
            route = Route.objects.filter(name=incident.subject).only("pk").first()
            return _change_url("routes_route", route.pk) if route else ""
        case Trouble.EXPIRING:
            return _owner_url(int(incident.subject))
        case _:
            return ""


def _change_url(model: str, pk: object) -> str:
    return reverse(f"admin:{model}_change", args=[pk])


def _owner_url(lane_id: int) -> str:
    lane = lanes().filter(pk=lane_id).first()
    pk = getattr(lane, f"{lane.kind}_pk", None) if lane else None
    if lane is None or pk is None:
        return ""
    owner: Any = Lane._meta.get_field(lane.kind).related_model
    try:
        return _change_url(owner._meta.label_lower.replace(".", "_"), pk)
    except NoReverseMatch:
        return ""


def _worker() -> Iterator[Found]:
    age = runner_age()
    if age is None or age > WORKER_SILENT:
        yield Found(
            Trouble.WORKER,
            detail=_("No lane runner is alive: nothing is sent. The gateway's log says why."),
        )


def _agents() -> Iterator[Found]:
    lost = Agent.objects.filter(
        connection_status=Agent.Status.UNREACHABLE, suspended_at=None
    ).defer("endpoint_key")
    for agent in lost:
        count = waiting(agent.lane_id)[:COUNTED].count()
        yield Found(
            Trouble.AGENT,
            str(agent.pk),
            agent.name,
            ngettext(
                "Since %(time)s; %(count)d delivery waits. Mend the agent, then recover it.",
                "Since %(time)s; %(count)d deliveries wait. Mend the agent, then recover it.",
                count,
            )
            % {"time": clock(agent.status_changed_at), "count": count},
        )


def _channels() -> Iterator[Found]:
    ailing = Channel.objects.filter(enabled=True, health=Channel.Health.NEEDS_ATTENTION)
    for pk, name, reason in ailing.values_list("pk", "name", "health_reason"):
        yield Found(Trouble.CHANNEL, str(pk), name, reason[:300])


def _expiring(within: timedelta, now: datetime) -> Iterator[Found]:
    """Find lanes on which something will soon have waited for too long (`clockwork.expire`)."""
    whole = timedelta(hours=settings.PENDING_HOURS)
    # A gateway that keeps things for an hour need not say at once that they end within one.
    limit = now - (whole - min(within, whole / 2))
    old = Delivery.objects.filter(pk__lt=first_id_of(limit)).filter(
        Q(redelivered_at=None) | Q(redelivered_at__lt=limit)
    )
    for lane in Lane.objects.filter(Exists(old.filter(pending_lane=OuterRef("pk")))):
        rows = old.filter(pending_lane=lane.pk).order_by("pk")
        first = rows.first()
        if first is None:
            continue
        count = rows[:COUNTED].count()
        words = {
            "count": count,
            "time": clock((first.redelivered_at or first.created_at) + whole),
        }
        yield Found(
            Trouble.EXPIRING,
            str(lane.pk),
            lane.label,
            ngettext(
                "%(count)d delivery will be dropped, at %(time)s.",
                "%(count)d deliveries will be dropped, the first at %(time)s.",
                count,
            )
            % words,
        )


def _routes(least: int, share: int, now: datetime) -> Iterator[Found]:
    """Find routes with too many errors among what came in."""
    since = now - ERRORS_WITHIN
    refused: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {}
    rows = Refusal.objects.filter(at__gte=since).exclude(reason=UNKNOWN_ROUTE).order_by()
    counted = rows.values_list("route", "reason").annotate(count=Count("pk"))
    for route, reason, count in counted:
        refused[route] += count
        reasons.setdefault(route, Counter())[reason] += count
    failed = _failed_since(since, now)
    errors = refused + failed
    known = Route.objects.filter(name__in=[name for name in errors if errors[name] >= least])
    for name in sorted(known.values_list("name", flat=True)):
        came = Event.objects.filter(route=name, pk__gte=first_id_of(since))[:COUNTED].count()
        total = max(came + refused[name], errors[name])
        if 100 * errors[name] < share * total:
            continue
        mostly = reasons.get(name, Counter()).most_common(1)
        words = {
            "total": total,
            "refused": refused[name],
            "failed": failed[name],
            "reason": f" ({mostly[0][0]})" if mostly else "",
        }
        yield Found(
            Trouble.ROUTE,
            name,
            name,
            _(
                "Of %(total)d in 15 minutes, %(refused)d were refused%(reason)s; "
                "%(failed)d deliveries failed."
            )
            % words,
        )


def _failed_since(since: datetime, now: datetime) -> Counter[str]:
    """Return how many deliveries ended badly since then, by the route their chain began with.

    So an answer that could not be delivered counts for the route of the event it answers.
    """
    oldest = first_id_of(since - timedelta(hours=settings.PENDING_HOURS))
    traces: Counter[UUID] = Counter()
    for status in LOST:
        rows: QuerySet[Delivery] = Delivery.objects.filter(status=status, pk__gte=oldest)
        newest = rows.order_by("-pk").values_list("completed_at", "event__trace")[:LOOKED_AT]
        traces.update(trace for ended, trace in newest if ended is not None and ended >= since)
    wanted = list(traces)
    counts: Counter[str] = Counter()
    # In slices: SQLite takes a bounded number of them in one query.
    for start in range(0, len(wanted), 500):
        roots = Event.objects.filter(pk__in=wanted[start : start + 500]).exclude(route="")
        for pk, route in roots.values_list("pk", "route"):
            counts[route] += traces[pk]
    return counts


def clock(moment: datetime) -> str:
    """Return a time of day as it is told: in the gateway's zone, with its name."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M %Z}"
