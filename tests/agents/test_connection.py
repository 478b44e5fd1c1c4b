"""Unreachable and back."""

import threading

import pytest
from django.db import close_old_connections, connection

from agents.connections import load
from agents.models import Agent
from agents.services import mark_unreachable, recover
from deliveries.models import Lane

from .conftest import deliver, make_agent


def lane_state(agent: Agent) -> str:
    return Lane.objects.get(pk=agent.lane_id).state


def status(agent: Agent) -> str:
    return Agent.objects.get(pk=agent.pk).connection_status


def test_an_unreachable_agent_holds_its_lane(agent: Agent) -> None:
    assert mark_unreachable(agent)
    assert (status(agent), lane_state(agent)) == ("unreachable", "held")
    assert not mark_unreachable(agent)


def test_recover_flips_back_flushes_and_counts_what_waits(agent: Agent) -> None:
    mark_unreachable(agent)
    for _event in range(3):
        deliver(agent)
    before = Agent.objects.get(pk=agent.pk).status_changed_at
    assert recover(agent) == 3
    assert (status(agent), lane_state(agent)) == ("ready", "flushing")
    assert Agent.objects.get(pk=agent.pk).status_changed_at > before


def test_a_second_recover_does_nothing(agent: Agent) -> None:
    mark_unreachable(agent)
    deliver(agent)
    first, second = Agent.objects.get(pk=agent.pk), Agent.objects.get(pk=agent.pk)
    assert recover(first) == 1
    version = Lane.objects.get(pk=agent.lane_id).version
    assert recover(second) == 0
    assert Lane.objects.get(pk=agent.lane_id).version == version


@pytest.mark.parametrize("named", [Agent.Status.READY, Agent.Status.OFFLINE])
def test_recover_leaves_an_agent_that_is_not_unreachable(db: None, named: str) -> None:
    agent = make_agent("other", connection_status=named)
    state = lane_state(agent)
    assert recover(agent) == 0
    assert (status(agent), lane_state(agent)) == (named, state)


@pytest.mark.django_db(transaction=True)
def test_of_two_recovers_at_once_one_flushes() -> None:
    agent = make_agent("raced")
    mark_unreachable(agent)
    deliver(agent)
    counts: list[int] = []
    start = threading.Barrier(2)

    def click() -> None:
        start.wait()
        counts.append(recover(agent))
        close_old_connections()
        connection.close()

    threads = [threading.Thread(target=click) for _click in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 1]


def test_giving_up_marks_the_agent_unreachable(agent: Agent) -> None:
    load([agent.lane])[agent.lane_id].give_up()
    assert status(agent) == "unreachable"


def test_giving_up_on_an_address_that_was_changed_meanwhile_changes_nothing(agent: Agent) -> None:
    destination = load([agent.lane])[agent.lane_id]
    Agent.objects.filter(pk=agent.pk).update(webhook_url="https://93.184.215.14/new")
    destination.give_up()
    assert (status(agent), lane_state(agent)) == ("ready", "open")
