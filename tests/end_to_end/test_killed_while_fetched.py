"""kill -9 of the web server between what an agent fetched and what it said of it.

One story, told once. The server is stopped before the agents answer, so that their words reach the
machine and nobody reads them, and then killed: by socket and by pull everything comes again under
its id. Before that, many sockets of one agent come at the same moment, and one of them stays.
"""

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.gateway.process import Gateway, eventually

from . import ledger

pytestmark = pytest.mark.processes

WEB = "hermes_site.gateway.web"
SHORTEST_LEASE = 10  # seconds
CROWD = 8
REPLACED = 4001

MAKE = """
from agents.models import Agent
from agents.services import issue_token
result = {}
for mode in ("websocket", "pull"):
    agent = Agent.objects.create(name=mode, connection_mode=mode)
    result[mode] = [str(agent.pk), issue_token(agent)]
"""
SAY = """
from agents.models import Agent
from agents.services.events import emit
for name in {names!r}:
    agent = Agent.objects.get(name=name)
    for number in range({count}):
        emit(agent, "message.new", {{"type": "text", "text": str(number)}})
"""


@dataclass
class Fetching:
    """An agent that fetches, and everything that it got, in order."""

    gateway: Gateway
    agent_id: str
    token: str
    got: list[str] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}

    def open(self) -> ClientConnection:
        """Open a socket and read the welcome."""
        address = f"ws://127.0.0.1:{self.gateway.port}/agents/{self.agent_id}/ws"
        options: dict[str, Any] = {"additional_headers": self.headers, "close_timeout": 1}
        socket: ClientConnection = connect(address, **options).__enter__()
        with contextlib.ExitStack() as undo:
            undo.callback(socket.close)
            assert json.loads(socket.recv(timeout=10))["type"] == "welcome"
            undo.pop_all()
        return socket

    def read(self, socket: ClientConnection) -> str:
        """Return the next delivery's id."""
        self.got.append(json.loads(socket.recv(timeout=15))["delivery_id"])
        return self.got[-1]

    def pull(self, wait: int = 0) -> list[str]:
        """Lease what there is, for the shortest time that there is."""
        path = f"deliveries?limit=2&lease={SHORTEST_LEASE}&wait={wait}"
        with contextlib.closing(self.send("GET", path)) as connection:
            batch = json.load(connection.getresponse())["deliveries"]
        self.got += [delivery["delivery_id"] for delivery in batch]
        return [delivery["delivery_id"] for delivery in batch]

    def acknowledge(self, *ids: str) -> list[str]:
        """Acknowledge by REST; return what was noted."""
        with contextlib.closing(self.send("POST", "deliveries/ack", ids)) as connection:
            noted: list[str] = json.load(connection.getresponse())["acknowledged"]
            return noted

    def send(self, method: str, path: str, ids: Any = None) -> HTTPConnection:
        """Send a request without reading its answer."""
        connection = HTTPConnection("127.0.0.1", self.gateway.port, timeout=40)
        body = None if ids is None else json.dumps({"ids": ids})
        connection.request(method, f"/agents/{self.agent_id}/{path}", body, self.headers)
        return connection


def say_ack(socket: ClientConnection, delivery_id: str) -> None:
    socket.send(json.dumps({"type": "ack", "delivery_id": delivery_id}))


@dataclass
class Story:
    """What came of it; deliveries by id, oldest first."""

    gateway: Gateway
    endings: list[int] = field(default_factory=list)
    crowd: dict[str, str] = field(default_factory=dict)
    socket: Fetching | None = None
    puller: Fetching | None = None
    unread: list[str] = field(default_factory=list)


def crowd(story: Story, agent: Fetching) -> None:
    """Let many sockets come at once; each acknowledges what it gets until it has to go."""
    story.gateway.python(SAY.format(names=("websocket",), count=3 * CROWD))
    together, over = threading.Barrier(CROWD), threading.Event()

    def listen() -> None:
        together.wait()
        try:
            with agent.open() as socket:
                while not over.is_set():
                    with contextlib.suppress(TimeoutError):
                        frame = json.loads(socket.recv(timeout=0.2))
                        if "delivery_id" in frame:
                            say_ack(socket, frame["delivery_id"])
        except ConnectionClosed as closed:
            story.endings.append(closed.rcvd.code if closed.rcvd else 0)

    sockets = [threading.Thread(target=listen) for _ in range(CROWD)]
    for each in sockets:
        each.start()

    def quiet() -> bool:
        statuses = set(ledger.by_lane(story.gateway, "websocket").values())
        return statuses == {"delivered"} and len(story.endings) == CROWD - 1

    try:
        eventually(quiet, 20, "one socket that stays and has everything")
    finally:
        over.set()
        for each in sockets:
            each.join()
    story.crowd = ledger.by_lane(story.gateway, "websocket")


def be_killed(story: Story, by_socket: Fetching, by_pull: Fetching) -> None:
    """Fetch, stop the server, acknowledge, and kill it; then fetch again."""
    gateway = story.gateway
    gateway.python(SAY.format(names=("websocket", "pull"), count=2))
    socket = by_socket.open()
    out = [by_socket.read(socket) for _ in range(2)]
    first, second = by_pull.pull()
    web = gateway.pids(WEB)
    for pid in web:
        gateway.kill(pid, signal.SIGSTOP)
    for delivery_id in out:
        say_ack(socket, delivery_id)
    unread = by_pull.send("POST", "deliveries/ack", [second])
    for pid in web:
        gateway.kill(pid)
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=10)
    unread.close()
    eventually(gateway.is_up, 20, "a new web server")
    story.unread = [*out, second]

    assert by_pull.acknowledge(first) == [first]
    socket = by_socket.open()
    for _ in range(2):
        say_ack(socket, by_socket.read(socket))
    by_pull.acknowledge(*by_pull.pull(wait=2 * SHORTEST_LEASE))
    unfinished = "SELECT id FROM deliveries_delivery WHERE pending_lane IS NOT NULL"
    eventually(lambda: not gateway.query(unfinished), 10, "the end of all deliveries")
    socket.close()


@pytest.fixture(scope="module")
def story(prepared: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    gateway = Gateway(tmp_path_factory.mktemp("fetched") / "data", prepared)
    story = Story(gateway)
    try:
        made = gateway.python(MAKE)
        gateway.start().wait_healthy()
        story.socket = Fetching(gateway, *made["websocket"])
        story.puller = Fetching(gateway, *made["pull"])
        crowd(story, story.socket)
        be_killed(story, story.socket, story.puller)
        yield story
    finally:
        gateway.clean_up()


def test_of_many_sockets_at_once_one_stays_and_the_others_are_told(story: Story) -> None:
    assert story.endings == [REPLACED] * (CROWD - 1)


def test_no_delivery_is_lost_between_many_sockets(story: Story) -> None:
    assert list(story.crowd.values()) == ["delivered"] * 3 * CROWD


def test_what_a_socket_acknowledged_to_nobody_comes_again_under_its_id_in_order(
    story: Story,
) -> None:
    assert story.socket
    out = [pk for pk in ledger.by_lane(story.gateway, "websocket") if pk not in story.crowd]
    assert story.socket.got == out * 2


def test_what_was_pulled_and_acknowledged_to_nobody_comes_again_when_its_lease_is_over(
    story: Story,
) -> None:
    assert story.puller
    first, second = ledger.by_lane(story.gateway, "pull")
    # The first was acknowledged after the kill, within its lease.
    assert story.puller.got == [first, second, second]


def test_the_attempt_that_nobody_heard_of_is_told_as_interrupted(story: Story) -> None:
    marks = ",".join("?" * len(story.unread))
    found = story.gateway.query(
        "SELECT a.delivery_id, a.number, a.verdict, a.error_class FROM deliveries_attempt a "
        f"WHERE a.delivery_id IN ({marks}) ORDER BY a.delivery_id, a.number",
        tuple(pk.replace("-", "") for pk in story.unread),
    )
    told: dict[str, list[Any]] = {ledger.text_of(pk): [] for pk, *_rest in found}
    for pk, *attempt in found:
        told[ledger.text_of(pk)].append(tuple(attempt))
    assert told == {pk: [(1, "retry", "interrupted"), (2, "delivered", "")] for pk in story.unread}
