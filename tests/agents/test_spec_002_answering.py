"""The webhook protocol reference, second half, section by section: R2, answers, state, log.

What a table says in passing is held here once, in the words of the reference; the corners are in
the tests of each part. Registering is in `test_switching`, the state machine with its clock in
`test_through_the_engine` and `tests/end_to_end`.
"""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agent_sdk import Client as AgentClient
from agents.connections.webhook import WebhookDestination
from agents.models import Agent, Conversation, StoredObject
from agents.services import issue_token, mark_unreachable, recover
from deliveries.clockwork import expire, purge
from deliveries.ids import new_id
from deliveries.ladder import AGENT_LADDER, Top
from deliveries.models import Delivery, Event, Lane
from deliveries.outcomes import Verdict

from .conftest import SECRET, deliver, make_agent
from .receiver import Receiver
from .spec import only, send
from .test_api import Api

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.agents.urls")]

D, R, F = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


@pytest.fixture
def reviewer(receiver: Receiver) -> Agent:
    """An agent whose webhook is the receiver."""
    return make_agent("spec", webhook_url=receiver.url)


@pytest.fixture
def api(reviewer: Agent) -> Api:
    return Api(reviewer, issue_token(reviewer))


# R2 引用 --------------------------------------------------------------------------------------


@pytest.fixture
def stub(reviewer: Agent, receiver: Receiver, settings: Settings, tmp_path: Any) -> Any:
    """The body of a message that is too large, and its agent's token."""
    objects = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": tmp_path},
    }
    settings.STORAGES = settings.STORAGES | {"objects": objects}
    send(reviewer, payload={"type": "text", "text": "x" * 1_100_000}, metadata={})
    return json.loads(only(receiver).body), issue_token(reviewer)


def test_above_one_megabyte_a_stub_is_sent(stub: Any) -> None:
    body, _token = stub
    assert list(body) == ["type", "version", "wire_envelope", "ref", "metadata"]
    assert body["wire_envelope"] is None
    assert list(body["ref"]) == ["type", "object_key", "size", "content_type"]
    assert body["ref"]["type"] == "r2"
    assert body["ref"]["object_key"].startswith("ref://")
    assert body["ref"]["size"] == StoredObject.objects.get().size > 1_048_576
    assert body["ref"]["content_type"] == "application/octet-stream"


def test_the_object_is_had_with_the_agents_token_and_five_times_a_second(stub: Any) -> None:
    body, token = stub
    client = Client(headers={"Authorization": f"Bearer {token}"})
    url = f"/r2/{body['ref']['object_key']}"
    answers = [client.get(url) for _time in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert len(json.loads(answers[0].content)["payload"]["text"]) == 1_100_000
    assert Client().get(url).status_code == 401


# 重试策略, 错误码 ------------------------------------------------------------------------------

ANSWERS = [
    *((status, D) for status in (200, 201, 204)),
    (429, R),
    *((status, F) for status in (400, 401, 403, 404, 410)),
    *((status, R) for status in (500, 502, 503, 599)),
]


@pytest.mark.parametrize(("status", "verdict"), ANSWERS)
def test_an_answer_means(
    reviewer: Agent, receiver: Receiver, status: int, verdict: Verdict
) -> None:
    receiver.status = status
    assert send(reviewer).verdict == verdict


def test_a_429_is_waited_for_as_it_asks(reviewer: Agent, receiver: Receiver) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": "17"}
    assert send(reviewer).retry_after == 17


def test_no_answer_within_ten_seconds_is_a_timeout(reviewer: Agent) -> None:
    assert WebhookDestination(reviewer, [SECRET]).budget == 10


# "失败 n" of the reference, and what follows.
RUNGS = {1: 0, 2: 30, 3: 120, 4: 480, 5: 1920, 6: 7200, 7: 21600, 8: None}


@pytest.mark.parametrize(("failure", "seconds"), RUNGS.items())
def test_after_a_failure_comes(failure: int, seconds: int | None) -> None:
    assert AGENT_LADDER.delay_after(failure) == seconds
    assert AGENT_LADDER.top == Top.UNREACHABLE


# Unreachable 状态机 ---------------------------------------------------------------------------


def test_what_comes_in_for_an_unreachable_agent_waits_and_is_flushed(reviewer: Agent) -> None:
    mark_unreachable(reviewer)
    reviewer.refresh_from_db()
    assert reviewer.connection_status == "unreachable"
    row = deliver(reviewer)
    assert Lane.objects.get(pk=reviewer.lane_id).state == Lane.State.HELD
    assert recover(reviewer) == 1
    reviewer.refresh_from_db()
    row.refresh_from_db()
    assert (reviewer.connection_status, row.status) == ("ready", "pending")


def test_after_24_hours_it_is_dropped_and_its_sender_told(
    reviewer: Agent, conversation: Conversation
) -> None:
    Conversation.objects.update(agent=reviewer)
    mark_unreachable(reviewer)
    row = deliver(reviewer, conversation)
    expire(timezone.now() + timedelta(hours=23, minutes=59))
    row.refresh_from_db()
    assert row.status == "pending"
    expire(timezone.now() + timedelta(hours=24, minutes=1))
    row.refresh_from_db()
    assert (row.status, row.error_class) == ("unreachable", "expired")
    assert Delivery.objects.filter(event__type="delivery.expired").exists()


def test_an_agent_recovers_itself_by_a_call(api: Api) -> None:
    mark_unreachable(api.agent)
    deliver(api.agent)
    answer = api.call("post", "connection/recover").json()
    assert answer["pending_count"] == 1


# Delivery log -----------------------------------------------------------------------------------

FIELDS = {
    "delivery_id": UUID,
    "agent_id": UUID,
    "event_type": str,
    "created_at": datetime.fromisoformat,
    "completed_at": datetime.fromisoformat,
    "attempt_count": int,
    "final_status": {"delivered", "failed", "unreachable"}.__contains__,
    "latency_ms": int,
    "error_class": str,
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_line_of_the_log_has_the_field(api: Api, field: str) -> None:
    deliver(api.agent)
    now = datetime.now(UTC)
    Delivery.objects.update(
        status="delivered", completed_at=now, latency_ms=12, attempt_count=1, error_class="timeout"
    )
    [line] = api.call("get", "delivery-logs?limit=50").json()
    assert set(line) == set(FIELDS)
    assert FIELDS[field](line[field])


def test_the_log_is_an_array_newest_first(api: Api) -> None:
    made = [str(deliver(api.agent).pk) for _time in range(3)]
    told = api.call("get", "delivery-logs?limit=50").json()
    assert [line["delivery_id"] for line in told] == made[::-1]


def test_the_log_is_kept_for_30_days(reviewer: Agent) -> None:
    deliver(reviewer)
    Delivery.objects.update(status="delivered", pending_lane=None, next_attempt_at=None)
    purge(timezone.now() + timedelta(days=29, hours=23))
    assert Delivery.objects.exists()
    purge(timezone.now() + timedelta(days=30, hours=1))
    assert not Delivery.objects.exists()


# 主动推送 -----------------------------------------------------------------------------------------


def test_an_agent_says_something_by_itself(api: Api, conversation: Conversation) -> None:
    Conversation.objects.update(agent=api.agent)
    payload = {"type": "text", "text": "提醒:你的部署完成了"}
    body = {"conversation_id": str(conversation.pk), "payload": payload}
    assert api.call("post", "messages", body).status_code == 202
    assert Event.objects.get(source="agent").deliveries.count() == 1


def test_the_sdk_calls_the_addresses_of_the_reference() -> None:
    client = AgentClient("http://127.0.0.1:9", "a1", "hsk_x", timeout=0.2)
    for call, path in [
        (client.recover, "/agents/a1/connection/recover"),
        (lambda: client.post_message("c1", "x"), "/agents/a1/messages"),
        (lambda: next(client.delivery_logs()), "/agents/a1/delivery-logs"),
    ]:
        with pytest.raises(OSError, match="Connection refused") as caught:
            call()
        assert path in str(caught.value)


# 服务器侧不要做 -----------------------------------------------------------------------------------


def test_every_attempt_has_the_same_delivery_id(reviewer: Agent, receiver: Receiver) -> None:
    one = new_id()
    started = time.time()
    for number in (1, 2):
        send(reviewer, id=one, number=number)
    ids = {got.headers["X-Hashee-Delivery-Id"] for got in receiver.requests}
    assert ids == {str(one)}
    assert all(
        abs(int(got.headers["X-Hashee-Timestamp"]) - started) < 5 for got in receiver.requests
    )
