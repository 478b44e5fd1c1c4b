"""Requests that wait for a delivery, over real connections."""

import socket as sockets
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import requests

from agents.models import Agent
from agents.services import issue_token
from agents.sockets import lookout
from deliveries import wake
from deliveries.models import Delivery
from deliveries.record import write

from .conftest import make_socket_agent, rows, say, wait_for
from .server import Web

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    return make_socket_agent("puller", connection_mode=Agent.Mode.PULL)


def ask(web: Web, agent: Agent, token: str, wait: int = 20, **query: Any) -> requests.Response:
    return requests.get(
        f"{web.url}/agents/{agent.pk}/deliveries",
        params={"wait": wait, **query},
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )


def in_background(*args: Any, times: int = 1) -> "list[Future[requests.Response]]":
    """Ask, and return when all of the requests wait."""
    before = len(lookout._watchers)
    pool = ThreadPoolExecutor(times)
    futures = [pool.submit(ask, *args) for _request in range(times)]
    pool.shutdown(wait=False)
    wait_for(lambda: len(lookout._watchers) == before + times, "the requests wait")
    return futures


def ids(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [delivery["delivery_id"] for delivery in answer.json()["deliveries"]]


def test_what_waits_is_answered_at_once(web: Web, agent: Agent, token: str) -> None:
    delivery = say(agent, "hello")
    began = time.monotonic()
    assert ids(ask(web, agent, token)) == [str(delivery.pk)]
    assert time.monotonic() - began < 1


def test_a_request_is_answered_as_soon_as_something_comes(
    web: Web, agent: Agent, token: str
) -> None:
    [asked] = in_background(web, agent, token)
    delivery = say(agent, "hello")
    began = time.monotonic()
    assert ids(asked.result(5)) == [str(delivery.pk)]
    assert time.monotonic() - began < 0.5


def test_what_another_machine_commits_is_found_without_a_hint(
    web: Web, agent: Agent, token: str
) -> None:
    [asked] = in_background(web, agent, token)
    event, new = rows(agent, "from afar")
    write([event], [new])
    assert ids(asked.result(5)) == [str(new.id)]


def test_a_request_whose_time_is_up_is_answered_with_nothing(
    web: Web, agent: Agent, token: str
) -> None:
    began = time.monotonic()
    assert ids(ask(web, agent, token, wait=1)) == []
    assert 0.9 < time.monotonic() - began < 3
    agent.refresh_from_db()
    assert agent.connection_status == "ready"


def test_of_two_that_wait_one_gets_it_and_the_other_waits_on(
    web: Web, agent: Agent, token: str
) -> None:
    [first] = in_background(web, agent, token)
    [second] = in_background(web, agent, token)
    one = say(agent, "one")
    assert ids(first.result(5)) == [str(one.pk)]
    time.sleep(0.3)
    assert not second.done()
    two = say(agent, "two")
    assert ids(second.result(5)) == [str(two.pk)]


def test_a_hundred_that_wait_hold_no_thread(web: Web, agent: Agent, token: str) -> None:
    ours = threading.active_count()
    waiting = in_background(web, agent, token, times=100)
    # Each of these has a thread of the test, and the lookout is one.
    assert threading.active_count() - ours - 100 <= 8
    wake.stop()  # as the supervisor does when it stops
    assert [ids(asked.result(10)) for asked in waiting] == [[]] * 100


def test_who_leaves_while_waiting_is_forgotten_and_gets_nothing(
    web: Web, agent: Agent, token: str
) -> None:
    connection = sockets.create_connection(("127.0.0.1", web.port))
    connection.sendall(
        f"GET /agents/{agent.pk}/deliveries?wait=20 HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    wait_for(lambda: lookout._watchers, "the request waits")
    connection.close()
    wait_for(lambda: not lookout._watchers, "nobody waits")
    say(agent, "hello")
    time.sleep(0.2)
    assert Delivery.objects.get().attempt_count == 0


@pytest.mark.parametrize("wait", ["61", "-1", "x", "1e1"])
def test_a_wait_out_of_bounds_is_told_at_once(
    web: Web, agent: Agent, token: str, wait: str
) -> None:
    answer = ask(web, agent, token, wait=wait)  # type: ignore[arg-type]
    assert (answer.status_code, list(answer.json())) == (400, ["wait"])


def test_who_may_not_pull_does_not_wait(web: Web, agent: Agent, token: str) -> None:
    began = time.monotonic()
    assert ask(web, agent, "hsk_wrong").status_code == 401
    assert ask(web, agent, issue_token(make_socket_agent("other"))).status_code == 404
    Agent.objects.filter(pk=agent.pk).update(connection_mode=Agent.Mode.WEBSOCKET)
    assert ask(web, agent, token).status_code == 409
    assert time.monotonic() - began < 3
