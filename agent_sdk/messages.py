"""What a delivery says."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class InvalidBody(ValueError):
    """A body that is not a delivery this version can read."""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One event for the agent.

    ``payload`` is ``{"type": "text", "text": …}`` for a message. ``conversation_id`` is where an
    answer goes; None: nowhere. ``metadata`` is the delivery's own, with ``skills`` if its route
    names any.
    """

    id: str
    type: str
    conversation_id: str | None
    sender_id: str
    created_at: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the text of a message; empty for other events."""
        text = self.payload.get("text", "")
        return text if isinstance(text, str) else ""


def parse_webhook_payload(body: bytes | str) -> InboundMessage:
    """Return what a delivery says. Verify its signature first.

    Raises InvalidBody when the body is not one of ``version`` "v1" with an envelope "v1.0".
    """
    try:
        frame = json.loads(body)
        if frame["version"] != "v1":
            raise InvalidBody(f"The body has the version {frame['version']!r}; this reads v1.")
        envelope = json.loads(base64.b64decode(frame["wire_envelope"], validate=True))
        if envelope["version"] != "v1.0":
            raise InvalidBody(
                f"The envelope has the version {envelope['version']!r}; this reads v1.0."
            )
        return InboundMessage(
            id=envelope["id"],
            type=envelope["type"],
            conversation_id=envelope["conversation_id"],
            sender_id=envelope["sender_id"],
            created_at=envelope["created_at"],
            payload=_object(envelope["payload"]),
            metadata=_object(frame["metadata"]),
        )
    except InvalidBody:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise InvalidBody(f"The body is not a delivery: {error!r}") from None


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object was expected")
    return value
