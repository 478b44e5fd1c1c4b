"""Sending to an agent's webhook, against a real HTTP server."""

import json
import time
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
import time_machine
from pytest_django import Settings

from agent_sdk import parse_webhook_payload, verify_webhook_signature
from agents.connections.webhook import WebhookDestination
from agents.event_types import WEBHOOK_EVENTS
from deliveries.outcomes import Verdict
from deliveries.retry_after import asked_wait

from .conftest import SECRET, make_message, unsaved_destination
from .receiver import Receiver, drip, flood, hang_up

D, R, F = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED

# Spec 002, retry strategy and error codes.
STATUS_TABLE = [
    (200, D, ""),
    (201, D, ""),
    (202, D, ""),
    (204, D, ""),
    (301, F, "redirect"),
    (302, F, "redirect"),
    (307, F, "redirect"),
    (400, F, "client_error"),
    (401, F, "client_error"),
    (403, F, "client_error"),
    (404, F, "client_error"),
    (408, F, "client_error"),
    (410, F, "client_error"),
    (413, F, "client_error"),
    (418, F, "client_error"),
    (425, F, "client_error"),
    (429, R, "rate_limited"),
    (500, R, "server_error"),
    (501, R, "server_error"),
    (502, R, "server_error"),
    (503, R, "server_error"),
    (504, R, "server_error"),
    (599, R, "server_error"),
]


@pytest.mark.parametrize(("status", "verdict", "error_class"), STATUS_TABLE)
def test_a_status_means_what_the_spec_says(
    receiver: Receiver, status: int, verdict: Verdict, error_class: str
) -> None:
    receiver.status = status
    receiver.headers = {"Location": "http://127.0.0.1/elsewhere"} if 300 <= status < 400 else {}
    outcome = unsaved_destination(receiver.url).send(make_message())
    assert (outcome.verdict, outcome.error_class, outcome.status) == (verdict, error_class, status)
    assert len(receiver.requests) == 1


NOW = datetime(2026, 5, 15, 10, 0, tzinfo=UTC)


@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("2.5", 2.5),
        ("0", 1.0),
        ("-5", 1.0),
        ("999999999", 3600.0),
        ("inf", 3600.0),
        ("Fri, 15 May 2026 10:05:00 GMT", 300.0),
        ("Fri, 15 May 2026 09:00:00 GMT", 1.0),
        ("Wed, 15 May 2999 10:00:00 GMT", 3600.0),
        ("Fri, 15 May 2026 10:05:00 -0000", 300.0),
        ("", None),
        ("nan", None),
        ("soon", None),
        ("Fri, 99 May 2026 10:05:00 GMT", None),
        ("Fri, 15 May 2026 10:05:00 +99999999999999", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value: str, seconds: float | None) -> None:
    assert asked_wait(value) == seconds


def test_a_429_carries_its_wait(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 429, {"retry-after": "42"}
    assert unsaved_destination(receiver.url).send(make_message()).retry_after == 42.0


def test_a_503_with_retry_after_follows_the_ladder(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": "42"}
    assert unsaved_destination(receiver.url).send(make_message()).retry_after is None


def test_what_arrives_verifies_and_reads(receiver: Receiver) -> None:
    destination = unsaved_destination(receiver.url)
    destination.send(make_message())
    [got] = receiver.requests
    assert got.path == "/hashee/webhook"
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["X-Hashee-Delivery-Id"] == "01930b1e-7c00-7000-8000-000000000001"
    assert got.headers["X-Hashee-Agent-Id"] == str(destination.agent.pk)
    assert got.headers["X-Hashee-Timestamp"].isdecimal()
    assert verify_webhook_signature(SECRET, got.headers, got.body)
    assert parse_webhook_payload(got.body).text == "Review pull request 7: “Größe” 尺寸"


def test_a_second_attempt_has_the_same_bytes_and_id_but_a_new_signature(
    receiver: Receiver,
) -> None:
    destination = unsaved_destination(receiver.url)
    with time_machine.travel(NOW):
        destination.send(make_message())
    with time_machine.travel(NOW.replace(minute=8)):
        destination.send(make_message(number=2, retrying=True))
    first, second = receiver.requests
    assert first.body == second.body
    for header, same in [
        ("X-Hashee-Delivery-Id", True),
        ("X-Hashee-Timestamp", False),
        ("X-Hashee-Signature", False),
    ]:
        assert (first.headers[header] == second.headers[header]) is same


def test_the_newest_secret_signs(receiver: Receiver) -> None:
    unsaved_destination(receiver.url, SECRET, "older-secret-older-secret-older-x").send(
        make_message()
    )
    [got] = receiver.requests
    assert verify_webhook_signature(SECRET, got.headers, got.body)


@pytest.mark.parametrize("event_type", sorted(WEBHOOK_EVENTS))
def test_an_event_of_the_subset_is_sent(receiver: Receiver, event_type: str) -> None:
    outcome = unsaved_destination(receiver.url).send(
        make_message(event_type=event_type, payload={"user_id": "u1"})
    )
    assert outcome.verdict == D
    assert json.loads(receiver.requests[0].body)["type"] == event_type


@pytest.mark.parametrize(
    "event_type",
    [
        "agent.governance",
        "reaction.update",
        "group.updated",
        "artifact.expired",
        "session.invalidated",
        "auth.expiring",
        "system.group_key_rotated",
    ],
)
def test_an_event_for_websockets_only_is_skipped_with_the_reason(
    receiver: Receiver, event_type: str
) -> None:
    outcome = unsaved_destination(receiver.url).send(make_message(event_type=event_type))
    assert (outcome.verdict, outcome.error_class) == (F, "not_for_webhook")
    assert event_type in outcome.error
    assert "WebSocket" in outcome.error
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("status", "offset", "named"),
    [(401, 301, True), (401, -7200, True), (400, 900, True), (401, 200, False), (404, 900, False)],
)
def test_a_clock_that_is_off_is_named_where_it_may_be_the_reason(
    receiver: Receiver, status: int, offset: int, named: bool
) -> None:
    def refuse(handler: object) -> None:
        told = formatdate(time.time() + offset, usegmt=True)
        answer = f"HTTP/1.1 {status} No\r\nDate: {told}\r\nContent-Length: 0\r\n\r\n"
        handler.wfile.write(answer.encode())  # type: ignore[attr-defined]

    receiver.instead = refuse
    outcome = unsaved_destination(receiver.url).send(make_message())
    assert (outcome.verdict, outcome.error_class) == (F, "client_error")
    assert ("clock" in outcome.error) is named


@pytest.mark.parametrize("date", ["", "soon", "Fri, 99 May 2026 10:05:00 GMT"])
def test_a_refusal_with_no_date_is_told_as_it_is(receiver: Receiver, date: str) -> None:
    def refuse(handler: object) -> None:
        answer = f"HTTP/1.1 401 No\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n"
        handler.wfile.write(answer.encode())  # type: ignore[attr-defined]

    receiver.instead = refuse
    outcome = unsaved_destination(receiver.url).send(make_message())
    assert outcome.error == "The agent refused with 401."


def test_an_agent_without_a_secret_keeps_its_messages(receiver: Receiver) -> None:
    outcome = WebhookDestination(unsaved_destination(receiver.url).agent, []).send(make_message())
    assert (outcome.verdict, outcome.error_class) == (R, "no_secret")
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/hook", "http://169.254.169.254/latest/meta-data", "http://[::1]/hook"],
)
def test_an_address_inside_is_refused_when_sent(settings: Settings, url: str) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    outcome = unsaved_destination(url).send(make_message())
    assert (outcome.verdict, outcome.error_class) == (F, "blocked")


def test_nobody_listening_is_a_retry_that_surely_did_not_arrive(
    settings: Settings,
) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    outcome = unsaved_destination("http://127.0.0.1:9/hook").send(make_message())
    assert (outcome.verdict, outcome.error_class, outcome.ambiguous) == (R, "connect", False)


def test_a_connection_closed_without_an_answer_is_a_retry_that_may_have_arrived(
    receiver: Receiver,
) -> None:
    receiver.instead = hang_up
    outcome = unsaved_destination(receiver.url).send(make_message())
    assert (outcome.verdict, outcome.error_class, outcome.ambiguous) == (R, "reset", True)


def test_an_answer_that_drips_ends_with_the_budget(receiver: Receiver) -> None:
    receiver.instead = drip
    destination = unsaved_destination(receiver.url)
    destination.budget = 0.5
    started = time.monotonic()
    outcome = destination.send(make_message())
    assert time.monotonic() - started < 2
    assert (outcome.verdict, outcome.error_class) == (R, "timeout")


def test_the_budget_of_one_attempt_is_ten_seconds() -> None:
    assert unsaved_destination("https://agent.example").budget == 10.0


def test_a_huge_answer_is_cut_and_still_counts(receiver: Receiver) -> None:
    receiver.instead = flood
    outcome = unsaved_destination(receiver.url).send(make_message())
    assert outcome.verdict == D
    assert outcome.answer is None
    assert "too long" in outcome.error
    assert len(outcome.response.encode()) <= 4096


def test_a_2xx_with_a_payload_is_an_answer(receiver: Receiver) -> None:
    receiver.body = b'{"payload": {"type": "text", "text": "Looks good."}}'
    outcome = unsaved_destination(receiver.url).send(make_message())
    assert outcome.answer == {"type": "text", "text": "Looks good."}


@pytest.mark.parametrize(
    "body",
    [b"", b"ok", b"{}", b"[]", b"null", b'{"payload": null}', b"\xff\xfe", b"[" * 60_000],
)
def test_a_2xx_without_a_payload_is_just_an_acknowledgement(
    receiver: Receiver, body: bytes
) -> None:
    receiver.body = body
    outcome = unsaved_destination(receiver.url).send(make_message())
    assert (outcome.verdict, outcome.answer, outcome.error) == (D, None, "")


@pytest.mark.parametrize(
    "payload",
    ['"hello"', "[]", "{}", '{"type": "form"}', '{"type": "text", "text": " "}', '{"text": "x"}'],
)
def test_a_2xx_with_a_payload_that_is_no_message_says_so(receiver: Receiver, payload: str) -> None:
    receiver.body = b'{"payload": ' + payload.encode() + b"}"
    outcome = unsaved_destination(receiver.url).send(make_message())
    assert (outcome.verdict, outcome.answer) == (D, None)
    assert "was not used" in outcome.error


def test_what_an_attempt_keeps_holds_no_secret_and_no_signature(receiver: Receiver) -> None:
    def echo(handler: object) -> None:
        signature = receiver.requests[0].headers["X-Hashee-Signature"]
        body = f"{SECRET} {signature} \0".encode()
        handler.wfile.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    receiver.instead = echo
    outcome = unsaved_destination(f"{receiver.url}?key=token-in-the-query").send(make_message())
    signature = receiver.requests[0].headers["X-Hashee-Signature"]
    kept = repr(outcome)
    for hidden in (SECRET, signature, "token-in-the-query", "\0"):
        assert hidden not in kept
    assert "X-Hashee-Signature: ***" in outcome.request
    assert "X-Hashee-Delivery-Id: 01930b1e-7c00-7000-8000-000000000001" in outcome.request
    assert "/hashee/webhook?***" in outcome.request
    assert '"type":"message.new"' in outcome.request
    assert outcome.response == "*** *** �"


def test_a_secret_at_the_cut_of_a_long_response_is_hidden_whole(receiver: Receiver) -> None:
    receiver.status, receiver.body = 500, b"x" * (4096 - 10) + SECRET.encode()
    outcome = unsaved_destination(receiver.url).send(make_message())
    assert SECRET[:8] not in outcome.response
    assert len(outcome.response.encode()) <= 4096
