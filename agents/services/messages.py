"""What an agent says, and what is said on its behalf, on the way to a conversation's places."""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from agents.models import Agent, Conversation
from agents.selectors import Place, latest_trace, places, trace_of
from deliveries.models import Delivery, Event
from deliveries.record import NewDelivery, NewEvent, record
from deliveries.selectors import first_id_of

from .conversations import note_use

logger = logging.getLogger(__name__)

MESSAGE = "message.new"
EXPIRED = "delivery.expired"
PAYLOAD_LIMIT = 1_048_576  # bytes of JSON
# Of a conversation of many events each would expire at a time of its own.
NOTICE_EVERY = timedelta(hours=1)


class UnknownConversation(LookupError):
    """The agent has no conversation of this id."""

    def __init__(self, conversation_id: object) -> None:
        super().__init__(f"This agent has no conversation {conversation_id}.")


def post_message(
    agent: Agent,
    conversation_id: UUID | str | None,
    payload: Any,
    *,
    in_reply_to: UUID | None = None,
    trace: UUID | None = None,
    dedupe: str | None = None,
) -> Event:
    """Record what an agent says in a conversation and send it to the conversation's places.

    ``trace`` is the chain it belongs to, ``in_reply_to`` the id of a message (of its event or
    its delivery) whose chain that is; None of both: that of what the agent got last in there.
    ``dedupe`` names the saying within its chain: said again, the first event is returned and
    nothing is sent. A conversation without a channel keeps the event and goes nowhere.
    Raises UnknownConversation, and ValidationError for a payload that is no message or an
    ``in_reply_to`` that is none of the conversation's.
    """
    check_payload(payload)
    conversation = _conversation(agent, conversation_id)
    trace = trace or _trace(conversation, in_reply_to)
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
        note_use(conversation, event.received_at)
        _send(conversation, event, payload, places(conversation))
    return Event.objects.get(pk=event.id)


def check_payload(payload: Any) -> None:
    """Raise ValidationError on the field ``payload`` unless it is a text message within 1 MB."""
    problem = _problem_of(payload)
    if problem:
        raise ValidationError({"payload": problem})


def tell_expired(agent: Agent, delivery: Delivery) -> None:
    """Tell a conversation, at its first place, that its agent did not get a message in time.

    One notice stands for all that expire in a conversation within an hour, and for as long as it
    waits to be sent itself.
    """
    # Not `delivery.conversation`: the ledger may name one that went with its agent.
    conversation = Conversation.objects.filter(deliveries=delivery).first()
    there = places(conversation) if conversation else []
    if conversation is None or not there:
        logger.warning("Delivery %s expired; its sender has no place to be told", delivery.pk)
        return
    if _was_told(conversation, there[0].channel.lane_id):
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
    _send(conversation, event, payload, there[:1])


def _was_told(conversation: Conversation, lane_id: int) -> bool:
    notices = Delivery.objects.filter(
        conversation=conversation, lane_id=lane_id, event_type=EXPIRED
    )
    recent = first_id_of(timezone.now() - NOTICE_EVERY)
    # Two questions, as each has an index of its own.
    return notices.filter(pending_lane=lane_id).exists() or notices.filter(pk__gte=recent).exists()


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
    conversation = Conversation.objects.select_related("agent").filter(agent=agent, pk=key).first()
    if conversation is None:
        raise UnknownConversation(conversation_id)
    return conversation


def _trace(conversation: Conversation, in_reply_to: UUID | None) -> UUID | None:
    if in_reply_to is None:
        return latest_trace(conversation)
    trace = trace_of(conversation, in_reply_to)
    if trace is None:
        raise ValidationError({"in_reply_to": _("This conversation has no such message.")})
    return trace


def _said_before(trace: UUID, dedupe: str) -> Event | None:
    return Event.objects.filter(trace=trace, source=Event.Source.AGENT, dedupe_key=dedupe).first()


def _send(
    conversation: Conversation, event: NewEvent, payload: Mapping[str, Any], there: Sequence[Place]
) -> None:
    """Record an event and, for each of these places of its conversation, a delivery."""
    if not there:
        logger.warning("Event %s has no place: its conversation has no channel", event.id)
    deliveries = [
        NewDelivery(
            event=event,
            lane_id=place.channel.lane_id,
            event_type=event.type,
            payload=payload,
            target=place.target,
            conversation_id=conversation.pk,
        )
        for place in there
    ]
    record([event], deliveries)
