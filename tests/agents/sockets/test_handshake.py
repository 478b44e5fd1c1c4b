"""The handshake of a WebSocket: who is let in, who is told why not."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from agents.models import Agent, AgentToken
from agents.services import issue_token

from .conftest import held_back, make_socket_agent
from .server import Socket, Web

pytestmark = pytest.mark.django_db(transaction=True)


def refusal(connecting: Callable[[], Socket]) -> int:
    with pytest.raises(InvalidStatus) as refused:
        connecting()
    return refused.value.response.status_code


def test_without_a_token_or_with_a_wrong_one_the_handshake_is_refused(
    web: Web, agent: Agent
) -> None:
    assert refusal(lambda: web.socket(agent, "")) == 403
    assert refusal(lambda: web.socket(agent, "hsk_wrong")) == 403
    assert refusal(lambda: web.socket(agent, "", subprotocols=["hermes.v1"])) == 403


def test_another_agents_token_is_refused_like_that_of_an_agent_that_is_not(
    web: Web, agent: Agent
) -> None:
    foreign = issue_token(make_socket_agent("other"))
    assert refusal(lambda: web.socket(agent, foreign)) == 403
    assert refusal(lambda: web.socket(uuid4(), foreign)) == 403
    agent.refresh_from_db()
    assert agent.connection_status == "offline"


def test_a_token_that_has_expired_is_refused(web: Web, agent: Agent, token: str) -> None:
    AgentToken.objects.update(not_after=timezone.now() - timedelta(seconds=1))
    assert refusal(lambda: web.socket(agent, token)) == 403


def test_there_are_no_sockets_elsewhere(web: Web, agent: Agent, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{web.port}/admin/", additional_headers=headers).__enter__()
    assert refused.value.response.status_code == 403


def test_a_browser_gives_its_token_as_a_subprotocol_and_does_not_get_it_back(
    web: Web, agent: Agent, token: str
) -> None:
    offered = ["hermes.v1", f"hermes.bearer.{token}"]
    socket = web.socket(agent, "", subprotocols=offered)
    assert socket.wire.subprotocol == "hermes.v1"
    assert socket.read()["type"] == "welcome"


@pytest.mark.parametrize("mode", [Agent.Mode.WEBHOOK, Agent.Mode.PULL])
def test_an_agent_in_another_mode_is_told_so(web: Web, agent: Agent, token: str, mode: str) -> None:
    Agent.objects.filter(pk=agent.pk).update(connection_mode=mode)
    assert web.socket(agent, token).closed() == (4002, f"The agent is switched to {mode}.")


def test_a_suspended_agent_is_told_so(web: Web, agent: Agent, token: str) -> None:
    Agent.objects.filter(pk=agent.pk).update(suspended_at=timezone.now())
    assert web.socket(agent, token).closed()[0] == 4004


def test_the_welcome_says_who_how_many_wait_and_what_is_expected(
    web: Web, agent: Agent, token: str
) -> None:
    held_back(agent, "one", "two")
    assert web.socket(agent, token).read() == {
        "type": "welcome",
        "protocol": "hermes.v1",
        "agent_id": str(agent.pk),
        "waiting": 2,
        "concurrency": 4,
        "heartbeat_seconds": 25,
        "ack_seconds": 60,
    }
