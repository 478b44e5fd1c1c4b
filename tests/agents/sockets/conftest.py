from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.models import Agent, Conversation
from agents.services import issue_token
from deliveries.models import Delivery, Event
from deliveries.record import NewDelivery, NewEvent, record
from platforms.models import Channel
from tests.agents.conftest import make_agent
from tests.gateway.process import eventually

from .server import Socket, Web


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    server = Web()
    yield server
    server.stop()


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    return make_socket_agent("reader")


def make_socket_agent(name: str, **fields: Any) -> Agent:
    away = {
        "connection_mode": Agent.Mode.WEBSOCKET,
        "connection_status": Agent.Status.OFFLINE,
        "webhook_url": "",
    }
    return make_agent(name, **(away | fields))


@pytest.fixture
def channel(transactional_db: None) -> Channel:
    return Channel.objects.create(name="notes", kind="log")


@pytest.fixture
def token(agent: Agent) -> str:
    return issue_token(agent)


@pytest.fixture
def socket(web: Web, agent: Agent, token: str) -> Socket:
    """The agent's connection, welcomed."""
    connected = web.socket(agent, token)
    assert connected.read()["type"] == "welcome"
    return connected


def say(agent: Agent, text: str, conversation: Conversation | None = None) -> Delivery:
    """Record a message for the agent."""
    event, new = rows(agent, text, conversation)
    record([event], [new])
    return Delivery.objects.get(pk=new.id)


def rows(
    agent: Agent, text: str, conversation: Conversation | None = None
) -> tuple[NewEvent, NewDelivery]:
    conversation_id = conversation.pk if conversation else None
    event = NewEvent(
        source=Event.Source.ROUTE, type="push", body=b"{}", conversation_id=conversation_id
    )
    new = NewDelivery(
        event=event,
        lane_id=agent.lane_id,
        event_type="message.new",
        payload={"type": "text", "text": text},
        conversation_id=conversation_id,
    )
    return event, new


def held_back(agent: Agent, *texts: str) -> list[Delivery]:
    """Record messages while nobody is there to fetch them."""
    return [say(agent, text) for text in texts]


def fresh(delivery: Delivery) -> Delivery:
    return Delivery.objects.get(pk=delivery.pk)


def wait_for(check: Callable[[], Any], what: str) -> Any:
    return eventually(check, 5, what)
