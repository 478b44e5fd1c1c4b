from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone
from pytest_django import Settings

from agents.connections.webhook import WebhookDestination
from agents.models import Agent, AgentSecret, Conversation
from deliveries.ids import new_id
from deliveries.models import Delivery, Event
from deliveries.outcomes import Message
from deliveries.record import NewDelivery, NewEvent, record
from platforms.models import Channel

from .receiver import Receiver, serve

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTAwMDE="


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    receiver = Receiver()
    server = serve(receiver)
    yield receiver
    server.shutdown()
    server.server_close()


@pytest.fixture
def message() -> Message:
    return make_message()


def make_message(**facts: Any) -> Message:
    """The message of the examples in docs/protocol.md, with some facts changed."""
    event_id = UUID("01930b1e-7b00-7000-8000-000000000002")
    return Message(
        **{
            "id": UUID("01930b1e-7c00-7000-8000-000000000001"),
            "event_type": "message.new",
            "payload": {"type": "text", "text": "Review pull request 7: “Größe” 尺寸"},
            "created_at": datetime(2026, 5, 15, 10, 24, 11, 123456, tzinfo=UTC),
            "event_id": event_id,
            "trace": event_id,
            "conversation_id": UUID("01930b1e-7a00-7000-8000-000000000003"),
            "sender_id": "github:octocat",
            "metadata": {"skills": ["code-review"], "route": "pulls"},
        }
        | facts
    )


def unsaved_destination(url: str, *secrets: str) -> WebhookDestination:
    """An agent that sending needs no database for."""
    agent = Agent(name="reviewer", connection_mode=Agent.Mode.WEBHOOK, webhook_url=url)
    return WebhookDestination(agent, secrets or (SECRET,))


@pytest.fixture
def agent(db: None) -> Agent:
    """An agent in webhook mode that is ready."""
    return make_agent("reviewer")


def make_agent(name: str, **fields: Any) -> Agent:
    agent = Agent.objects.create(
        name=name,
        **{
            "connection_mode": Agent.Mode.WEBHOOK,
            "connection_status": Agent.Status.READY,
            "webhook_url": "https://93.184.215.14/hashee/webhook",
        }
        | fields,
    )
    AgentSecret.objects.create(agent=agent, value=SECRET)
    return agent


@pytest.fixture
def channel(db: None) -> Channel:
    return Channel.objects.create(name="notes", kind="log")


@pytest.fixture
def conversation(agent: Agent, channel: Channel) -> Conversation:
    return make_conversation(agent, channel)


def make_conversation(
    agent: Agent, channel: Channel | None, key: str = "acme/site#7"
) -> Conversation:
    return Conversation.objects.create(
        agent=agent,
        key=key,
        channel=channel,
        target={"repo": "acme/site", "number": "7"},
        created_at=timezone.now(),
    )


def deliver(agent: Agent, conversation: Conversation | None = None, **facts: Any) -> Delivery:
    """Record a delivery to an agent, as the receive path does."""
    conversation_id = conversation.pk if conversation else None
    event = NewEvent(
        source=Event.Source.ROUTE,
        type="pull_request",
        body=b"{}",
        route="pulls",
        conversation_id=conversation_id,
        **facts,
    )
    delivery = NewDelivery(
        event=event,
        lane_id=agent.lane_id,
        event_type="message.new",
        payload={"type": "text", "text": "Review this."},
        conversation_id=conversation_id,
        id=new_id(),
    )
    record([event], [delivery])
    return Delivery.objects.get(pk=delivery.id)
