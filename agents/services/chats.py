"""What people write to an agent on a platform: an event, a conversation, a delivery."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from agents.models import Agent, Conversation
from agents.selectors import blocked, default_agent
from deliveries import bulk
from deliveries.models import DedupeKey, Event
from deliveries.record import NewDelivery, NewEvent, dump, record
from deliveries.transactions import write_transaction

from .conversations import conversation_id
from .messages import MESSAGE


class ChatMessage(Protocol):
    """A message as platforms hand it over (`platforms.chats.ChatMessage`); they are strangers."""

    @property
    def id(self) -> str: ...
    @property
    def chat(self) -> str: ...
    @property
    def sender_id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def target(self) -> Mapping[str, Any]: ...
    @property
    def original(self) -> Mapping[str, Any]: ...
    @property
    def received_at(self) -> datetime: ...


def take_chat(channel: Any, message: ChatMessage) -> UUID | None:
    """Record what a person wrote on a channel, for the channel's agent or else the default one.

    Returns the event's id; None for a message that came before, within the hour. The message
    joins its chat's conversation, whose place becomes where it was written; what was sent by
    somebody whose relation is suspended or revoked is recorded and not sent. Raises
    NoDefaultAgent, and the database's Error: then nothing was kept.
    """
    agent = channel.agent or default_agent()
    event = NewEvent(
        source=Event.Source.CHAT,
        type=MESSAGE,
        # Escaped: half a surrogate pair, which JSON can spell, has no UTF-8.
        body=json.dumps(message.original).encode(),
        dedupe_key=message.id[:255],
        conversation_id=conversation_id(agent.pk, message.chat),
        received_at=message.received_at,
    )
    delivery = NewDelivery(
        event=event,
        lane_id=agent.lane_id,
        event_type=MESSAGE,
        payload={"type": "text", "text": message.text},
        conversation_id=event.conversation_id,
        metadata={"sender_id": message.sender_id},
        skipped=blocked(agent.pk, message.sender_id),
    )
    with write_transaction():
        if not _is_news(channel, message, event):
            return None
        _write_conversation(agent, channel, message, event)
        record([event], [delivery])
    return event.id


def _is_news(channel: Any, message: ChatMessage, event: NewEvent) -> bool:
    scope = f"chat\0{channel.pk}\0{message.id}".encode()
    _key, created = DedupeKey.objects.get_or_create(
        pk=hashlib.blake2b(scope, digest_size=16).digest(),
        defaults={
            "event_id": event.id,
            "digest": hashlib.blake2b(event.body, digest_size=16).digest(),
            "at": event.received_at,
        },
    )
    return created


def _write_conversation(agent: Agent, channel: Any, message: ChatMessage, event: NewEvent) -> None:
    """Write where answers go; a conversation that goes on has its place from its latest message.

    In one statement: looking first would wait for whoever holds the row.
    """
    columns = (
        "id", "agent_id", "key", "channel_id", "target", "fan_out", "sender_id", "created_at",
    )  # fmt: skip
    row = (
        conversation_id(agent.pk, message.chat).hex,
        agent.pk.hex,
        message.chat,
        channel.pk,
        dump(message.target),
        "[]",
        message.sender_id,
        bulk.time_adapter()(event.received_at),
    )
    bulk.upsert(
        Conversation,
        columns,
        [row],
        "ON CONFLICT (id) DO UPDATE SET channel_id = excluded.channel_id, "
        "target = excluded.target, created_at = excluded.created_at",
    )
