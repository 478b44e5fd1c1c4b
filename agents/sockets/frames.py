"""The frames of docs/agents/websocket.md: one JSON object in each text message."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from agents.connections.fetched import ACKNOWLEDGED, refused
from deliveries.outcomes import Outcome

PROTOCOL = "hermes.v1"
# A message may have 1 MB (agents.services.messages) and its frame a little.
FRAME_LIMIT = 1_048_576 + 4096  # bytes
ID_LIMIT = 64  # characters


class BadFrame(ValueError):
    """A frame that can't be used; the text says why, ``about`` which one it was."""

    def __init__(self, detail: str, about: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.about = dict(about or {})


@dataclass(frozen=True, slots=True)
class Settle:
    """``ack`` or ``nack``: what came of a delivery."""

    delivery_id: UUID
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Say:
    """``message``: what the agent says; ``about`` is its own id of it, to be given back."""

    conversation_id: str
    payload: Any
    in_reply_to: UUID | None
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ping:
    """``ping``: to be answered."""

    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pong:
    """``pong``: a sign of life."""


Frame = Settle | Say | Ping | Pong


def read(text: str) -> Frame:
    """Return what the agent sent; raise BadFrame."""
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadFrame("The frame is not JSON.") from None
    if not isinstance(fields, dict):
        raise BadFrame("The frame must be a JSON object.")
    kind = fields.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise BadFrame('"type" must be one of: ack, nack, message, ping, pong.', _about(fields))
    return reader(fields)


def welcome(
    agent_id: UUID, waiting: int, concurrency: int, heartbeat: int, acknowledge_within: int
) -> str:
    """Return the first frame of a connection."""
    return _text(
        {
            "type": "welcome",
            "protocol": PROTOCOL,
            "agent_id": str(agent_id),
            "waiting": waiting,
            "concurrency": concurrency,
            "heartbeat_seconds": heartbeat,
            "ack_seconds": acknowledge_within,
        }
    )


def event(body: bytes, delivery_id: UUID) -> str:
    """Return a delivery's body with its id; the rest of it stays byte for byte."""
    return f'{body[:-1].decode()},"delivery_id":"{delivery_id}"}}'


def ping() -> str:
    """Return the heartbeat."""
    return _text({"type": "ping"})


def pong(about: Mapping[str, Any]) -> str:
    """Return the answer to a ping."""
    return _text({"type": "pong", **about})


def posted(event_id: UUID, about: Mapping[str, Any]) -> str:
    """Return the answer to a message that is stored."""
    return _text({"type": "posted", "event_id": str(event_id), **about})


def error(code: str, detail: str, about: Mapping[str, Any]) -> str:
    """Return the answer to a frame that could not be used."""
    return _text({"type": "error", "code": code, "detail": detail, **about})


def _text(fields: Mapping[str, Any]) -> str:
    return orjson.dumps(fields).decode()


def _read_ack(fields: Mapping[str, Any]) -> Settle:
    return Settle(_id(fields, "delivery_id"), ACKNOWLEDGED)


def _read_nack(fields: Mapping[str, Any]) -> Settle:
    delivery_id = _id(fields, "delivery_id")
    wait, reason = fields.get("retry_after"), fields.get("reason", "")
    if isinstance(wait, bool) or not isinstance(wait, int | float | None):
        raise BadFrame('"retry_after" must be a number of seconds.', _about(fields))
    if not isinstance(reason, str):
        raise BadFrame('"reason" must be a text.', _about(fields))
    return Settle(delivery_id, refused(reason, retry=False if wait is None else float(wait)))


def _read_message(fields: Mapping[str, Any]) -> Say:
    conversation_id = fields.get("conversation_id")
    if not isinstance(conversation_id, str):
        raise BadFrame('"conversation_id" must be the id of a conversation.', _about(fields))
    in_reply_to = None if fields.get("in_reply_to") is None else _id(fields, "in_reply_to")
    return Say(conversation_id, fields.get("payload"), in_reply_to, _about(fields))


def _read_ping(fields: Mapping[str, Any]) -> Ping:
    return Ping(_about(fields))


def _read_pong(fields: Mapping[str, Any]) -> Pong:
    return Pong()


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Frame]] = {
    "ack": _read_ack,
    "nack": _read_nack,
    "message": _read_message,
    "ping": _read_ping,
    "pong": _read_pong,
}


def _id(fields: Mapping[str, Any], name: str) -> UUID:
    value = fields.get(name)
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        raise BadFrame(f'"{name}" must be a UUID.', _about(fields)) from None


def _about(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what lets the agent tell which of its frames is answered."""
    own = fields.get("id")
    if (isinstance(own, str) and len(own) <= ID_LIMIT) or isinstance(own, int | float):
        return {"id": own}
    delivery_id = fields.get("delivery_id")
    if isinstance(delivery_id, str) and len(delivery_id) <= ID_LIMIT:
        return {"delivery_id": delivery_id}
    return {}
