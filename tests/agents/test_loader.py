"""Agents as destinations of the engine."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agents.connections.webhook import WebhookDestination
from agents.connections.websocket import WebSocketDestination
from agents.models import Agent, AgentSecret
from deliveries.destinations import load
from deliveries.ladder import AGENT_LADDER
from deliveries.models import Lane
from deliveries.outcomes import Verdict

from .conftest import SECRET, make_agent, make_message

pytestmark = pytest.mark.django_db


def test_many_agents_are_loaded_in_two_queries(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(5):
        make_agent(f"agent {number}")
    lanes = list(Lane.objects.filter(label__startswith="agent "))
    with django_assert_num_queries(2):
        found = load(lanes)
    assert set(found) == {lane.pk for lane in lanes}
    assert {destination.ladder for destination in found.values()} == {AGENT_LADDER}


def test_a_webhook_agent_comes_with_its_live_secrets_newest_first(agent: Agent) -> None:
    now = timezone.now()
    AgentSecret.objects.update(created_at=now - timedelta(days=9))
    for value, age, end in [("newest" * 6, 1, None), ("older" * 8, 2, 1), ("ended" * 8, 3, -1)]:
        AgentSecret.objects.create(
            agent=agent,
            value=value,
            created_at=now - timedelta(days=age),
            not_after=None if end is None else now + timedelta(hours=end),
        )
    destination = load([agent.lane])[agent.lane_id]
    assert isinstance(destination, WebhookDestination)
    assert destination.secrets == ("newest" * 6, "older" * 8, SECRET)


def test_a_websocket_agent_never_sends_and_loses_nothing() -> None:
    agent = make_agent(
        "socket",
        connection_mode=Agent.Mode.WEBSOCKET,
        connection_status=Agent.Status.OFFLINE,
        webhook_url="",
    )
    assert agent.lane.state == Lane.State.HELD
    destination = load([agent.lane])[agent.lane_id]
    assert isinstance(destination, WebSocketDestination)
    assert destination.send(make_message()).verdict == Verdict.RETRY


def test_an_agent_that_was_deleted_has_no_destination(agent: Agent) -> None:
    lane = agent.lane
    agent.delete()
    assert load([lane]) == {}
