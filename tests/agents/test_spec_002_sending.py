"""The webhook protocol reference, first half, section by section: what is sent, and how signed.

What a table says in passing is held here once, in the words of the reference; the corners are in
the tests of each part. Registering is in `test_switching`, the state machine with its clock in
`test_through_the_engine` and `tests/end_to_end`.
"""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from agent_sdk import WebhookDispatcher, parse_webhook_payload, verify_webhook_signature
from agents.event_types import ALL_EVENTS, WEBHOOK_EVENTS
from agents.models import Agent
from agents.services.events import emit
from deliveries.ids import new_id
from deliveries.models import Delivery
from tests.end_to_end.spec_verifier import verify

from .conftest import SECRET, make_agent
from .receiver import Receiver
from .spec import only, send

pytestmark = pytest.mark.django_db


@pytest.fixture
def reviewer(receiver: Receiver) -> Agent:
    """An agent whose webhook is the receiver."""
    return make_agent("spec", webhook_url=receiver.url)


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
