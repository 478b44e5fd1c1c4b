"""The webhook protocol reference, walked section by section: each line of it is a line here.

What a table says in passing is held here once, in the words of the reference; the corners are in
the tests of each part. Registering is in `test_switching`, the state machine with its clock in
`test_through_the_engine` and `tests/end_to_end`.
"""

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agent_sdk import Client as AgentClient
from agent_sdk import WebhookDispatcher, parse_webhook_payload, verify_webhook_signature
from agents.connections.webhook import WebhookDestination
from agents.event_types import ALL_EVENTS, WEBHOOK_EVENTS
from agents.models import Agent, AgentSecret, Conversation, StoredObject
from agents.services import issue_token, mark_unreachable, recover
from agents.services.events import emit
from deliveries.clockwork import expire, purge
from deliveries.ids import new_id
from deliveries.ladder import AGENT_LADDER, Top
from deliveries.models import Delivery, Event, Lane
from deliveries.outcomes import Outcome, Verdict
from tests.end_to_end.spec_verifier import verify

from .conftest import SECRET, deliver, make_agent, make_message
from .receiver import Received, Receiver
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


def send(agent: Agent, **facts: Any) -> Outcome:
    secrets = [row.value for row in AgentSecret.objects.live().filter(agent=agent)]
    return WebhookDestination(agent, secrets).send(make_message(**{"id": new_id()} | facts))


def only(receiver: Receiver) -> Received:
    [got] = receiver.requests
    return got


# Webhook 请求 wire format ------------------------------------------------------------------

HEADERS = {
    "Content-Type": r"application/json",
    "Content-Length": r"\d+",
    "X-Hashee-Signature": r"[0-9a-f]{64}",
    "X-Hashee-Timestamp": r"\d{10}",
    "X-Hashee-Delivery-Id": r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "X-Hashee-Agent-Id": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}


@pytest.mark.parametrize(("name", "pattern"), HEADERS.items())
def test_a_delivery_has_the_header(
    reviewer: Agent, receiver: Receiver, name: str, pattern: str
) -> None:
    send(reviewer)
    got = only(receiver)
    assert re.fullmatch(pattern, got.headers[name])
    assert name != "Content-Length" or int(got.headers[name]) == len(got.body)


def test_a_delivery_is_a_post_of_type_version_envelope_and_metadata(
    reviewer: Agent, receiver: Receiver
) -> None:
    send(reviewer, metadata={})
    body = json.loads(only(receiver).body)
    assert list(body) == ["type", "version", "wire_envelope", "metadata"]
    assert (body["type"], body["version"]) == ("message.new", "v1")
    assert json.loads(base64.b64decode(body["wire_envelope"], validate=True))["version"] == "v1.0"
    assert list(body["metadata"]) == ["conversation_id", "sender_id", "created_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["metadata"]["created_at"])


# 事件类型 (Webhook 子集) --------------------------------------------------------------------

BY_WEBHOOK = [
    "message.new",
    "relation.established",
    "relation.revoked",
    "relation.suspended",
    "relation.restored",
    "artifact_response",
    "agent.capability_changed",
]
BY_WEBSOCKET_ONLY = [
    "agent.governance",
    "reaction.update",
    "group.updated",
    "artifact.expired",
    "session.invalidated",
    "auth.expiring",
    "system.group_key_rotated",
]


def test_there_are_fourteen_types_of_events_and_a_webhook_gets_seven() -> None:
    assert set(BY_WEBHOOK) == WEBHOOK_EVENTS
    assert {*BY_WEBHOOK, *BY_WEBSOCKET_ONLY} == ALL_EVENTS


@pytest.mark.parametrize("kind", BY_WEBHOOK)
def test_a_webhook_gets(reviewer: Agent, receiver: Receiver, kind: str) -> None:
    send(reviewer, event_type=kind, payload={"user_id": "u1"})
    assert json.loads(only(receiver).body)["type"] == kind
    assert parse_webhook_payload(only(receiver).body).payload == {"user_id": "u1"}


@pytest.mark.parametrize("kind", BY_WEBSOCKET_ONLY)
def test_a_webhook_does_not_get(reviewer: Agent, receiver: Receiver, kind: str) -> None:
    emit(reviewer, kind, {})
    row = Delivery.objects.get()
    assert (row.status, row.error_class) == ("skipped", "not_for_webhook")
    assert send(reviewer, event_type=kind).error_class == "not_for_webhook"
    assert receiver.requests == []


# HMAC 签名验证 ------------------------------------------------------------------------------


def test_the_verifier_of_the_reference_accepts_what_is_sent(
    reviewer: Agent, receiver: Receiver
) -> None:
    send(reviewer)
    got = only(receiver)
    assert verify(SECRET, got.headers, got.body.decode())
    assert not verify(SECRET, got.headers, got.body.decode() + " ")


def test_the_sdk_accepts_what_is_sent(reviewer: Agent, receiver: Receiver) -> None:
    send(reviewer)
    got = only(receiver)
    assert verify_webhook_signature(SECRET, got.headers, got.body)


# 1. timestamp; 2. signature; 3. seen within 24 h: 200 and skipped; 4. the body is a delivery.
CHECKS: list[tuple[str, Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]], int]] = [
    ("as sent", lambda headers, body: (headers, body), 200),
    ("an old timestamp", lambda headers, body: (headers | {"X-Hashee-Timestamp": "1"}, body), 401),
    ("another signature", lambda headers, body: (headers, body + b" "), 401),
]


@pytest.mark.parametrize(("what", "change", "status"), CHECKS)
def test_the_sdks_dispatcher_does_the_four_checks(
    reviewer: Agent, receiver: Receiver, what: str, change: Any, status: int
) -> None:
    send(reviewer)
    got: list[Any] = []
    dispatcher = WebhookDispatcher(
        agent_id=str(reviewer.pk),
        token="hsk_",
        secret=SECRET,
        base_url="http://127.0.0.1:9",
        on_message=got.append,
        auto_recover=False,
    )
    headers, body = change(only(receiver).headers, only(receiver).body)
    assert [dispatcher.handle(headers, body).status for _time in range(2)] == [status] * 2
    assert len(got) == (status == 200)


# cURL 测试 -----------------------------------------------------------------------------------

RECIPE = r"""
TS=$(date +%s)
BODY='{"event":"test","data":{}}'
SIGNED="${TS}.${ID}.${BODY}"
SIG=$(printf '%s' "$SIGNED" | openssl dgst -sha256 -hmac "$SECRET" | awk '{print $2}')
curl -X POST "$URL" \
 -H "Content-Type: application/json" \
 -H "X-Hashee-Timestamp: $TS" \
 -H "X-Hashee-Delivery-Id: $ID" \
 -H "X-Hashee-Signature: $SIG" \
 -d "$BODY"
"""


@pytest.mark.skipif(
    not (shutil.which("openssl") and shutil.which("curl")), reason="openssl or curl is missing"
)
def test_the_sdk_accepts_what_the_recipe_of_the_reference_signs(receiver: Receiver) -> None:
    env = {
        "SECRET": SECRET,
        "ID": str(new_id()),
        "URL": receiver.url,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    subprocess.run(["sh", "-ec", RECIPE], env=env, check=True, capture_output=True)
    got = only(receiver)
    assert verify_webhook_signature(SECRET, got.headers, got.body)
    assert verify(SECRET, got.headers, got.body.decode())


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
