"""The stream, against a server that speaks as DingTalk does."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError
from django.db.backends.signals import connection_created

from deliveries.models import Delivery, Event
from deliveries.outbound import OutboundError
from platforms.dingtalk import stream as streaming
from platforms.dingtalk.opening import CannotOpen, Refused, _websocket, opened
from platforms.dingtalk.stream import Stream
from platforms.dingtalk.streams import app_of
from platforms.models import Channel, SessionWebhook

from .dingtalk import CLIENT_ID, SECRET
from .dingtalk_server import TOPIC, DingTalkServer, dingtalk_server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_long_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LOOK_EVERY", 0.05)


@pytest.fixture
def dingtalk(settings: Any) -> Iterator[DingTalkServer]:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    with dingtalk_server() as server:
        yield server


@pytest.fixture
def channel(dingtalk: DingTalkServer) -> Channel:
    config = {
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "stream": True,
        "api_base": dingtalk.url,
    }
    return Channel.objects.create(name="ding", kind="dingtalk", config=config)


@contextmanager
def running(channel: Channel) -> Iterator[threading.Thread]:
    stopping = threading.Event()
    thread = threading.Thread(target=Stream(app_of(channel), stopping).run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stopping.set()
        thread.join(10)
        assert not thread.is_alive()


def eventually(check: Callable[[], Any], seconds: float = 8) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
    return found


def acknowledged(dingtalk: DingTalkServer, frame: str) -> dict[str, Any]:
    answer: dict[str, Any] = eventually(lambda: dingtalk.answers.get(frame))
    return answer


@pytest.fixture
def stream(channel: Channel, dingtalk: DingTalkServer) -> Iterator[threading.Thread]:
    with running(channel) as thread:
        eventually(lambda: dingtalk.streams)
        yield thread


@pytest.mark.usefixtures("stream")
def test_it_asks_for_the_robots_messages(dingtalk: DingTalkServer) -> None:
    body = dingtalk.calls[0].body
    assert (body["clientId"], body["clientSecret"]) == (CLIENT_ID, SECRET)
    assert body["subscriptions"] == [{"type": "CALLBACK", "topic": TOPIC}]


@pytest.mark.usefixtures("stream")
def test_a_message_is_stored_then_acknowledged(dingtalk: DingTalkServer) -> None:
    frame = dingtalk.write("private_text")
    answer = acknowledged(dingtalk, frame)
    assert (answer["code"], answer["headers"]["messageId"]) == (200, frame)
    assert json.loads(answer["data"]) == {"response": None}
    [event] = Event.objects.all()
    assert event.source == "chat"
    [row] = SessionWebhook.objects.all()
    assert row.staff_id == "manager7788"
    assert row.url.startswith(dingtalk.url)


@pytest.mark.usefixtures("stream")
def test_a_callback_that_comes_twice_is_done_once(dingtalk: DingTalkServer) -> None:
    document = dingtalk.callback("private_text")
    for _time in range(2):
        frame = dingtalk.frame("CALLBACK", TOPIC, document)
        assert acknowledged(dingtalk, frame)["code"] == 200
    assert Event.objects.count() == Delivery.objects.count() == 1


@pytest.mark.usefixtures("stream")
def test_what_is_no_message_is_acknowledged_and_keeps_nothing_up(
    dingtalk: DingTalkServer, caplog: pytest.LogCaptureFixture
) -> None:
    frame = dingtalk.frame("CALLBACK", TOPIC, {"msgId": "x", "sessionWebhook": "https://secret"})
    dingtalk.streams[-1].send("no JSON at all")
    dingtalk.streams[-1].send("[1, 2]")
    assert acknowledged(dingtalk, frame)["code"] == 200
    assert acknowledged(dingtalk, dingtalk.write("group_text"))["code"] == 200
    assert Event.objects.count() == 1
    assert "is no message: no conversationId" in caplog.text
    assert "https://secret" not in caplog.text


@pytest.mark.usefixtures("stream")
def test_a_ping_comes_back_with_its_data(dingtalk: DingTalkServer) -> None:
    frame = dingtalk.frame("SYSTEM", "ping", {"opaque": "abc"})
    assert json.loads(acknowledged(dingtalk, frame)["data"]) == {"opaque": "abc"}


@pytest.mark.usefixtures("stream")
def test_a_message_nobody_can_take_is_said_so(
    dingtalk: DingTalkServer, caplog: pytest.LogCaptureFixture
) -> None:
    from agents.models import Agent

    Agent.objects.update(is_default=False)
    assert acknowledged(dingtalk, dingtalk.write("private_text"))["code"] == 500
    assert "No agent is the default one" in caplog.text


def test_a_database_that_is_away_is_waited_for(
    dingtalk: DingTalkServer,
    stream: threading.Thread,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(streaming, "STORE_AGAIN", (0.1,))
    acknowledged(dingtalk, dingtalk.write("group_text"))
    away = [1, 2]

    def fail(**_signal: Any) -> None:
        if threading.current_thread() is stream and away:
            away.pop()
            raise OperationalError("the database is away")

    connection_created.connect(fail)
    try:
        assert acknowledged(dingtalk, dingtalk.write("private_text"))["code"] == 200
    finally:
        connection_created.disconnect(fail)
    assert away == []
    assert Event.objects.count() == 2
    assert caplog.text.count("a message waits to be stored") == 2


def test_a_stream_that_opens_while_the_database_is_away_stays_open(
    channel: Channel, dingtalk: DingTalkServer, caplog: pytest.LogCaptureFixture
) -> None:
    app, away, stopping = app_of(channel), [1], threading.Event()
    thread = threading.Thread(target=Stream(app, stopping).run, daemon=True)

    def fail(**_signal: Any) -> None:
        if threading.current_thread() is thread and away:
            away.pop()
            raise OperationalError("the database is away")

    connection_created.connect(fail)
    try:
        thread.start()
        eventually(lambda: dingtalk.streams)
        assert acknowledged(dingtalk, dingtalk.write("private_text"))["code"] == 200
    finally:
        stopping.set()
        thread.join(10)
        connection_created.disconnect(fail)
    assert len(dingtalk.streams) == 1
    assert "its sessions could not be ended" in caplog.text


@pytest.mark.usefixtures("stream")
def test_when_dingtalk_ends_the_connection_another_is_opened(
    dingtalk: DingTalkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "RECONNECT", (0.1,))
    acknowledged(dingtalk, dingtalk.write("private_text"))
    first = SessionWebhook.objects.get()
    dingtalk.frame("SYSTEM", "disconnect", {"reason": "connection is expired"})
    eventually(lambda: len(dingtalk.streams) == 2)
    eventually(lambda: SessionWebhook.objects.get().url == "")
    assert first.staff_id == SessionWebhook.objects.get().staff_id
    acknowledged(dingtalk, dingtalk.write("private_text"))
    again = SessionWebhook.objects.get()
    assert again.url
    assert again.connection != first.connection


@pytest.mark.usefixtures("stream")
def test_a_connection_that_breaks_is_opened_again(
    dingtalk: DingTalkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "RECONNECT", (0.1,))
    dingtalk.streams[-1].close_socket()
    eventually(lambda: len(dingtalk.streams) == 2)
    assert acknowledged(dingtalk, dingtalk.write("private_text"))["code"] == 200


@pytest.mark.usefixtures("stream")
def test_silence_after_pings_is_taken_for_a_dead_line(
    dingtalk: DingTalkServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(streaming, "RECONNECT", (0.1,))
    monkeypatch.setattr(streaming, "SILENT_AFTER", 0.5)
    time.sleep(1)
    assert len(dingtalk.streams) == 1  # it never pinged: silence means nothing
    dingtalk.frame("SYSTEM", "ping", {"opaque": "abc"})
    eventually(lambda: len(dingtalk.streams) == 2)
    assert "nothing was heard for too long" in caplog.text


def test_a_peer_that_answers_no_ping_is_left(
    channel: Channel, dingtalk: DingTalkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platforms.dingtalk.opening.PING_EVERY", 0.2)
    monkeypatch.setattr("platforms.dingtalk.opening.PONG_WITHIN", 0.2)
    monkeypatch.setattr(streaming, "RECONNECT", (0.1,))
    with running(channel):
        eventually(lambda: dingtalk.streams)
        # As a machine that lost its power: the line stands, and nobody reads.
        dingtalk.streams[0].protocol.receive_data = lambda _data: None  # type: ignore[method-assign]
        eventually(lambda: len(dingtalk.streams) > 1)


def test_reconnects_come_with_growing_waits(
    channel: Channel, dingtalk: DingTalkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert streaming.RECONNECT == (2, 5, 10, 30, 60)
    monkeypatch.setattr(streaming, "RECONNECT", (0.1, 0.4, 0.8))
    dingtalk.refuses = (503, {"code": "ServiceUnavailable"})
    with running(channel):
        eventually(lambda: len(dingtalk.knocks) == 4)
    waits = [
        after - before for before, after in zip(dingtalk.knocks, dingtalk.knocks[1:], strict=False)
    ]
    assert waits == pytest.approx([0.1, 0.4, 0.8], abs=0.15)
    channel.refresh_from_db()
    assert channel.health == "ok"


@pytest.mark.parametrize("status", [400, 401, 403])
def test_who_is_refused_flags_the_channel_and_knocks_no_more_for_minutes(
    channel: Channel, dingtalk: DingTalkServer, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    dingtalk.refuses = (status, {"code": "invalidClient", "message": f"no app with {SECRET}"})
    with running(channel):
        eventually(lambda: Channel.objects.get(pk=channel.pk).health == "needs_attention")
        time.sleep(0.5)
    assert len(dingtalk.knocks) == 1
    channel.refresh_from_db()
    assert "DingTalk refuses the stream" in channel.health_reason
    assert "invalidClient" in channel.health_reason
    assert SECRET not in channel.health_reason + caplog.text


def test_the_ticket_is_written_nowhere(
    channel: Channel, dingtalk: DingTalkServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    dingtalk.tickets = never = type("Never", (set,), {"__contains__": lambda *_: False})()
    with running(channel):
        eventually(lambda: never)
        time.sleep(0.5)
    assert never
    # What the fake itself says is not ours.
    ours = [record for record in caplog.records if not record.name.startswith("tests.")]
    said = "\n".join(record.getMessage() for record in ours)
    for ticket in never:
        assert ticket not in said


@pytest.mark.parametrize(
    "endpoint",
    [
        "ws://wss-open-connection.dingtalk.com/connect",
        "wss://127.0.0.1/connect",
        "wss://169.254.169.254/connect",
        "wss://user@8.8.8.8/connect",
        "https://8.8.8.8/connect",
        "wss://",
        "x",
    ],
)
def test_a_stream_leads_only_outside_and_only_encrypted(settings: Any, endpoint: str) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    with pytest.raises((CannotOpen, OutboundError)), _websocket(endpoint, "ticket-1"):
        pass


def test_a_refusal_is_told_from_a_server_that_is_down(
    channel: Channel, dingtalk: DingTalkServer
) -> None:
    dingtalk.refuses = (403, {"code": "Forbidden.AccessDenied.QpsLimitForApi"})
    with pytest.raises(CannotOpen) as raised, opened(app_of(channel)):
        pass
    assert not isinstance(raised.value, Refused)


def test_a_stop_is_quick_and_ends_the_sessions(channel: Channel, dingtalk: DingTalkServer) -> None:
    with running(channel):
        eventually(lambda: dingtalk.streams)
        acknowledged(dingtalk, dingtalk.write("private_text"))
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert SessionWebhook.objects.get().url == ""
