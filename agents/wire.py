"""What a delivery looks like on the wire: body, headers, signature (spec 002).

The body is the same whether it is posted to a webhook, pushed through a socket or pulled.
"""

import base64
import hashlib
import hmac
from typing import Any
from uuid import UUID

import orjson

from deliveries.outcomes import Message

from . import envelope, storage
from .models import Agent, StoredObject

VERSION = "v1"
# "单 webhook body 硬上限 1 MB" (spec 002), counted as the gateway counts its own limit.
BODY_LIMIT = 1_048_576  # bytes
SIGNATURE_HEADER = "X-Hashee-Signature"
REFERENCE = "ref://"


def body_for(message: Message, agent: Agent) -> bytes:
    """Return the body of a delivery to an agent, for every mode in which it gets one.

    1. The envelope is in the clear, or sealed if the agent has given a public key. In the clear
       the body is the same bytes on every attempt.
    2. A body above BODY_LIMIT is kept in the storage, once per delivery, and a stub that refers to
       it is returned (spec 002, R2 引用); so what is returned is never above BODY_LIMIT.

    Asks the database and the storage for large bodies only; call it outside a transaction, in a
    thread. Raises storage.StorageFailed (temporary: try again later), and ValidationError or
    VaultKeyError when a key can't be used (an operator can mend either).
    """
    content = envelope.content_for(message, agent)
    whole = body(message, content)
    if len(whole) <= BODY_LIMIT:
        return whole
    return stub(message, storage.keep(agent, message.id, content))


def body(message: Message, content: bytes | None = None) -> bytes:
    """Return a body that carries an envelope, of whichever size; None: the one in the clear."""
    wrapped = base64.b64encode(envelope.content(message) if content is None else content).decode()
    return _frame(message, {"wire_envelope": wrapped})


def stub(message: Message, stored: StoredObject) -> bytes:
    """Return a body that says where its envelope can be fetched."""
    reference = {
        "type": "r2",
        "object_key": REFERENCE + stored.key,
        "size": stored.size,
        "content_type": stored.content_type,
    }
    return _frame(message, {"wire_envelope": None, "ref": reference})


def _frame(message: Message, carried: dict[str, Any]) -> bytes:
    metadata = {
        "conversation_id": envelope.conversation_id(message),
        "sender_id": message.sender_id,
        "created_at": envelope.iso_milliseconds(message.created_at),
    }
    if skills := message.metadata.get("skills"):
        metadata["skills"] = skills
    head = {"type": message.event_type, "version": VERSION}
    return orjson.dumps(head | carried | {"metadata": metadata})


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
