"""Pull mode: taking deliveries, and saying what came of them."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from agent_sdk import verify_webhook_signature
from agents.models import Agent
from agents.services import issue_token, recover
from agents.services.presence import mark_silent
from deliveries.models import Delivery, Lane
from deliveries.runner import run_until_idle
from platforms.models import Channel

from .conftest import SECRET, deliver, make_agent, make_conversation

pytestmark = pytest.mark.django_db

START = "2026-05-15T10:00:00Z"
Call = Callable[..., Any]


@pytest.fixture
def agent(db: None) -> Agent:
    return make_puller("puller")


def make_puller(name: str, **fields: Any) -> Agent:
    away = {
        "connection_mode": Agent.Mode.PULL,
        "connection_status": Agent.Status.OFFLINE,
        "webhook_url": "",
    }
    return make_agent(name, **(away | fields))


class Puller:
    """An agent that calls."""

    def __init__(self, agent: Agent) -> None:
        self._address = f"/agents/{agent.pk}"
        self._headers = {"Authorization": f"Bearer {issue_token(agent)}"}
        self._client = Client(headers=self._headers)

    def get(self, **query: Any) -> Any:
        return self._client.get(f"{self._address}/deliveries", query)

    def pull(self, **query: Any) -> list[dict[str, Any]]:
        answer = self.get(**query)
        assert answer.status_code == 200, answer.content
        taken: list[dict[str, Any]] = answer.json()["deliveries"]
        return taken

    def ids(self, **query: Any) -> list[str]:
        return [delivery["delivery_id"] for delivery in self.pull(**query)]

    def ack(self, *rows: Delivery, failed: Any = ()) -> Any:
        said = {"ids": [str(row.pk) for row in rows], "failed": list(failed)}
        return self._client.post(
            f"{self._address}/deliveries/ack", said, content_type="application/json"
        )


@pytest.fixture
def puller(agent: Agent) -> Puller:
    return Puller(agent)


def fresh(row: Delivery) -> Delivery:
    return Delivery.objects.get(pk=row.pk)


def test_a_delivery_comes_as_a_webhook_would_get_it(agent: Agent, puller: Puller) -> None:
    row = deliver(agent)
    [taken] = puller.pull()
    assert verify_webhook_signature(SECRET, taken["headers"], taken["body"].encode())
    assert taken["headers"]["X-Hashee-Delivery-Id"] == taken["delivery_id"] == str(row.pk)
    assert taken["headers"]["X-Hashee-Agent-Id"] == str(agent.pk)
    assert json.loads(taken["body"])["type"] == "message.new"


def test_without_a_secret_there_is_no_signature(agent: Agent, puller: Puller) -> None:
    agent.secrets.all().delete()
    deliver(agent)
    [taken] = puller.pull()
    assert "X-Hashee-Signature" not in taken["headers"]
    assert taken["headers"]["X-Hashee-Delivery-Id"]


def test_a_batch_is_oldest_first_within_limit_and_concurrency(agent: Agent, puller: Puller) -> None:
    made = [str(deliver(agent).pk) for _row in range(7)]
    assert puller.ids(limit=1) == made[:1]
    assert puller.ids(limit=10) == made[1:4]
    assert puller.ids() == []


def test_a_large_concurrency_makes_large_batches(puller: Puller, agent: Agent) -> None:
    agent.concurrency = 30
    agent.save()
    made = [str(deliver(agent).pk) for _row in range(25)]
    assert puller.ids(limit=20) == made[:20]


def test_an_answer_does_not_grow_beyond_its_limit(
    monkeypatch: pytest.MonkeyPatch, puller: Puller, agent: Agent
) -> None:
    monkeypatch.setattr("agents.api.deliveries.ANSWER_LIMIT", 100)
    agent.concurrency = 30
    agent.save()
    for _row in range(10):
        deliver(agent)
    assert len(puller.ids(limit=20)) == 4
    assert Delivery.objects.filter(claim__isnull=False).count() == 4


def test_a_conversation_comes_one_by_one(agent: Agent, puller: Puller, channel: Channel) -> None:
    talk = make_conversation(agent, channel)
    first, second = deliver(agent, talk), deliver(agent, talk)
    assert puller.ids() == [str(first.pk)]
    puller.ack(first)
    assert puller.ids() == [str(second.pk)]


def test_what_is_acknowledged_is_delivered_and_a_repeat_is_unknown(
    agent: Agent, puller: Puller
) -> None:
    row = deliver(agent)
    puller.pull()
    answer = puller.ack(row).json()
    assert answer == {"acknowledged": [str(row.pk)], "failed": [], "unknown": []}
    assert fresh(row).status == "delivered"
    assert puller.ack(row).json()["unknown"] == [str(row.pk)]


def test_a_failure_is_final_unless_it_says_otherwise(agent: Agent, puller: Puller) -> None:
    row = deliver(agent)
    puller.pull()
    answer = puller.ack(failed=[{"id": str(row.pk), "error": "no such repository"}]).json()
    assert answer["failed"] == [str(row.pk)]
    assert (fresh(row).status, fresh(row).error_class) == ("failed", "refused")
    assert row.attempts.get().error == "no such repository"


def test_a_failure_with_a_time_comes_again_after_it(agent: Agent, puller: Puller) -> None:
    with time_machine.travel(START, tick=False) as clock:
        row = deliver(agent)
        puller.pull()
        puller.ack(failed=[{"id": str(row.pk), "retry": 20}])
        clock.shift(timedelta(seconds=19))
        assert puller.ids() == []
        clock.shift(timedelta(seconds=4))
        assert puller.ids() == [str(row.pk)]
    assert fresh(row).failures == 0


def test_failures_climb_the_ladder_to_unreachable_and_recover_begins_anew(
    agent: Agent, puller: Puller
) -> None:
    with time_machine.travel(START, tick=False) as clock:
        row = deliver(agent)
        for rung in (0, 30, 120, 480, 1920, 7200, 21600, 0):
            assert puller.ids() == [str(row.pk)]
            puller.ack(failed=[{"id": str(row.pk), "error": "down", "retry": True}])
            clock.shift(timedelta(seconds=rung))
        agent.refresh_from_db()
        assert agent.connection_status == "unreachable"
        assert puller.get().status_code == 409
        assert recover(agent) == 1
        assert puller.ids() == [str(row.pk)]
    assert Lane.objects.get(pk=agent.lane_id).state == Lane.State.HELD
    assert row.attempts.count() == 9


def test_a_lease_that_ends_hands_the_delivery_out_again(agent: Agent, puller: Puller) -> None:
    with time_machine.travel(START, tick=False) as clock:
        row = deliver(agent)
        assert puller.ids(lease=30) == [str(row.pk)]
        clock.shift(timedelta(seconds=29))
        run_until_idle()
        assert puller.ids() == []
        clock.shift(timedelta(seconds=2))
        run_until_idle()
        assert puller.ids() == [str(row.pk)]


def test_an_acknowledgement_after_the_lease_still_counts(agent: Agent, puller: Puller) -> None:
    with time_machine.travel(START, tick=False) as clock:
        row = deliver(agent)
        puller.pull()
        clock.shift(timedelta(seconds=61))
        run_until_idle()
        assert puller.ack(row).json()["acknowledged"] == [str(row.pk)]


def test_an_agent_is_ready_while_it_asks_and_offline_after_two_minutes(
    agent: Agent, puller: Puller
) -> None:
    with time_machine.travel(START, tick=False) as clock:
        puller.pull()
        agent.refresh_from_db()
        assert (agent.connection_status, agent.last_seen_at) == ("ready", timezone.now())
        clock.shift(timedelta(seconds=119))
        assert mark_silent(timezone.now()) == 0
        clock.shift(timedelta(seconds=2))
        assert mark_silent(timezone.now()) == 1
    agent.refresh_from_db()
    assert agent.connection_status == "offline"


def test_what_waited_on_a_rung_while_the_agent_was_away_comes_at_once(
    agent: Agent, puller: Puller
) -> None:
    row = deliver(agent)
    Delivery.objects.filter(pk=row.pk).update(
        failures=5, next_attempt_at=timezone.now() + timedelta(hours=2)
    )
    assert puller.ids() == [str(row.pk)]
    assert fresh(row).failures == 0


def test_a_message_that_can_not_be_read_ends_and_is_not_answered(
    agent: Agent, puller: Puller
) -> None:
    from deliveries.models import Payload

    broken, sound = deliver(agent), deliver(agent)
    Payload.objects.filter(pk=broken.pk).update(body=b"{")
    assert puller.ids() == [str(sound.pk)]
    assert (fresh(broken).status, fresh(broken).error_class) == ("failed", "no_payload")


@pytest.mark.parametrize(
    "change",
    [{"connection_mode": Agent.Mode.WEBHOOK}, {"suspended_at": "2026-05-15T10:00:00Z"}],
)
def test_who_is_not_to_pull_is_told_why(agent: Agent, puller: Puller, change: Any) -> None:
    deliver(agent)
    Agent.objects.filter(pk=agent.pk).update(**change)
    answer = puller.get()
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("The agent is s")
    assert Delivery.objects.get().attempt_count == 0


def test_one_agent_neither_sees_nor_settles_what_is_anothers(agent: Agent, puller: Puller) -> None:
    other = make_puller("other")
    theirs = deliver(other)
    Puller(other).pull()
    assert puller.ids() == []
    assert puller.ack(theirs).json()["unknown"] == [str(theirs.pk)]
    assert fresh(theirs).status == "pending"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 51}, "limit"),
        ({"wait": 61}, "wait"),
        ({"lease": 9}, "lease"),
        ({"lease": "long"}, "lease"),
    ],
)
def test_parameters_out_of_bounds_are_named(puller: Puller, query: Any, field: str) -> None:
    answer = puller.get(**query)
    assert (answer.status_code, list(answer.json())) == (400, [field])


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ([], "non_field_errors"),
        ({"ids": "x"}, "ids"),
        ({"ids": ["x"]}, "ids"),
        ({"failed": [{}]}, "failed"),
        ({"failed": [{"id": str(uuid4()), "retry": "soon"}]}, "failed"),
        ({"failed": [{"id": str(uuid4()), "retry": -1}]}, "failed"),
        ({"ids": [str(uuid4())] * 1001}, "ids"),
    ],
)
def test_what_is_said_wrongly_is_named(puller: Puller, agent: Agent, said: Any, field: str) -> None:
    answer = puller._client.post(
        f"/agents/{agent.pk}/deliveries/ack", said, content_type="application/json"
    )
    assert (answer.status_code, list(answer.json())) == (400, [field])


def test_the_same_delivery_is_not_done_and_failed_at_once(agent: Agent, puller: Puller) -> None:
    row = deliver(agent)
    puller.pull()
    answer = puller.ack(row, failed=[{"id": str(row.pk)}])
    assert (answer.status_code, list(answer.json())) == (400, ["failed"])
    assert fresh(row).status == "pending"
