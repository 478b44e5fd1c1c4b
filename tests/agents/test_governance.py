"""Suspending an agent, and what it is told of its tokens."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from agents.models import Agent, AgentToken
from agents.services import issue_token, recover, restore, revoke_token, suspend
from agents.services.connection import mark_unreachable
from agents.services.governance import warn_expiring
from agents.services.switching import confirm_switch, propose_switch
from deliveries.clockwork import every_minute
from deliveries.models import Delivery, Lane, Payload

from .conftest import deliver, make_agent


def lane(agent: Agent) -> str:
    return Lane.objects.get(pk=agent.lane_id).state


def told(agent: Agent, type_: str) -> list[str]:
    rows = Delivery.objects.filter(lane_id=agent.lane_id, event_type=type_).order_by("pk")
    return [bytes(Payload.objects.get(pk=row.pk).body).decode() for row in rows]


@pytest.fixture
def fetcher(db: None) -> Agent:
    return Agent.objects.create(name="fetcher")


def test_a_suspended_agent_is_sent_nothing_and_loses_nothing(agent: Agent) -> None:
    waiting = deliver(agent)
    assert suspend(agent, by="ann", reason="It spoke out of turn.")
    assert agent.suspended_at is not None
    assert lane(agent) == "held"
    assert Delivery.objects.get(pk=waiting.pk).status == "pending"


def test_restoring_sends_what_waited(agent: Agent) -> None:
    suspend(agent, by="ann")
    deliver(agent)
    assert restore(agent, by="ann")
    assert agent.suspended_at is None
    assert lane(agent) == "flushing"


def test_doing_it_twice_is_no_news(fetcher: Agent) -> None:
    assert not restore(fetcher, by="ann")
    assert suspend(fetcher, by="ann")
    assert not suspend(fetcher, by="bob")
    assert len(told(fetcher, "agent.governance")) == 1


def test_the_agent_is_told_both_ways(fetcher: Agent) -> None:
    suspend(fetcher, by="ann", reason="Too loud.")
    restore(fetcher, by="ann")
    first, second = told(fetcher, "agent.governance")
    assert '"state":"suspended","reason":"Too loud."' in first
    assert '"state":"restored"' in second


def test_to_a_webhook_governance_is_skipped(agent: Agent) -> None:
    suspend(agent, by="ann")
    delivery = Delivery.objects.get(event_type="agent.governance")
    assert (delivery.status, delivery.error_class) == ("skipped", "not_for_webhook")


def test_an_agent_that_fetches_stays_held_when_it_is_restored(fetcher: Agent) -> None:
    suspend(fetcher, by="ann")
    restore(fetcher, by="ann")
    assert lane(fetcher) == "held"


def test_an_unreachable_agent_stays_held_when_it_is_restored(agent: Agent) -> None:
    mark_unreachable(agent)
    suspend(agent, by="ann")
    restore(agent, by="ann")
    assert lane(agent) == "held"


def test_neither_recover_nor_a_switch_opens_the_lane_of_a_suspended_agent(agent: Agent) -> None:
    mark_unreachable(agent)
    suspend(agent, by="ann")
    assert recover(agent) == 0
    confirm_switch(propose_switch(agent, "webhook", "https://93.184.215.14/other"), "ann")
    assert lane(agent) == "held"


# Tokens ------------------------------------------------------------------------------------


def a_token(agent: Agent, life: timedelta | None) -> AgentToken:
    issue_token(agent)
    token = AgentToken.objects.latest("pk")
    token.not_after = None if life is None else timezone.now() + life
    token.save()
    return token


@pytest.mark.parametrize(
    ("life", "count"),
    [
        (None, 0),
        (timedelta(days=8), 0),
        (timedelta(days=6), 1),
        (timedelta(hours=3), 1),
        (timedelta(hours=-1), 0),
    ],
)
def test_a_token_that_ends_soon_is_told_once(
    fetcher: Agent, life: timedelta | None, count: int
) -> None:
    a_token(fetcher, life)
    assert warn_expiring(timezone.now()) == count
    assert warn_expiring(timezone.now()) == 0
    assert len(told(fetcher, "auth.expiring")) == count


def test_it_is_told_a_week_and_a_day_before(fetcher: Agent) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token = a_token(fetcher, timedelta(days=10))
        for _hour in range(10 * 24):
            warn_expiring(timezone.now())
            clock.shift(timedelta(hours=1))
    notices = told(fetcher, "auth.expiring")
    assert len(notices) == 2
    assert all(f"hsk_…{token.last_four}" in notice for notice in notices)


def test_each_token_is_told_of_by_itself(fetcher: Agent) -> None:
    a_token(fetcher, timedelta(days=2))
    a_token(fetcher, timedelta(days=3))
    a_token(make_agent("other"), timedelta(days=3))
    assert warn_expiring(timezone.now()) == 3


def test_the_clockwork_tells(fetcher: Agent) -> None:
    a_token(fetcher, timedelta(hours=2))
    every_minute()
    assert len(told(fetcher, "auth.expiring")) == 1


def test_a_revoked_token_is_told_and_never_in_full(fetcher: Agent) -> None:
    token = issue_token(fetcher)
    revoke_token(AgentToken.objects.get())
    [notice] = told(fetcher, "session.invalidated")
    assert '"reason":"revoked"' in notice
    assert token not in notice
    revoke_token(AgentToken.objects.get())
    assert len(told(fetcher, "session.invalidated")) == 1
