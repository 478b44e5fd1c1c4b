"""Queries about agents that have a name."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from deliveries.models import Delivery, Event

from .models import Agent, AgentToken, Conversation

# How many of an agent's latest deliveries are searched for the one that an answer belongs to.
LOOK_BACK = 1000


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


def latest_trace(conversation: Conversation) -> UUID | None:
    """Return the trace of what the agent got last in a conversation, if it is among the latest.

    The ledger has no index by conversation, which every event would pay for; so the search is
    bounded: the event whose id the conversation has (a conversation of one event does), else the
    agent's latest deliveries.
    """
    own = Event.objects.filter(pk=conversation.pk).values_list("trace", flat=True).first()
    if own is not None:
        return own
    latest = (
        Delivery.objects.filter(lane_id=conversation.agent.lane_id)
        .order_by("-id")
        .values_list("conversation_id", "event__trace")[:LOOK_BACK]
    )
    return next((trace for owner, trace in latest if owner == conversation.pk), None)


def delivery_log(agent: Agent, before: UUID | None = None) -> QuerySet[Delivery]:
    """Return an agent's deliveries, newest first; those before the one of this id, if given."""
    rows = Delivery.objects.filter(lane_id=agent.lane_id).order_by("-id")
    return rows.filter(id__lt=before) if before else rows
