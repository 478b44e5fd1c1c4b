"""What an agent says, and what is said on its behalf, on the way to a conversation's place."""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from agents.models import Agent, Conversation
from agents.selectors import latest_trace
from deliveries.models import Delivery, Event
from deliveries.record import NewDelivery, NewEvent, record

logger = logging.getLogger(__name__)

MESSAGE = "message.new"
EXPIRED = "delivery.expired"
PAYLOAD_LIMIT = 1_048_576  # bytes of JSON


class UnknownConversation(LookupError):
    """The agent has no conversation of this id."""

    def __init__(self, conversation_id: object) -> None:
        super().__init__(f"This agent has no conversation {conversation_id}.")


def post_message(
    agent: Agent,
    conversation_id: UUID | str | None,
    payload: Any,
    *,
    trace: UUID | None = None,
    dedupe: str | None = None,
) -> Event:
    """Record what an agent says in a conversation and send it to the conversation's place.

    ``trace`` is the chain it belongs to; None: that of what the agent got last in there.
    ``dedupe`` names the saying within its chain: said again, the first event is returned and
    nothing is sent. A conversation without a channel keeps the event and goes nowhere.
    Raises UnknownConversation, and ValidationError for a payload that is no message.
    """
    check_payload(payload)
    conversation = _conversation(agent, conversation_id)
    trace = trace or latest_trace(conversation)
    with transaction.atomic():
        if dedupe and trace and (said := _said_before(trace, dedupe)):
            return said
        event = NewEvent(
            source=Event.Source.AGENT,
            type=MESSAGE,
            body=orjson.dumps(payload),
            dedupe_key=dedupe or "",
            conversation_id=conversation.pk,
            trace=trace,
        )
        _send_to_place(conversation, event, payload)
    return Event.objects.get(pk=event.id)


def check_payload(payload: Any) -> None:
    """Raise ValidationError on the field ``payload`` unless it is a text message within 1 MB."""
    problem = _problem_of(payload)
    if problem:
        raise ValidationError({"payload": problem})


def tell_expired(agent: Agent, delivery: Delivery) -> None:
    """Tell a conversation that its agent did not get a message in time.

    One notice stands for all that expired together: while one waits to be sent, no second is
    made.
    """
    # Not `delivery.conversation`: the ledger may name one that went with its agent.
    conversation = (
        Conversation.objects.select_related("channel")
        .defer("channel__config")
        .filter(deliveries=delivery)
        .first()
    )
    if conversation is None or conversation.channel is None:
        logger.warning("Delivery %s expired; its sender has no place to be told", delivery.pk)
        return
    told = Delivery.objects.filter(
        conversation=conversation, pending_lane=conversation.channel.lane_id, event_type=EXPIRED
    )
    if told.exists():
        return
    payload = {
        "type": "text",
        "text": _(
            "%(agent)s could not be reached in time. What was sent to it in this conversation "
            "has not arrived and will not be sent again."
        )
        % {"agent": agent.name},
    }
    body = {"delivery_id": str(delivery.pk), "agent_id": str(agent.pk)} | payload
    event = NewEvent(
        source=Event.Source.SYSTEM,
        type=EXPIRED,
        body=orjson.dumps(body),
        conversation_id=conversation.pk,
        trace=delivery.event.trace,
    )
    _send_to_place(conversation, event, payload)


def _problem_of(payload: Any) -> str:
    if not isinstance(payload, dict):
        return _("The payload must be an object.")
    if payload.get("type") != "text":
        return _('The payload\'s "type" must be "text".')
    text = payload.get("text")
    if not isinstance(text, str) or not text.strip():
        return _('The payload\'s "text" must be a text that is not empty.')
    try:
        size = len(orjson.dumps(payload))
    except orjson.JSONEncodeError:  # a lone surrogate, a number beyond 64 bits, endless nesting
        return _("The payload holds something that cannot be written as JSON.")
    if size > PAYLOAD_LIMIT:
        return _("The payload is larger than %(limit)d bytes.") % {"limit": PAYLOAD_LIMIT}
    return ""


def _conversation(agent: Agent, conversation_id: UUID | str | None) -> Conversation:
    try:
        key = conversation_id if isinstance(conversation_id, UUID) else UUID(conversation_id or "")
    except ValueError:
        raise UnknownConversation(conversation_id) from None
    conversation = (
        Conversation.objects.select_related("agent", "channel")
        .defer("channel__config")
        .filter(agent=agent, pk=key)
        .first()
    )
    if conversation is None:
        raise UnknownConversation(conversation_id)
    return conversation


def _said_before(trace: UUID, dedupe: str) -> Event | None:
    return Event.objects.filter(trace=trace, source=Event.Source.AGENT, dedupe_key=dedupe).first()


def _send_to_place(conversation: Conversation, event: NewEvent, payload: Mapping[str, Any]) -> None:
    channel = conversation.channel
    if channel is None:
        logger.warning("Event %s has no place: its conversation has no channel", event.id)
        record([event], [])
        return
    delivery = NewDelivery(
        event=event,
        lane_id=channel.lane_id,
        event_type=event.type,
        payload=payload,
        target=conversation.target,
        conversation_id=conversation.pk,
    )
    record([event], [delivery])
