"""What people write on a platform, on its way to whoever answers there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from .models import Channel


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a person, as a platform brought it.

    ``id`` is the platform's own: the same again is the same message. ``chat`` names the thread
    that it belongs to, with its platform before it ("dingtalk:cid…"); ``target`` is where on the
    channel an answer goes. ``sender_id`` is who wrote it, in the same manner. ``original`` is
    what came, for the ledger: JSON, without secrets.
    """

    id: str
    chat: str
    sender_id: str
    text: str
    target: Mapping[str, Any]
    original: Mapping[str, Any] = field(default_factory=dict)
    received_at: datetime = field(default_factory=timezone.now)


#: Records a message durably; returns its event's id, None if it came before.
Handler = Callable[[Channel, ChatMessage], UUID | None]

_handlers: list[Handler] = []


class Unanswered(RuntimeError):
    """Nobody is there to take what people write."""


def register(handler: Handler) -> None:
    """Let messages be taken by ``handler``, in place of the one before it."""
    _handlers[:] = [handler]


def receive_chat(channel: Channel, message: ChatMessage) -> UUID | None:
    """Record what a person wrote and send it to whoever answers; return its event's id.

    Durable when this returns; None for a message that came before. Raises Unanswered without a
    handler, and what the handler raises: a database's Error, LookupError if there is no agent.
    """
    if not _handlers:
        raise Unanswered("No handler of chat messages is registered.")
    return _handlers[0](channel, message)
