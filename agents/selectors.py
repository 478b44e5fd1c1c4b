"""Queries about agents that have a name."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from deliveries.models import Delivery, Event
from deliveries.selectors import first_id_of

from .models import Agent, AgentToken, Conversation, Relation

# How many of an agent's latest deliveries are searched for the one that an answer belongs to.
LOOK_BACK = 1000
# An event that waited for its transaction has a delivery of a later id.
CLOSE = timedelta(minutes=1)


class NoDefaultAgent(LookupError):
    """No agent is marked as the default one."""

    def __init__(self) -> None:
        super().__init__("No agent is the default one. Open Agents in the admin and mark one.")


def default_agent() -> Agent:
    """Return the agent of the routes that name none; raise NoDefaultAgent without one."""
    agent = Agent.objects.filter(is_default=True).first()
    if agent is None:
        raise NoDefaultAgent
    return agent


def live_tokens(now: datetime) -> QuerySet[AgentToken]:
    """Return the tokens that are valid at a moment."""
    return AgentToken.objects.filter(Q(not_after=None) | Q(not_after__gt=now))


@dataclass(frozen=True, slots=True)
class Place:
    """Where what an agent says goes: a channel that exists, and where on it."""

    channel: Any
    target: Mapping[str, Any]


def places(conversation: Conversation) -> list[Place]:
    """Return the places of a conversation, each once, the first first.

    A channel that was deleted is left out; one that is off is not, as its deliveries are to fail
    where they are seen.
    """
    # Channels are known by their relation only: agents and platforms are strangers.
    channels: Any = Conversation._meta.get_field("channel").related_model
    wanted = [(conversation.channel_id, conversation.target)] + [
        (item["channel_id"], item["target"]) for item in conversation.fan_out
    ]
    found = channels.objects.only("name", "lane").in_bulk({pk for pk, _target in wanted if pk})
    there: list[Place] = []
    for pk, target in wanted:
        place = Place(found.get(pk), target)
        if place.channel is not None and place not in there:
            there.append(place)
    return there


def latest_deliveries(conversation: Conversation, count: int) -> QuerySet[Delivery]:
    """Return the latest deliveries of a conversation, newest first: to its agent, to its places.

    Only the latest of each of these lanes are searched, as in `latest_trace`.
    """
    lanes = [conversation.agent.lane_id, *(place.channel.lane_id for place in places(conversation))]
    found: list[UUID] = []
    for lane_id in dict.fromkeys(lanes):
        rows = Delivery.objects.filter(lane_id=lane_id).order_by("-id")
        latest = rows.values_list("pk", "conversation_id")[:LOOK_BACK]
        found += [pk for pk, owner in latest if owner == conversation.pk][:count]
    return Delivery.objects.filter(pk__in=found).order_by("-pk")[:count]


def latest_trace(conversation: Conversation) -> UUID | None:
    """Return the trace of what the agent got last in a conversation, if it is among the latest.

    The ledger has no index by conversation, which every event would pay for; so the search is
    bounded: the event whose id the conversation has (a conversation of one event does), else the
    agent's latest deliveries. What it was not sent yet it does not answer.
    """
    own = Event.objects.filter(pk=conversation.pk).values_list("trace", flat=True).first()
    if own is not None:
        return own
    latest = (
        Delivery.objects.filter(lane_id=conversation.agent.lane_id)
        .order_by("-id")
        .values_list("conversation_id", "attempt_count", "event__trace")[:LOOK_BACK]
    )
    return next(
        (trace for owner, tried, trace in latest if owner == conversation.pk and tried), None
    )


def trace_of(conversation: Conversation, message_id: UUID) -> UUID | None:
    """Return the trace of a message in a conversation, by the id of its event or its delivery."""
    here = {"pk": message_id, "conversation_id": conversation.pk}
    by_event = Event.objects.filter(**here).values_list("trace", flat=True).first()
    if by_event is not None:
        return by_event
    return Delivery.objects.filter(**here).values_list("event__trace", flat=True).first()


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines of a delivery log; None and empty do not filter, moments are half open."""

    before: UUID | None = None
    status: str = ""
    event_type: str = ""
    error_class: str = ""
    since: datetime | None = None
    until: datetime | None = None


def delivery_log(agent: Agent, wanted: LogFilter = LogFilter()) -> QuerySet[Delivery]:
    """Return an agent's deliveries, newest first; ``wanted.before``: those before the one of it.

    What was skipped was never to reach the agent, and spec 002 has no final status for it.
    """
    rows = Delivery.objects.filter(lane_id=agent.lane_id).order_by("-id")
    rows = rows.exclude(status=Delivery.Status.SKIPPED)
    if wanted.before:
        rows = rows.filter(id__lt=wanted.before)
    if wanted.since:
        # Ids carry the time, so that the index leads there; an id can be a little older or
        # younger than what it names.
        first = first_id_of(_moved(wanted.since, -CLOSE))
        rows = rows.filter(id__gte=first, created_at__gte=wanted.since)
    if wanted.until:
        last = first_id_of(_moved(wanted.until, CLOSE))
        rows = rows.filter(id__lt=last, created_at__lt=wanted.until)
    exact = {
        "status": wanted.status,
        "event_type": wanted.event_type,
        "error_class": wanted.error_class,
    }
    return rows.filter(**{name: value for name, value in exact.items() if value})


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:  # at either end of all time
        return moment


def conversations_of(
    agent: Agent, *, after: str | None = None, key: str | None = None
) -> QuerySet[Conversation]:
    """Return an agent's conversations in the order of their keys: the one order with an index.

    ``after`` leaves out keys up to that one; ``key`` finds the one of a key.
    """
    rows = Conversation.objects.filter(agent=agent).order_by("key")
    if after is not None:
        rows = rows.filter(key__gt=after)
    return rows.filter(key=key) if key is not None else rows


def blocked(agent_id: UUID, sender_id: str) -> str:
    """Return why an agent gets no messages of a sender, as an error class; empty: it does.

    ``relation_suspended`` or ``relation_revoked``. Whoever has no relation is not blocked.
    """
    status = (
        Relation.objects.filter(agent_id=agent_id, user_id=sender_id)
        .exclude(status=Relation.Status.ESTABLISHED)
        .values_list("status", flat=True)
        .first()
    )
    return f"relation_{status}" if status else ""


def blocked_senders() -> frozenset[tuple[UUID, str]]:
    """Return whom `blocked` names a reason for, as pairs of agent and sender."""
    rows = Relation.objects.exclude(status=Relation.Status.ESTABLISHED)
    return frozenset(rows.values_list("agent_id", "user_id"))
