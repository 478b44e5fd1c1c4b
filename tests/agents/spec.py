"""What the tests that walk the protocol reference share: send, and look at what came."""

from typing import Any

from agents.connections.webhook import WebhookDestination
from agents.models import Agent, AgentSecret
from deliveries.ids import new_id
from deliveries.outcomes import Outcome

from .conftest import make_message
from .receiver import Received, Receiver


def send(agent: Agent, **facts: Any) -> Outcome:
    """Send the agent the message of the examples, with an id of its own and some facts changed."""
    secrets = [row.value for row in AgentSecret.objects.live().filter(agent=agent)]
    return WebhookDestination(agent, secrets).send(make_message(**{"id": new_id()} | facts))


def only(receiver: Receiver) -> Received:
    """Return the one request that came."""
    [got] = receiver.requests
    return got
