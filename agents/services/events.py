"""Events for an agent that come from Hermes itself rather than from a route."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from agents.event_types import ALL_EVENTS, MESSAGE, WEBHOOK_EVENTS
from agents.models import Agent, Conversation
from agents.selectors import blocked
from deliveries.models import Delivery, Event
from deliveries.record import NewDelivery, NewEvent, record

# Why a delivery was skipped, as its error class.
NOT_FOR_WEBHOOK = "not_for_webhook"
NOT_FOR_COMPLETIONS = "not_for_completions"


def emit(
    agent: Agent,
    type: str,
    payload: Mapping[str, Any],
    *,
    conversation: Conversation | None = None,
    user_id: str = "",
    trace: UUID | None = None,
) -> Event:
    """Record an event for an agent, and its delivery on the agent's lane; return the event.

    ``type`` is one of `ALL_EVENTS` (ValueError otherwise), ``payload`` any JSON object,
    ``user_id`` whom it is about: the ``sender_id`` of the delivery. What the agent's connection
    does not carry, and messages of people whose relation is suspended or revoked, are recorded
    as skipped with the reason as error class. Runs in the caller's transaction.
    """
    if type not in ALL_EVENTS:
        raise ValueError(f"There is no event of type {type}.")
    with transaction.atomic():
        # As it is in the database: the caller's may be older than a switch.
        mode = Agent.objects.values_list("connection_mode", flat=True).get(pk=agent.pk)
        event = NewEvent(
            source=Event.Source.SYSTEM,
            type=type,
            body=orjson.dumps(payload),
            conversation_id=conversation.pk if conversation else None,
            trace=trace,
        )
        delivery = NewDelivery(
            event=event,
            lane_id=agent.lane_id,
            event_type=type,
            payload=payload,
            conversation_id=event.conversation_id,
            metadata={"sender_id": user_id} if user_id else {},
            skipped=_reason_to_skip(agent, mode, type, user_id),
        )
        record([event], [delivery])
    return Event.objects.get(pk=event.id)


def _reason_to_skip(agent: Agent, mode: str, type: str, user_id: str) -> str:
    if mode in _CARRIES and type not in _CARRIES[mode][0]:
        return _CARRIES[mode][1]
    return blocked(agent.pk, user_id) if type == MESSAGE and user_id else ""


# What a connection carries, and why the rest is skipped; the others carry everything. A chat
# endpoint understands nothing but what people say.
_CARRIES: Mapping[str, tuple[frozenset[str], str]] = {
    Agent.Mode.WEBHOOK: (WEBHOOK_EVENTS, NOT_FOR_WEBHOOK),
    Agent.Mode.COMPLETIONS: (frozenset({MESSAGE}), NOT_FOR_COMPLETIONS),
}


def skip_what_is_not_carried(agent: Agent, mode: str) -> None:
    """Skip what waits for an agent and its new connection does not carry; in one transaction
    with the switch, while nothing of it is out."""
    if mode not in _CARRIES:
        return
    carried, reason = _CARRIES[mode]
    waiting = Delivery.objects.filter(pending_lane=agent.lane_id, claim__isnull=True)
    waiting.exclude(event_type__in=carried).update(
        status=Delivery.Status.SKIPPED,
        error_class=reason,
        completed_at=timezone.now(),
        pending_lane=None,
        next_attempt_at=None,
    )
