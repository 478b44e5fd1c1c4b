"""The SDK against what the gateway puts on the wire."""

import base64
import json
import subprocess
import sys
from typing import Any

import pytest
import requests
import responses

from agent_sdk import InvalidBody, parse_webhook_payload, post_message, verify_webhook_signature
from agents import wire
from tests.agents.conftest import SECRET, make_message

NOW = 1731200000


def signed(timestamp: int = NOW) -> tuple[dict[str, str], bytes]:
    message = make_message()
    body = wire.body(message)
    headers = wire.headers(
        secret=SECRET,
        agent_id=message.event_id,
        delivery_id=message.id,
        body=body,
        timestamp=timestamp,
    )
    return headers, body


def test_a_delivery_of_the_gateway_is_accepted() -> None:
    headers, body = signed()
    assert verify_webhook_signature(SECRET, headers, body, now=NOW)
    assert verify_webhook_signature(SECRET, headers, body.decode(), now=NOW)


def test_header_names_may_be_in_any_case() -> None:
    headers, body = signed()
    for change in (str.lower, str.upper):
        renamed = {change(name): value for name, value in headers.items()}
        assert verify_webhook_signature(SECRET, renamed, body, now=NOW)


@pytest.mark.parametrize(
    ("offset", "fresh"), [(-301, False), (-300, True), (300, True), (301, False)]
)
def test_a_timestamp_counts_for_300_seconds_either_way(offset: int, fresh: bool) -> None:
    headers, body = signed()
    assert verify_webhook_signature(SECRET, headers, body, now=NOW + offset) is fresh


def test_a_tolerance_can_be_narrower_and_never_wider() -> None:
    headers, body = signed()
    assert not verify_webhook_signature(SECRET, headers, body, now=NOW + 11, tolerance=10)
    with pytest.raises(ValueError, match="300"):
        verify_webhook_signature(SECRET, headers, body, now=NOW, tolerance=301)


def test_without_now_the_clock_is_asked() -> None:
    headers, body = signed()
    assert not verify_webhook_signature(SECRET, headers, body)


@pytest.mark.parametrize(
    "change",
    [
        {"X-Hashee-Signature": None},
        {"X-Hashee-Timestamp": None},
        {"X-Hashee-Delivery-Id": None},
        {"X-Hashee-Signature": ""},
        {"X-Hashee-Signature": "0" * 64},
        {"X-Hashee-Signature": "é" * 64},
        {"X-Hashee-Signature": "\udcff"},
        {"X-Hashee-Timestamp": str(NOW + 1)},
        {"X-Hashee-Timestamp": "soon"},
        {"X-Hashee-Timestamp": f"{NOW}.0"},
        {"X-Hashee-Timestamp": f" {NOW}"},
        {"X-Hashee-Timestamp": "１７３１２０００００"},
        {"X-Hashee-Timestamp": "9" * 5000},
        {"X-Hashee-Delivery-Id": "another"},
        {"X-Hashee-Delivery-Id": "\udcff"},
    ],
    ids=ascii,
)
def test_a_header_that_is_missing_wrong_or_strange_is_refused(change: dict[str, Any]) -> None:
    headers, body = signed()
    changed = {name: value for name, value in (headers | change).items() if value is not None}
    assert verify_webhook_signature(SECRET, changed, body, now=NOW) is False


def test_while_a_secret_replaces_another_either_is_accepted() -> None:
    headers, body = signed()
    assert verify_webhook_signature(["new", SECRET], headers, body, now=NOW)
    assert not verify_webhook_signature(["new", "other"], headers, body, now=NOW)
    assert not verify_webhook_signature([], headers, body, now=NOW)


def test_another_secret_and_another_body_are_refused() -> None:
    headers, body = signed()
    assert not verify_webhook_signature("other", headers, body, now=NOW)
    assert not verify_webhook_signature(SECRET, headers, body + b" ", now=NOW)


def test_what_the_gateway_says_is_read_back() -> None:
    _headers, body = signed()
    message = parse_webhook_payload(body)
    sent = make_message()
    assert message.id == str(sent.event_id)
    assert message.type == "message.new"
    assert message.conversation_id == str(sent.conversation_id)
    assert message.sender_id == "github:octocat"
    assert message.created_at == "2026-05-15T10:24:11.123Z"
    assert message.text == sent.text
    assert message.payload == sent.payload
    assert message.metadata["skills"] == ["code-review"]


def enveloped(envelope: Any, **frame: Any) -> bytes:
    encoded = base64.b64encode(json.dumps(envelope).encode()).decode()
    return json.dumps({"version": "v1", "wire_envelope": encoded, "metadata": {}} | frame).encode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not a delivery"),
        (b"[]", "not a delivery"),
        (b"{}", "None"),
        (b"\xff", "not a delivery"),
        (b"[" * 100_000, "not a delivery"),
        (b'{"version":"v2"}', "v2"),
        (enveloped({"version": "v1.2"}), "v1.2"),
        (enveloped({"version": "v1.0"}), "not a delivery"),
        (enveloped([]), "not a delivery"),
        (enveloped({}, wire_envelope="%%%"), "not a delivery"),
        (enveloped({}, wire_envelope=None), "not a delivery"),
    ],
)
def test_what_is_no_delivery_is_told_apart(body: bytes, said: str) -> None:
    with pytest.raises(InvalidBody, match=said):
        parse_webhook_payload(body)


@responses.activate
def test_a_message_is_posted_with_the_agents_token() -> None:
    responses.post("https://hermes.example/agents/a1/messages", json={"event_id": "e1"}, status=202)
    payload = {"type": "text", "text": "你好"}
    assert post_message("https://hermes.example/", "a1", "hsk_x", "c1", payload) == "e1"
    [call] = responses.calls
    assert call.request.headers["Authorization"] == "Bearer hsk_x"
    assert json.loads(call.request.body) == {"conversation_id": "c1", "payload": payload}


@responses.activate
def test_a_refusal_is_raised_with_its_answer() -> None:
    responses.post(
        "https://hermes.example/agents/a1/messages", json={"payload": ["no"]}, status=400
    )
    with pytest.raises(requests.HTTPError) as caught:
        post_message("https://hermes.example", "a1", "hsk_x", "c1", {})
    assert caught.value.response.json() == {"payload": ["no"]}


def test_the_sdk_needs_no_django() -> None:
    script = "import sys, agent_sdk; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
