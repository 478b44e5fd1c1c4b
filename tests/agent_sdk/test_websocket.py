"""The WebSocket client: takes, acknowledges, comes back, and knows when not to."""

import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import pytest

from agent_sdk import ConnectionEnded, InboundMessage, WebSocketClient
from tests.agents.conftest import make_message

from .gateway import AGENT_ID, TOKEN, Gateway
from .socket_gateway import SocketGateway, close, eventually, frame, push, start

Run = Callable[..., WebSocketClient]


@pytest.fixture
def socket() -> Iterator[SocketGateway]:
    gateway = SocketGateway()
    server = start(gateway)
    yield gateway
    server.shutdown()


@pytest.fixture
def ended() -> list[ConnectionEnded]:
    """How the client's run ended, if for good."""
    return []


@pytest.fixture
def run(
    socket: SocketGateway,
    got: list[InboundMessage],
    ended: list[ConnectionEnded],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:
    """A function that starts a client in a thread; keywords are its options."""
    monkeypatch.setattr("agent_sdk.websocket.FIRST_WAIT", 0.05)
    started: list[tuple[WebSocketClient, threading.Thread]] = []

    def begin(**options: Any) -> WebSocketClient:
        given = {
            "agent_id": str(AGENT_ID),
            "token": TOKEN,
            "base_url": socket.url,
            "on_message": got.append,
        }
        client = WebSocketClient(**(given | options))

        def target() -> None:
            try:
                client.run()
            except ConnectionEnded as end:
                ended.append(end)

        thread = threading.Thread(target=target)
        thread.start()
        started.append((client, thread))
        return client

    yield begin
    for client, thread in started:
        client.stop()
        thread.join(5)
        assert not thread.is_alive()


def test_a_message_is_handed_over_and_acknowledged(
    run: Run, socket: SocketGateway, got: list[InboundMessage]
) -> None:
    pushed = frame()
    socket.plays = [push(pushed)]
    run()
    eventually(lambda: socket.of("ack"))
    assert socket.frames == [{"type": "ack", "delivery_id": pushed["delivery_id"]}]
    assert got[0].text == make_message().text
    assert got[0].delivery_id == pushed["delivery_id"]
    assert socket.tokens == [f"Bearer {TOKEN}"]


def test_every_type_of_event_is_handed_over(run: Run, socket: SocketGateway) -> None:
    events: list[InboundMessage] = []
    socket.plays = [push(frame(event_type="agent.governance", payload={"state": "suspended"}))]
    run(on_event=events.append)
    eventually(lambda: socket.of("ack"))
    assert (events[0].type, events[0].payload) == ("agent.governance", {"state": "suspended"})


def test_a_ping_is_answered(run: Run, socket: SocketGateway) -> None:
    socket.plays = [push({"type": "ping"})]
    run()
    eventually(lambda: socket.of("pong"))


def test_what_it_does_not_know_and_what_is_broken_is_passed_over(
    run: Run, socket: SocketGateway, got: list[InboundMessage]
) -> None:
    def play(connection: Any) -> None:
        for text in ('{"type": "news"}', "[]", "{", '{"type": "error", "code": "bad_frame"}'):
            connection.send(text)
        push(frame())(connection)

    socket.plays = [play]
    run()
    eventually(lambda: socket.of("ack"))
    assert len(got) == 1


def test_a_repeat_is_acknowledged_and_not_handed_over_again(
    run: Run, socket: SocketGateway, got: list[InboundMessage]
) -> None:
    pushed = frame()
    socket.plays = [push(pushed, pushed)]
    run(workers=1)
    eventually(lambda: len(socket.of("ack")) == 2)
    assert len(got) == 1


def test_what_a_handler_raises_is_refused_for_a_growing_while(
    run: Run, socket: SocketGateway
) -> None:
    pushed = frame()

    def handler(message: InboundMessage) -> None:
        raise RuntimeError("no")

    socket.plays = [push(pushed, pushed, pushed)]
    run(on_message=handler, workers=1)
    eventually(lambda: len(socket.of("nack")) == 3)
    assert [one["retry_after"] for one in socket.of("nack")] == [30, 60, 120]


def test_what_cannot_be_read_is_refused_for_good(run: Run, socket: SocketGateway) -> None:
    socket.plays = [push(frame() | {"wire_envelope": "%%%"})]
    run()
    eventually(lambda: socket.of("nack"))
    assert "retry_after" not in socket.of("nack")[0]


def test_an_answer_is_posted_before_it_is_acknowledged(
    run: Run, socket: SocketGateway, gateway: Gateway
) -> None:
    pushed = frame()
    socket.plays = [push(pushed)]
    client = run(on_message=lambda message: "done")
    client.client.base_url = gateway.url  # the stand-in for REST is another one
    eventually(lambda: socket.of("ack"))
    [said] = gateway.said()
    assert said["in_reply_to"] == pushed["delivery_id"]


@pytest.mark.parametrize("code", [1001, 1011, 1012, 4005, 4008])
def test_it_comes_back_when_the_connection_was_lost(
    run: Run, socket: SocketGateway, got: list[InboundMessage], code: int
) -> None:
    socket.plays = [close(code), push(frame())]
    run()
    eventually(lambda: got)
    assert socket.connections == 2


def test_it_comes_back_when_the_gateway_was_not_there(
    run: Run, socket: SocketGateway, got: list[InboundMessage]
) -> None:
    socket.status = HTTPStatus.BAD_GATEWAY
    socket.plays = [push(frame())]
    run()
    eventually(lambda: len(socket.tokens) >= 2)
    socket.status = None
    eventually(lambda: got)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(4001, "replaced"), (4002, "switched to webhook"), (4003, "token revoked")],
)
def test_it_stays_away_when_it_is_not_wanted(
    run: Run, socket: SocketGateway, ended: list[ConnectionEnded], code: int, reason: str
) -> None:
    socket.plays = [close(code, reason)]
    run()
    eventually(lambda: ended)
    assert (ended[0].code, ended[0].reason) == (code, reason)
    assert socket.connections == 1


def test_a_refused_token_ends_it(
    run: Run, socket: SocketGateway, ended: list[ConnectionEnded]
) -> None:
    socket.status = HTTPStatus.FORBIDDEN
    run()
    eventually(lambda: ended)
    assert ended[0].code == 403
    assert TOKEN not in str(ended[0])


def test_the_largest_body_fits(run: Run, socket: SocketGateway, got: list[InboundMessage]) -> None:
    socket.plays = [push(frame(payload={"type": "text", "text": "x" * 785_000}))]
    run()
    eventually(lambda: socket.of("ack"))
    assert len(got[0].text) == 785_000


def test_it_stops_when_it_is_told(run: Run, socket: SocketGateway) -> None:
    client = run()
    eventually(lambda: socket.connections)
    client.stop()
