"""hashee-envelope-v1: one message as base64 of JSON (docs/protocol.md)."""

import base64
from datetime import UTC, datetime

import orjson

from deliveries.outcomes import Message

from .models import Agent
from .sealing import seal

# In the clear; the signature around it keeps it whole. Sealed ones are v1.1.
VERSION = "v1.0"


def content_for(message: Message, agent: Agent) -> bytes:
    """Return the envelope of a message as JSON: sealed if the agent has given a public key.

    Raises ValidationError if that key is malformed, VaultKeyError if ours can't be read.
    """
    clear = content(message)
    return seal(clear, agent.pk, agent.public_key) if agent.public_key else clear


def content(message: Message) -> bytes:
    """Return the envelope of a message in the clear, as JSON; the same bytes each time.

    The fields keep this order, and the payload the order in which it was stored. ``id`` is that
    of the event: two deliveries of one event are one message.
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
    return orjson.dumps(fields)


def encode(message: Message) -> str:
    """Return the envelope of a message in the clear, in standard base64 with padding."""
    return base64.b64encode(content(message)).decode()


def conversation_id(message: Message) -> str | None:
    """Return the conversation's id as text; None when the message belongs to none."""
    return str(message.conversation_id) if message.conversation_id else None


def iso_milliseconds(moment: datetime) -> str:
    """Return a moment as spec 002 writes it: ``2026-05-15T10:24:11.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
