"""Agents in completions mode, for tests."""

from typing import Any

from agents.connections.completions import CompletionsDestination
from agents.models import Agent
from agents.services.completions import DEFAULTS
from deliveries.outcomes import Outcome

from .conftest import make_message
from .fake_model import FakeModel

KEY = "sk-test-0123456789abcdef"


def endpoint(fake: FakeModel, /, **changed: Any) -> dict[str, Any]:
    """The settings of an agent that asks this model."""
    return {**DEFAULTS, "base_url": fake.base_url, "model": "fake-1", "lan": True} | changed


def unsaved(fake: FakeModel, /, key: str = KEY, **changed: Any) -> CompletionsDestination:
    """A destination that sending needs no database for, as long as it sends no history."""
    agent = Agent(
        name="thinker",
        connection_mode=Agent.Mode.COMPLETIONS,
        endpoint=endpoint(fake, **{"history": 0} | changed),
        endpoint_key=key,
    )
    return CompletionsDestination(agent)


def ask(fake: FakeModel, /, text: str = "Review this.", **changed: Any) -> Outcome:
    """Send one message to a model and return what came of it."""
    message = make_message(payload={"type": "text", "text": text}, metadata={})
    return unsaved(fake, **changed).send(message)


def saved(fake: FakeModel, /, name: str = "thinker", **changed: Any) -> Agent:
    """An agent that is ready."""
    fields = {"concurrency": changed.pop("concurrency", 4)}
    return Agent.objects.create(
        name=name,
        connection_mode=Agent.Mode.COMPLETIONS,
        connection_status=Agent.Status.READY,
        endpoint=endpoint(fake, **changed),
        endpoint_key=KEY,
        **fields,
    )
