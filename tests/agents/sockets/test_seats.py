"""One live connection per agent: who takes over, who has to go and is told why, who is gone."""

import socket as sockets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from agents.models import Agent, AgentToken, Connection
from agents.services import issue_token, recover, revoke_token
from agents.services.governance import suspend
from agents.services.presence import connect, mark_silent
from agents.sockets import consumer, drain
from deliveries.lanes import hold, release
from deliveries.models import Delivery, Lane
from deliveries.runner import run_until_idle
from tests.agents.conftest import make_agent
from tests.agents.receiver import Receiver

from .conftest import fresh, held_back, make_socket_agent, say, wait_for
from .server import Socket, Web

pytestmark = pytest.mark.django_db(transaction=True)


def status(agent: Agent) -> str:
    return Agent.objects.get(pk=agent.pk).connection_status


def is_status(agent: Agent, wanted: str) -> Callable[[], bool]:
    return lambda: status(agent) == wanted


def test_an_agent_is_ready_while_it_is_connected_and_offline_afterwards(
    socket: Socket, agent: Agent
) -> None:
    assert status(agent) == "ready"
    assert Agent.objects.get(pk=agent.pk).last_seen_at
    socket.close()
    wait_for(is_status(agent, "offline"), "the agent is offline")
    assert not Connection.objects.exists()


def test_what_was_not_acknowledged_comes_again_under_its_id_at_no_cost(
    web: Web, socket: Socket, agent: Agent, token: str
) -> None:
    delivery = say(agent, "hello")
    first = socket.read()["delivery_id"]
    socket.close()
    wait_for(is_status(agent, "offline"), "the agent is offline")
    again = web.socket(agent, token)
    again.read()
    assert again.read()["delivery_id"] == first
    assert fresh(delivery).failures == 0
    assert delivery.attempts.get(number=1).error_class == "interrupted"


def test_a_connection_that_breaks_is_noticed(socket: Socket, agent: Agent) -> None:
    delivery = say(agent, "hello")
    socket.read()
    socket.wire.socket.shutdown(sockets.SHUT_RDWR)
    wait_for(is_status(agent, "offline"), "the agent is offline")
    assert fresh(delivery).claim is None


def test_the_newest_connection_wins_and_the_old_one_is_told(
    web: Web, socket: Socket, agent: Agent, token: str
) -> None:
    held_back(agent, "one", "two")
    socket.texts(2)
    newest = web.socket(agent, token)
    began = time.monotonic()
    assert socket.closed() == (4001, "Another connection of this agent took over.")
    assert time.monotonic() - began < 0.5
    newest.read()
    assert newest.take(2) == ["one", "two"]
    assert status(agent) == "ready"


def test_a_connection_that_was_replaced_elsewhere_notices_by_its_row(
    socket: Socket, agent: Agent
) -> None:
    # As another process does that has no channel layer in common with this one.
    Connection.objects.filter(agent=agent).update(token=uuid4())
    assert socket.closed(3)[0] == 4001
    assert status(agent) == "ready"


def test_a_connection_that_was_replaced_fetches_nothing_more(agent: Agent, token: str) -> None:
    agent_token = AgentToken.objects.get()
    old = connect(agent.pk, agent_token.pk)
    new = connect(agent.pk, agent_token.pk)
    say(agent, "hello")
    assert drain.exchange(old, {}, 4) == []
    assert len(drain.exchange(new, {}, 4)) == 1


def test_a_switch_closes_the_connection_at_once_and_what_was_out_goes_to_the_webhook(
    socket: Socket, agent: Agent, receiver: Receiver
) -> None:
    delivery = say(agent, "hello")
    socket.read()
    Agent.objects.filter(pk=agent.pk).update(
        connection_mode=Agent.Mode.WEBHOOK, webhook_url=receiver.url, connection_status="ready"
    )
    hold(agent.lane_id)
    release(agent.lane_id)
    assert socket.closed(3) == (4002, "The agent is switched to webhook.")
    wait_for(lambda: fresh(delivery).claim is None, "the delivery is free")
    assert status(agent) == "ready"
    run_until_idle()
    assert [got.headers["X-Hashee-Delivery-Id"] for got in receiver.requests] == [str(delivery.pk)]


def test_a_revoked_token_ends_its_connection_and_no_other(
    web: Web, socket: Socket, agent: Agent
) -> None:
    other = make_socket_agent("other")
    unconcerned = web.socket(other, issue_token(other))
    unconcerned.read()
    revoke_token(AgentToken.objects.get(agent=agent))
    assert socket.closed(3)[0] == 4003
    unconcerned.write(type="ping")
    assert unconcerned.read()["type"] == "pong"


def test_a_suspended_agent_is_sent_away(socket: Socket, agent: Agent) -> None:
    suspend(agent, by="a test")
    assert socket.closed(3)[0] == 4004
    wait_for(is_status(agent, "offline"), "the agent is offline")


def test_a_deleted_agent_is_sent_away(socket: Socket, agent: Agent) -> None:
    agent.delete()
    assert socket.closed(3)[0] == 4003


def test_a_connection_whose_row_is_gone_is_asked_to_come_again(
    web: Web, socket: Socket, agent: Agent, token: str
) -> None:
    Connection.objects.all().delete()
    assert socket.closed(3)[0] == 1012
    assert web.socket(agent, token).read()["type"] == "welcome"


def test_what_is_not_acknowledged_in_time_climbs_and_comes_again(
    monkeypatch: pytest.MonkeyPatch, socket: Socket, agent: Agent
) -> None:
    monkeypatch.setattr(drain, "ACKNOWLEDGE_WITHIN", 0.3)
    delivery = say(agent, "hello")
    first, second = socket.read(), socket.read()
    assert first == second
    socket.write(type="ack", delivery_id=first["delivery_id"])
    wait_for(lambda: fresh(delivery).status == "delivered", "it is delivered")
    assert list(delivery.attempts.values_list("error_class", flat=True)) == ["", "timeout"]


def test_an_agent_that_takes_nothing_is_unreachable_and_its_next_connection_recovers_it(
    monkeypatch: pytest.MonkeyPatch, web: Web, socket: Socket, agent: Agent, token: str
) -> None:
    monkeypatch.setattr(drain, "ACKNOWLEDGE_WITHIN", 0.3)
    delivery = say(agent, "hello")
    Delivery.objects.filter(pk=delivery.pk).update(failures=7)
    assert socket.closed(5)[0] == 4005
    assert status(agent) == "unreachable"
    again = web.socket(agent, token)
    assert again.read()["waiting"] == 1
    assert status(agent) == "ready"
    assert again.take(1) == ["hello"]


def test_a_recover_by_a_person_leaves_the_lane_to_the_socket(agent: Agent) -> None:
    Agent.objects.filter(pk=agent.pk).update(connection_status=Agent.Status.UNREACHABLE)
    delivery = say(agent, "hello")
    Delivery.objects.filter(pk=delivery.pk).update(
        failures=7, next_attempt_at=timezone.now() + timedelta(hours=6)
    )
    assert recover(agent) == 1
    assert (status(agent), Lane.objects.get(pk=agent.lane_id).state) == ("offline", "held")
    assert (fresh(delivery).failures, fresh(delivery).next_attempt_at) == (0, None)


def test_what_waited_on_a_rung_comes_at_once_when_the_agent_connects(
    web: Web, agent: Agent, token: str
) -> None:
    delivery = say(agent, "hello")
    Delivery.objects.filter(pk=delivery.pk).update(
        failures=6, next_attempt_at=timezone.now() + timedelta(hours=6)
    )
    socket = web.socket(agent, token)
    socket.read()
    assert socket.take(1) == ["hello"]


def test_a_lane_that_was_left_open_is_taken_from_the_runners(web: Web) -> None:
    agent = make_agent("left open", connection_mode=Agent.Mode.WEBSOCKET)
    web.socket(agent, issue_token(agent)).read()
    assert Lane.objects.get(pk=agent.lane_id).state == Lane.State.HELD


# Signs of life -------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second be a minute."""
    monkeypatch.setattr(consumer, "HEARTBEAT", 0.3)
    monkeypatch.setattr(consumer, "DEAD_AFTER", 0.7)


@pytest.mark.usefixtures("quick")
def test_the_heartbeat_is_asked_for_and_noted(socket: Socket, agent: Agent) -> None:
    before = Connection.objects.get(agent=agent).seen_at
    for _beat in range(4):
        assert socket.read()["type"] == "ping"
        socket.write(type="pong")
    assert Connection.objects.get(agent=agent).seen_at > before


@pytest.mark.usefixtures("quick")
def test_an_agent_that_gives_no_sign_of_life_is_closed(socket: Socket, agent: Agent) -> None:
    assert socket.closed()[0] == 4008
    wait_for(is_status(agent, "offline"), "the agent is offline")


def test_an_agent_that_reads_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, web: Web, agent: Agent, token: str
) -> None:
    monkeypatch.setattr(consumer, "SEND_WITHIN", 0.5)
    monkeypatch.setattr(consumer, "CLOSE_WITHIN", 0.2)
    agent.concurrency = 50
    agent.save()
    held_back(agent, *["x" * 700_000] * 20)
    handle = sockets.create_connection(("127.0.0.1", web.port))
    handle.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    handle.sendall(
        f"GET /agents/{agent.pk}/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {token}\r\n\r\n"
        "".encode()
    )
    wait_for(is_status(agent, "ready"), "the agent is connected")
    wait_for(is_status(agent, "offline"), "the agent is given up")
    assert not Delivery.objects.filter(claim__isnull=False).exists()
    with suppress(OSError):
        handle.close()


def test_what_a_killed_server_left_is_cleared_by_the_clockwork(agent: Agent, token: str) -> None:
    seat = connect(agent.pk, AgentToken.objects.get().pk)
    delivery = say(agent, "hello")
    drain.exchange(seat, {}, 4)
    now = timezone.now()
    assert mark_silent(now + timedelta(seconds=60)) == 0
    assert mark_silent(now + timedelta(seconds=90)) == 1
    assert status(agent) == "offline"
    assert fresh(delivery).claim is None


def test_an_agent_that_comes_again_after_a_kill_need_not_wait_for_a_lease(
    web: Web, agent: Agent, token: str
) -> None:
    killed = connect(agent.pk, AgentToken.objects.get().pk)
    say(agent, "hello")
    drain.exchange(killed, {}, 4)
    socket = web.socket(agent, token)
    socket.read()
    assert socket.take(1) == ["hello"]


def test_an_agent_that_is_ready_without_a_connection_is_offline_within_a_minute(
    agent: Agent,
) -> None:
    Agent.objects.filter(pk=agent.pk).update(connection_status=Agent.Status.READY)
    assert mark_silent(timezone.now()) == 1
    assert status(agent) == "offline"
