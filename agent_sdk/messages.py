"""What a delivery says."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .envelopes import Opener, json_object
from .errors import CannotOpen, InvalidBody

VERSION = "v1"
REFERENCE = "r2"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an envelope is that was too large for the body; ``size`` is in bytes."""

    object_key: str
    size: int


Fetch = Callable[[Reference], bytes]


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One event for the agent.

    ``payload`` is ``{"type": "text", "text": …}`` for a message. ``conversation_id`` is where an
    answer goes; None: nowhere. ``metadata`` is the delivery's own, with ``skills`` if its route
    names any. ``delivery_id`` is empty when it was not told.
    """

    id: str
    type: str
    conversation_id: str | None
    sender_id: str
    created_at: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    delivery_id: str = ""

    @property
    def text(self) -> str:
        """Return the text of a message; empty for other events."""
        text = self.payload.get("text", "")
        return text if isinstance(text, str) else ""


def parse_webhook_payload(
    body: bytes | str,
    *,
    opener: Opener | None = None,
    fetch: Fetch | None = None,
    delivery_id: str = "",
) -> InboundMessage:
    """Return what a delivery says. Verify its signature first.

    ``opener`` reads sealed envelopes, ``fetch`` gets those that are only referred to (see
    `Client.fetch_object`); without them such a body raises CannotOpen. Raises InvalidBody when
    the body is not a delivery of version "v1".
    """
    frame = json_object(body)
    if frame.get("version") != VERSION:
        raise InvalidBody(
            f"The body has the version {frame.get('version')!r}; this reads {VERSION}."
        )
    envelope = (opener or Opener("")).open(_content(frame, fetch))
    try:
        return InboundMessage(
            id=envelope["id"],
            type=envelope["type"],
            conversation_id=envelope["conversation_id"],
            sender_id=envelope["sender_id"],
            created_at=envelope["created_at"],
            payload=_object(envelope["payload"]),
            metadata=_object(frame["metadata"]),
            delivery_id=delivery_id,
        )
    except (TypeError, KeyError) as error:
        raise InvalidBody(f"The body is not a delivery: {error!r}") from None


def _content(frame: Mapping[str, Any], fetch: Fetch | None) -> bytes:
    """Return the envelope as JSON, from the body or from where that refers to."""
    wrapped = frame.get("wire_envelope")
    if wrapped is None and isinstance(frame.get("ref"), dict):
        reference = _reference(frame["ref"])
        if fetch is None:
            raise CannotOpen(f"The body refers to {reference.object_key}, which was not fetched.")
        return fetch(reference)
    if not isinstance(wrapped, str):
        raise InvalidBody("The body is not a delivery: it has no envelope.")
    try:
        return base64.b64decode(wrapped, validate=True)
    except ValueError as error:
        raise InvalidBody(f"The body is not a delivery: {error}") from None


def _reference(ref: Mapping[str, Any]) -> Reference:
    key, size = ref.get("object_key"), ref.get("size")
    if ref.get("type") != REFERENCE or not isinstance(key, str) or not isinstance(size, int):
        raise InvalidBody("The body refers to something that this can't fetch.")
    return Reference(key, size)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object was expected")
    return value
