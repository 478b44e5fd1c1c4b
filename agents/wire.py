"""What a webhook delivery looks like on the wire: body, headers, signature (spec 002)."""

import hashlib
import hmac
from uuid import UUID

import orjson

from deliveries.outcomes import Message

from . import envelope

VERSION = "v1"
# "单 webhook body 硬上限 1 MB" (spec 002), counted as the gateway counts its own limit.
BODY_LIMIT = 1_048_576  # bytes
SIGNATURE_HEADER = "X-Hashee-Signature"


class BodyTooLarge(ValueError):
    """The body of a delivery is above the 1 MB that a webhook may carry."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes")
        self.size = size


def body(message: Message) -> bytes:
    """Return the body of a delivery, the same bytes on every attempt.

    Raises BodyTooLarge above BODY_LIMIT.
    """
    metadata = {
        "conversation_id": envelope.conversation_id(message),
        "sender_id": message.sender_id,
        "created_at": envelope.iso_milliseconds(message.created_at),
    }
    if skills := message.metadata.get("skills"):
        metadata["skills"] = skills
    content = orjson.dumps(
        {
            "type": message.event_type,
            "version": VERSION,
            "wire_envelope": envelope.encode(message),
            "metadata": metadata,
        }
    )
    if len(content) > BODY_LIMIT:
        raise BodyTooLarge(len(content))
    return content


def headers(
    *, secret: str, agent_id: UUID, delivery_id: UUID, body: bytes, timestamp: int
) -> dict[str, str]:
    """Return the headers of one attempt; ``timestamp`` is unix seconds, new on every attempt."""
    return {
        "Content-Type": "application/json",
        SIGNATURE_HEADER: sign(secret, timestamp, str(delivery_id), body),
        "X-Hashee-Timestamp": str(timestamp),
        "X-Hashee-Delivery-Id": str(delivery_id),
        "X-Hashee-Agent-Id": str(agent_id),
    }


def sign(secret: str, timestamp: int, delivery_id: str, body: bytes) -> str:
    """Return hex(HMAC-SHA256(secret, timestamp + "." + delivery_id + "." + body)).

    The key is the secret's text as it stands. It looks like base64, but no verifier of spec 002
    decodes it.
    """
    signed = f"{timestamp}.{delivery_id}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
