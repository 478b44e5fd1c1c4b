"""Three agents go down, are given up after the whole ladder, and are taken back, each by a door.

One story, told once: what waited arrives once per id and in order when the SDK starts, when a
person posts the admin's form, and when the agent is switched to WebSocket.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

from agent_sdk import InboundMessage, WebhookDispatcher, http_server
from agent_sdk.dispatcher import Response
from deliveries.ladder import AGENT_LADDER
from tests.gateway.process import LOGIN, Gateway, eventually, free_port

from . import ledger
from .connecting import SECRET, add_route, connect
from .receiver import Receiver
from .senders import PULL_REQUEST, github

pytestmark = pytest.mark.processes

STARTED, CLICKED, SWITCHED = "started", "clicked", "switched"
AGENTS = (STARTED, CLICKED, SWITCHED)
WAITING = 3  # deliveries of each: one that climbed, and two that came when nobody listened


class Admin:
    """A person's session in the admin, of HTTP alone."""

    def __init__(self, gateway: Gateway) -> None:
        self._url = gateway.url
        self._session = requests.Session()
        self.post("/admin/login/?next=/admin/", username=LOGIN, password=gateway.password)

    def read(self, path: str) -> str:
        """Return a page."""
        answer = self._session.get(f"{self._url}{path}", timeout=10)
        answer.raise_for_status()
        return answer.text

    def post(self, path: str, **fields: str) -> str:
        """Open a form and send it; return the page that this leads to."""
        [token] = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', self.read(path)))
        data = {"csrfmiddlewaretoken": token, **fields}
        answer = self._session.post(f"{self._url}{path}", data, timeout=10)
        answer.raise_for_status()
        return answer.text


class Counting(WebhookDispatcher):
    """The SDK's dispatcher, and every id that reached it, before anything is deduplicated."""

    def __init__(self, **options: Any) -> None:
        self.arrivals: list[str] = []
        super().__init__(**options)

    def handle(self, headers: Mapping[str, str], body: bytes | str) -> Response:
        self.arrivals.append(headers["X-Hashee-Delivery-Id"])
        return super().handle(headers, body)


@dataclass
class Story:
    """What came of it, by agent."""

    gateway: Gateway
    ports: dict[str, int]
    given: dict[str, dict[str, str]] = field(default_factory=dict)
    climbed: dict[str, list[float]] = field(default_factory=dict)
    # After the climb and before anybody took an agent back.
    meanwhile: dict[str, dict[str, str]] = field(default_factory=dict)
    arrivals: dict[str, list[str]] = field(default_factory=dict)
    taken: list[InboundMessage] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    proposal: dict[str, Any] = field(default_factory=dict)

    def until_delivered(self, name: str) -> None:
        def delivered() -> bool:
            statuses = list(ledger.by_lane(self.gateway, name).values())
            return statuses == ["delivered"] * WAITING

        eventually(delivered, 20, f"what waited for {name}")

    def status(self, name: str) -> str:
        statement = "SELECT connection_status FROM agents_agent WHERE name = ?"
        [(status,)] = self.gateway.query(statement, (name,))
        return str(status)

    def log(self, name: str) -> list[dict[str, Any]]:
        """Return the delivery log as the agent reads it."""
        lines: list[dict[str, Any]] = self.call("get", name, "delivery-logs?limit=50").json()
        return lines

    def call(self, method: str, name: str, path: str, body: Any = None) -> requests.Response:
        """Call the REST interface with the agent's own token."""
        made = self.given[name]
        url = f"{self.gateway.url}/agents/{made['id']}/{path}"
        headers = {"Authorization": f"Bearer {made['token']}"}
        answer = requests.request(method, url, json=body, headers=headers, timeout=10)
        answer.raise_for_status()
        return answer


def socket_of(story: Story, name: str) -> ClientConnection:
    made = story.given[name]
    address = f"ws://127.0.0.1:{story.gateway.port}/agents/{made['id']}/ws"
    headers = {"Authorization": f"Bearer {made['token']}"}
    return open_socket(address, additional_headers=headers, close_timeout=1)


def go_down(story: Story) -> None:
    """Let each agent's first delivery climb to the end, start the gateway, and post two more."""
    gateway = story.gateway
    for name in AGENTS:
        url = f"http://127.0.0.1:{story.ports[name]}/hashee/webhook"
        story.given[name] = connect(gateway, url, name)
        add_route(gateway, name, name)
    code = f"from tests.end_to_end.climbing import climb\nresult = climb(*{AGENTS!r})"
    story.climbed = gateway.python(code)

    gateway.start().wait_healthy()
    for name in AGENTS * (WAITING - 1):
        headers = github("pull_request", PULL_REQUEST, gateway.settings["WEBHOOK_SECRET"])
        assert gateway.post(f"/webhooks/{name}", PULL_REQUEST, headers)[0] == 202
    time.sleep(1)  # for a runner that would send them all the same
    story.meanwhile = {name: ledger.by_lane(gateway, name) for name in AGENTS}


def start_the_sdk(story: Story) -> None:
    """Start an agent of the SDK where nobody listened: it recovers by itself."""
    made = story.given[STARTED]
    dispatcher = Counting(
        agent_id=made["id"],
        token=made["token"],
        secret=SECRET,
        base_url=story.gateway.url,
        on_message=story.taken.append,
    )
    server = http_server(dispatcher, story.ports[STARTED], "127.0.0.1")
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        story.until_delivered(STARTED)
    finally:
        server.shutdown()
        server.server_close()
    story.arrivals[STARTED] = dispatcher.arrivals


def recover_in_the_admin(story: Story) -> None:
    """Start an agent that only counts, and post the admin's form as a browser would."""
    agent = Receiver(story.ports[CLICKED])
    try:
        admin = Admin(story.gateway)
        path = f"/admin/agents/agent/{story.given[CLICKED]['id']}"
        story.pages["before"] = admin.read(f"{path}/recover/")
        story.pages["after"] = admin.post(f"{path}/recover/")
        story.until_delivered(CLICKED)
    finally:
        agent.close()
    story.arrivals[CLICKED] = agent.arrivals


def switch_to_websocket(story: Story) -> None:
    """Let the agent propose and a person confirm; then connect, and acknowledge what comes."""
    answer = story.call("post", SWITCHED, "connection/switch", {"mode": "websocket"})
    story.proposal = answer.json()
    admin = Admin(story.gateway)
    artifact_id = story.proposal["artifact_id"]
    story.pages["switched"] = admin.post(
        f"/admin/agents/artifact/{artifact_id}/decide/", decision="confirm"
    )
    story.proposal["state after"] = story.call("get", SWITCHED, f"artifacts/{artifact_id}").json()[
        "state"
    ]
    arrivals: list[str] = []
    with socket_of(story, SWITCHED) as socket:
        assert json.loads(socket.recv(timeout=10))["waiting"] == WAITING
        while len(arrivals) < WAITING:
            frame = json.loads(socket.recv(timeout=10))
            assert json.loads(base64.b64decode(frame["wire_envelope"]))["payload"]["text"]
            arrivals.append(frame["delivery_id"])
            socket.send(json.dumps({"type": "ack", "delivery_id": frame["delivery_id"]}))
        story.until_delivered(SWITCHED)
        with pytest.raises(TimeoutError):
            socket.recv(timeout=1)  # nothing comes twice
        assert story.status(SWITCHED) == "ready"
    story.arrivals[SWITCHED] = arrivals


@pytest.fixture(scope="module")
def story(prepared: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    gateway = Gateway(
        tmp_path_factory.mktemp("life") / "data", prepared, OUTBOUND_ALLOW_PRIVATE="true"
    )
    story = Story(gateway, {name: free_port() for name in AGENTS})
    try:
        go_down(story)
        assert [story.status(name) for name in AGENTS] == ["unreachable"] * len(AGENTS)
        start_the_sdk(story)
        recover_in_the_admin(story)
        switch_to_websocket(story)
        yield story
    finally:
        gateway.clean_up()


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_that_is_down_is_tried_on_every_rung(story: Story, name: str) -> None:
    waits = [round(after - before) for before, after in pairwise(story.climbed[name])]
    assert waits == list(AGENT_LADDER.rungs)


@pytest.mark.parametrize("name", AGENTS)
def test_what_comes_for_an_unreachable_agent_waits(story: Story, name: str) -> None:
    assert list(story.meanwhile[name].values()) == ["pending"] * WAITING


@pytest.mark.parametrize("name", AGENTS)
def test_everything_arrives_once_per_id_and_in_order(story: Story, name: str) -> None:
    assert story.arrivals[name] == list(story.meanwhile[name])


@pytest.mark.parametrize("name", AGENTS)
def test_the_log_tells_the_climb_and_the_end(story: Story, name: str) -> None:
    lines = story.log(name)[::-1]
    assert [line["delivery_id"] for line in lines] == list(story.meanwhile[name])
    assert [line["final_status"] for line in lines] == ["delivered"] * WAITING
    tries = len(AGENT_LADDER.rungs) + 1
    assert [line["attempt_count"] for line in lines] == [tries + 1, 1, 1]


def test_the_sdk_hands_each_message_to_its_handler(story: Story) -> None:
    assert [message.delivery_id for message in story.taken] == story.arrivals[STARTED]
    assert all(message.text.startswith("PR #") for message in story.taken)


def test_the_admin_says_what_waits_and_what_is_on_its_way(story: Story) -> None:
    assert f"send the {WAITING} deliveries that wait" in story.pages["before"]
    assert f"{WAITING} deliveries are on their way" in story.pages["after"]


def test_a_switch_is_proposed_and_changes_nothing_until_it_is_confirmed(story: Story) -> None:
    assert story.proposal["state"] == "open"
    assert "webhook" in story.proposal["change"]["now"].lower()
    assert "websocket" in story.proposal["change"]["then"].lower()
    assert story.proposal["state after"] == "confirmed"


def test_who_went_offline_is_told_so_by_its_status(story: Story) -> None:
    assert [story.status(name) for name in AGENTS[:2]] == ["ready", "ready"]
    eventually(lambda: story.status(SWITCHED) == "offline", 5, "the end of the socket is noted")


def test_nobody_connects_with_the_token_of_another(story: Story) -> None:
    story.given["foreign"] = {"id": story.given[STARTED]["id"]} | {
        "token": story.given[SWITCHED]["token"]
    }
    with pytest.raises(InvalidStatus, match="403"):
        socket_of(story, "foreign")


def test_no_process_of_the_gateway_complained(story: Story) -> None:
    assert "Traceback" not in story.gateway.log
