"""What goes out to a connected agent: every event, in order, and no more than it takes."""

import json
from uuid import uuid4

import pytest
from django.utils import timezone

from agents import wire
from agents.event_types import ALL_EVENTS
from agents.models import Agent
from agents.services.events import emit
from deliveries.claims import prepare
from deliveries.models import Delivery
from deliveries.record import write
from platforms.models import Channel
from tests.agents.conftest import make_conversation

from .conftest import held_back, rows, say, wait_for
from .server import Socket, Web, text_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_is_the_body_of_a_webhook_with_the_id_of_its_delivery(
    socket: Socket, agent: Agent, channel: Channel
) -> None:
    delivery = say(agent, "“Größe” 尺寸", make_conversation(agent, channel))
    frame = socket.read()
    assert frame.pop("delivery_id") == str(delivery.pk)
    [claimed] = prepare([delivery], {agent.lane_id: agent.lane}, {}, uuid4(), timezone.now())
    assert claimed.message
    assert frame == json.loads(wire.body_for(claimed.message, agent))


def test_all_fourteen_types_of_events_arrive(socket: Socket, agent: Agent) -> None:
    assert len(ALL_EVENTS) == 14
    arrived = set()
    for kind in sorted(ALL_EVENTS):
        emit(agent, kind, {"type": "text", "text": kind})
        frame = socket.read()
        arrived.add(frame["type"])
        socket.write(type="ack", delivery_id=frame["delivery_id"])
    assert arrived == ALL_EVENTS
    wait_for(lambda: not Delivery.objects.exclude(status="delivered").exists(), "all are delivered")


def test_a_body_above_a_megabyte_comes_as_a_reference(socket: Socket, agent: Agent) -> None:
    say(agent, "x" * 1_100_000)
    frame = socket.read()
    assert frame["wire_envelope"] is None
    assert frame["ref"]["type"] == "r2"
    assert frame["delivery_id"]


def test_what_waited_while_the_agent_was_away_comes_oldest_first(
    web: Web, agent: Agent, token: str
) -> None:
    held_back(agent, *[str(number) for number in range(20)])
    socket = web.socket(agent, token)
    assert socket.read()["waiting"] == 20
    assert socket.take(20) == [str(number) for number in range(20)]


def test_a_slow_agent_has_no_more_out_than_its_concurrency(
    web: Web, agent: Agent, token: str
) -> None:
    agent.concurrency = 3
    agent.save()
    held_back(agent, "1", "2", "3", "4", "5")
    socket = web.socket(agent, token)
    assert socket.read()["concurrency"] == 3
    first = socket.read()
    assert [text_of(first), *socket.texts(2)] == ["1", "2", "3"]
    assert socket.silent()
    assert Delivery.objects.filter(claim__isnull=False).count() == 3
    socket.write(type="ack", delivery_id=first["delivery_id"])
    assert socket.texts(1) == ["4"]
    assert socket.silent()


def test_a_conversation_keeps_its_order_and_holds_up_no_other(
    web: Web, agent: Agent, token: str, channel: Channel
) -> None:
    talk = make_conversation(agent, channel)
    other = make_conversation(agent, channel, "acme/site#8")
    say(agent, "a1", talk)
    say(agent, "a2", talk)
    say(agent, "b1", other)
    socket = web.socket(agent, token)
    socket.read()
    first = socket.read()
    assert (text_of(first), socket.texts(1)) == ("a1", ["b1"])
    assert socket.silent()
    socket.write(type="ack", delivery_id=first["delivery_id"])
    assert socket.texts(1) == ["a2"]


def test_what_another_machine_commits_is_found_without_a_hint(socket: Socket, agent: Agent) -> None:
    event, new = rows(agent, "from afar")
    write([event], [new])
    assert socket.take(1) == ["from afar"]
