"""hashee-envelope-v1: one message as base64 of JSON, the same text however often it is sent."""

import base64
from datetime import UTC, datetime

import orjson

from deliveries.outcomes import Message

# In the clear; the signature around it keeps it whole (docs/protocol.md).
VERSION = "v1.0"


def encode(message: Message) -> str:
    """Return the envelope of a message, in standard base64 with padding.

    The fields keep this order, and the payload the order in which it was stored, so that every
    attempt carries the same bytes. ``id`` is that of the event: two deliveries of one event are
    one message.
    """
    fields = {
        "version": VERSION,
        "id": str(message.event_id),
        "type": message.event_type,
        "conversation_id": conversation_id(message),
        "sender_id": message.sender_id,
        "created_at": iso_milliseconds(message.created_at),
        "payload": message.payload,
    }
    return base64.b64encode(orjson.dumps(fields)).decode()


def conversation_id(message: Message) -> str | None:
    """Return the conversation's id as text; None when the message belongs to none."""
    return str(message.conversation_id) if message.conversation_id else None


def iso_milliseconds(moment: datetime) -> str:
    """Return a moment as spec 002 writes it: ``2026-05-15T10:24:11.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
