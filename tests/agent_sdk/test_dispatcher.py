"""The dispatcher: verify, 300 s, dedupe, fetch, open, hand over, answer."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agent_sdk import InboundMessage, SQLiteStore, WebhookDispatcher
from agent_sdk.dispatcher import LARGEST_BODY
from tests.agents.conftest import SECRET, make_message

from .conftest import MakeDispatcher
from .gateway import AGENT_ID, Gateway, delivery, referred, signed

Got = list[InboundMessage]


def eventually(condition: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_message_is_given_to_its_handler(make_dispatcher: MakeDispatcher, got: Got) -> None:
    headers, body = delivery()
    answer = make_dispatcher().handle(headers, body)
    assert (answer.status, answer.body) == (200, b"{}")
    [message] = got
    assert message.text == make_message().text
    assert message.delivery_id == headers["X-Hashee-Delivery-Id"]


def test_the_body_may_come_as_text_and_headers_in_lower_case(
    make_dispatcher: MakeDispatcher, got: Got
) -> None:
    headers, body = delivery()
    lower = {name.lower(): value for name, value in headers.items()}
    assert make_dispatcher().handle(lower, body.decode()).status == 200
    assert len(got) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"X-Hashee-Signature": "0" * 64},
        {"X-Hashee-Signature": ""},
        {"X-Hashee-Timestamp": "1"},
        {"X-Hashee-Delivery-Id": "another"},
    ],
)
def test_what_is_not_signed_is_a_401_and_given_to_nobody(
    make_dispatcher: MakeDispatcher, got: Got, change: dict[str, str]
) -> None:
    headers, body = delivery()
    assert make_dispatcher().handle(headers | change, body).status == 401
    assert make_dispatcher().handle({}, body).status == 401
    assert got == []


def test_what_is_older_than_300_seconds_is_a_401(make_dispatcher: MakeDispatcher) -> None:
    assert make_dispatcher().handle(*delivery(age=302)).status == 401
    assert make_dispatcher(tolerance=10).handle(*delivery(age=20)).status == 401
    with pytest.raises(ValueError, match="300"):
        make_dispatcher(tolerance=301)


def test_a_body_above_the_limit_is_a_413(make_dispatcher: MakeDispatcher) -> None:
    headers, _body = delivery()
    assert make_dispatcher().handle(headers, b"x" * (LARGEST_BODY + 1)).status == 413


def test_a_repeat_is_a_200_and_not_given_again(make_dispatcher: MakeDispatcher, got: Got) -> None:
    dispatcher = make_dispatcher()
    headers, body = delivery()
    assert [dispatcher.handle(headers, body).status for _ in range(3)] == [200, 200, 200]
    assert len(got) == 1


def test_a_repeat_is_known_after_a_restart_with_a_file(
    make_dispatcher: MakeDispatcher, got: Got, tmp_path: Path
) -> None:
    headers, body = delivery()
    for _start in range(2):
        dispatcher = make_dispatcher(dedupe=SQLiteStore(tmp_path / "seen.sqlite3"))
        assert dispatcher.handle(headers, body).status == 200
    assert len(got) == 1


def test_what_a_handler_raises_makes_it_come_again(make_dispatcher: MakeDispatcher) -> None:
    calls = []

    def handler(message: InboundMessage) -> None:
        calls.append(message)
        if len(calls) == 1:
            raise RuntimeError("the model is not there")

    dispatcher = make_dispatcher(on_message=handler)
    headers, body = delivery()
    first = dispatcher.handle(headers, body)
    assert first.status == 503
    assert b"the model" not in first.body
    assert dispatcher.handle(headers, body).status == 200
    assert len(calls) == 2


def test_a_repeat_while_the_first_is_at_work_is_asked_to_wait(
    make_dispatcher: MakeDispatcher,
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def handler(message: InboundMessage) -> None:
        entered.set()
        leave.wait(5)

    dispatcher = make_dispatcher(on_message=handler)
    headers, body = delivery()
    first = threading.Thread(target=dispatcher.handle, args=(headers, body))
    first.start()
    assert entered.wait(5)
    answer = dispatcher.handle(headers, body)
    leave.set()
    first.join()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
    assert dispatcher.handle(headers, body).status == 200


@pytest.mark.parametrize("said", ["Looks good.", {"type": "text", "text": "Looks good."}])
def test_what_a_handler_returns_is_the_answer(make_dispatcher: MakeDispatcher, said: Any) -> None:
    answer = make_dispatcher(on_message=lambda _message: said).handle(*delivery())
    assert json.loads(answer.body) == {"payload": {"type": "text", "text": "Looks good."}}
    assert answer.headers["Content-Type"] == "application/json"


def test_a_handler_may_be_async(make_dispatcher: MakeDispatcher) -> None:
    async def handler(message: InboundMessage) -> str:
        return message.text

    answer = make_dispatcher(on_message=handler).handle(*delivery())
    assert json.loads(answer.body)["payload"]["text"] == make_message().text


def test_events_go_to_their_own_handler(make_dispatcher: MakeDispatcher, got: Got) -> None:
    events: Got = []
    dispatcher = make_dispatcher(on_event=events.append)
    revoked = delivery(event_type="relation.revoked", payload={"user_id": "u1"})
    assert dispatcher.handle(*revoked).status == 200
    assert (events[0].type, events[0].payload) == ("relation.revoked", {"user_id": "u1"})
    assert got == []


def test_an_event_that_nobody_listens_for_is_taken(make_dispatcher: MakeDispatcher) -> None:
    event = delivery(event_type="relation.revoked", payload={})
    assert make_dispatcher().handle(*event).status == 200


def test_what_is_signed_and_no_delivery_is_a_400(make_dispatcher: MakeDispatcher) -> None:
    body = b'{"event":"test","data":{}}'
    assert make_dispatcher().handle(signed(make_message(), body), body).status == 400


def test_a_large_message_is_fetched(
    make_dispatcher: MakeDispatcher, gateway: Gateway, got: Got
) -> None:
    assert make_dispatcher().handle(*referred(gateway)).status == 200
    assert got[0].text == make_message().text


def test_a_large_message_is_fetched_although_it_has_to_wait(
    make_dispatcher: MakeDispatcher, gateway: Gateway, got: Got
) -> None:
    gateway.too_many = 1
    assert make_dispatcher().handle(*referred(gateway)).status == 200
    assert len(got) == 1


def test_a_large_message_that_cannot_be_had_now_comes_again(
    make_dispatcher: MakeDispatcher, gateway: Gateway, got: Got
) -> None:
    dispatcher = make_dispatcher()
    headers, body = referred(gateway)
    gateway.away = True
    assert dispatcher.handle(headers, body).status == 503
    gateway.away = False
    assert dispatcher.handle(headers, body).status == 200
    assert len(got) == 1


def test_a_large_message_that_is_gone_is_a_400(
    make_dispatcher: MakeDispatcher, gateway: Gateway
) -> None:
    headers, body = referred(gateway)
    gateway.objects.clear()
    assert make_dispatcher().handle(headers, body).status == 400


def test_in_the_background_the_gateway_has_its_200_at_once(
    make_dispatcher: MakeDispatcher, gateway: Gateway
) -> None:
    go_on = threading.Event()

    def handler(message: InboundMessage) -> str:
        go_on.wait(5)
        return "done"

    dispatcher = make_dispatcher(on_message=handler, background=2)
    headers, body = delivery()
    assert dispatcher.handle(headers, body).status == 200
    assert dispatcher.handle(headers, body).status == 200
    go_on.set()
    eventually(gateway.said)
    assert gateway.said() == [
        {
            "conversation_id": str(make_message().conversation_id),
            "payload": {"type": "text", "text": "done"},
            "in_reply_to": headers["X-Hashee-Delivery-Id"],
        }
    ]


def test_what_fails_in_the_background_is_logged_and_may_be_sent_again(
    make_dispatcher: MakeDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def handler(message: InboundMessage) -> None:
        calls.append(message.id)
        raise RuntimeError("no")

    dispatcher = make_dispatcher(on_message=handler, background=1)
    headers, body = delivery()
    assert dispatcher.handle(headers, body).status == 200
    eventually(lambda: "failed in the background" in caplog.text)
    assert dispatcher.handle(headers, body).status == 200
    eventually(lambda: len(calls) == 2)


def test_a_start_recovers(make_dispatcher: MakeDispatcher, gateway: Gateway) -> None:
    make_dispatcher(auto_recover=True)
    eventually(lambda: gateway.count("connection/recover") == 1)


def test_a_start_recovers_once_the_gateway_is_there(
    make_dispatcher: MakeDispatcher, gateway: Gateway
) -> None:
    gateway.away = True
    make_dispatcher(auto_recover=True)
    eventually(lambda: gateway.count("connection/recover") == 1)
    gateway.away = False
    eventually(lambda: gateway.count("connection/recover") == 2)


def test_a_reply_can_be_sent_at_any_time(make_dispatcher: MakeDispatcher, gateway: Gateway) -> None:
    assert make_dispatcher().send_reply("c1", "你好", in_reply_to="d1") == "e1"
    payload = {"type": "text", "text": "你好"}
    assert gateway.said() == [{"conversation_id": "c1", "payload": payload, "in_reply_to": "d1"}]


def test_it_can_be_made_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, gateway: Gateway, got: Got
) -> None:
    for name, value in {
        "HERMES_URL": gateway.url,
        "HASHEE_AGENT_ID": str(AGENT_ID),
        "HASHEE_AGENT_TOKEN": "hsk_token",
        "HASHEE_WEBHOOK_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    dispatcher = WebhookDispatcher.from_environment(on_message=got.append, auto_recover=False)
    assert dispatcher.handle(*delivery()).status == 200
    monkeypatch.delenv("HASHEE_WEBHOOK_SECRET")
    with pytest.raises(KeyError, match="HASHEE_WEBHOOK_SECRET"):
        WebhookDispatcher.from_environment(on_message=got.append)


def test_no_description_holds_a_token_or_secret(make_dispatcher: MakeDispatcher) -> None:
    dispatcher = make_dispatcher()
    assert "hsk_" not in repr(dispatcher) + repr(dispatcher.client)
