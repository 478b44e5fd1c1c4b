"""What comes back from a connected agent: acknowledgements, refusals, messages, nonsense."""

import pytest

from agents.models import Agent
from agents.sockets import frames
from deliveries.models import Event
from platforms.models import Channel
from tests.agents.conftest import make_conversation

from .conftest import fresh, make_socket_agent, say, wait_for
from .server import Socket, Web

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_is_acknowledged_is_delivered_and_stands_in_the_log(
    socket: Socket, agent: Agent
) -> None:
    delivery = say(agent, "hello")
    socket.take(1)
    wait_for(lambda: fresh(delivery).status == "delivered", "it is delivered")
    assert fresh(delivery).attempt_count == 1
    assert delivery.attempts.get().verdict == "delivered"


def test_an_agent_that_acknowledges_and_leaves_at_once_has_it(socket: Socket, agent: Agent) -> None:
    delivery = say(agent, "hello")
    socket.take(1)
    socket.close()
    wait_for(lambda: fresh(delivery).status == "delivered", "it is delivered")


def test_a_refusal_with_a_reason_is_final(socket: Socket, agent: Agent) -> None:
    delivery = say(agent, "hello")
    socket.write(type="nack", delivery_id=socket.read()["delivery_id"], reason="I can't \0 this.")
    wait_for(lambda: fresh(delivery).status == "failed", "it has failed")
    attempt = delivery.attempts.get()
    assert (attempt.error_class, attempt.error) == ("refused", "I can't � this.")


def test_a_refusal_with_a_time_comes_again_after_it(socket: Socket, agent: Agent) -> None:
    delivery = say(agent, "hello")
    frame = socket.read()
    socket.write(type="nack", delivery_id=frame["delivery_id"], retry_after=1)
    assert socket.silent(0.8)
    again = socket.read()
    assert again["delivery_id"] == frame["delivery_id"]
    assert fresh(delivery).failures == 0


def test_a_second_acknowledgement_is_an_error_and_no_more(socket: Socket, agent: Agent) -> None:
    delivery = say(agent, "hello")
    socket.take(1)
    wait_for(lambda: fresh(delivery).status == "delivered", "it is delivered")
    socket.write(type="ack", delivery_id=str(delivery.pk))
    assert socket.read() == {
        "type": "error",
        "code": "unknown_delivery",
        "detail": "No such delivery is out to this connection.",
        "delivery_id": str(delivery.pk),
    }


def test_nobody_acknowledges_what_is_another_agents(web: Web, socket: Socket) -> None:
    theirs = say(make_socket_agent("other"), "not for you")
    socket.write(type="ack", delivery_id=str(theirs.pk))
    assert socket.read()["code"] == "unknown_delivery"
    assert fresh(theirs).status == "pending"


def test_the_agent_says_something_in_a_conversation(
    socket: Socket, agent: Agent, channel: Channel
) -> None:
    talk = make_conversation(agent, channel)
    delivery = say(agent, "hello", talk)
    frame = socket.read()
    payload = {"type": "text", "text": "Looks good."}
    socket.write(
        type="message",
        conversation_id=str(talk.pk),
        payload=payload,
        in_reply_to=frame["delivery_id"],
        id="m-1",
    )
    posted = socket.read()
    assert (posted["type"], posted["id"]) == ("posted", "m-1")
    event = Event.objects.get(pk=posted["event_id"])
    assert (event.source, event.trace) == ("agent", delivery.event.trace)
    assert event.deliveries.get().lane_id == channel.lane_id


def test_a_message_into_another_agents_conversation_is_refused(
    socket: Socket, agent: Agent, channel: Channel
) -> None:
    theirs = make_conversation(make_socket_agent("other"), channel)
    payload = {"type": "text", "text": "hi"}
    socket.write(type="message", conversation_id=str(theirs.pk), payload=payload, id=7)
    refused = socket.read()
    assert (refused["code"], refused["id"]) == ("unknown_conversation", 7)
    assert not Event.objects.exists()


def test_a_message_that_is_none_is_refused_with_the_reason(
    socket: Socket, agent: Agent, channel: Channel
) -> None:
    talk = make_conversation(agent, channel)
    socket.write(type="message", conversation_id=str(talk.pk), payload={"type": "text", "text": ""})
    refused = socket.read()
    assert refused["code"] == "bad_message"
    assert "text" in refused["detail"]


def test_a_ping_is_answered(socket: Socket) -> None:
    socket.write(type="ping", id="p")
    assert socket.read() == {"type": "pong", "id": "p"}


def test_a_frame_that_is_none_is_answered_and_the_connection_stays(socket: Socket) -> None:
    for text in ("", "hello", "[]", '{"type": "ack", "delivery_id": "../etc"}'):
        socket.wire.send(text)
        assert socket.read()["code"] == "bad_frame"
    socket.write(type="ping")
    assert socket.read() == {"type": "pong"}


def test_bytes_are_no_frame(socket: Socket) -> None:
    socket.wire.send(b'{"type": "ping"}')
    assert socket.read()["code"] == "bad_frame"


def test_a_frame_that_is_too_large_ends_the_connection(socket: Socket) -> None:
    socket.wire.send("x" * (frames.FRAME_LIMIT + 1))
    assert socket.closed()[0] == 1009
