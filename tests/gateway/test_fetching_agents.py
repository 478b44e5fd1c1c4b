"""Agents that come by themselves, and the processes they talk to: kills and stops."""

import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import MakeGateway
from tests.gateway.process import Gateway, eventually, free_port

pytestmark = pytest.mark.processes

WEB = "hermes_site.gateway.web"

MAKE = """
from agents.models import Agent
from agents.services import issue_token
agent = Agent.objects.create(name="{mode}", connection_mode="{mode}")
result = [str(agent.pk), issue_token(agent)]
"""
SAY = """
from agents.models import Agent
from agents.services.events import emit
agent = Agent.objects.get(pk="{agent}")
for number in range({count}):
    emit(agent, "message.new", {{"type": "text", "text": str(number)}})
result = [str(pk) for pk in agent.lane.deliveries.order_by("id").values_list("pk", flat=True)]
"""


def make_agent(gateway: Gateway, mode: str) -> tuple[str, str]:
    agent, token = gateway.python(MAKE.format(mode=mode))
    return agent, token


def connected(gateway: Gateway, agent: str, token: str) -> ClientConnection:
    headers = {"Authorization": f"Bearer {token}"}
    address = f"ws://127.0.0.1:{gateway.port}/agents/{agent}/ws"
    return connect(address, additional_headers=headers, close_timeout=1).__enter__()


def read(socket: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(socket.recv(timeout=10))
    return frame


def statuses(gateway: Gateway, agent: str) -> set[str]:
    rows = gateway.python(
        "from deliveries.models import Delivery; from agents.models import Agent\n"
        f"lane = Agent.objects.get(pk='{agent}').lane_id\n"
        "result = list(Delivery.objects.filter(lane=lane).values_list('status', flat=True))"
    )
    return set(rows)


@pytest.mark.both_databases
def test_a_killed_web_server_loses_nothing_that_was_out_to_a_socket(gateway: Gateway) -> None:
    agent, token = make_agent(gateway, "websocket")
    socket = connected(gateway, agent, token)
    assert read(socket)["type"] == "welcome"
    made = gateway.python(SAY.format(agent=agent, count=8))
    out = [read(socket)["delivery_id"] for _delivery in range(4)]
    assert out == made[:4]
    socket.send(json.dumps({"type": "ack", "delivery_id": out[0]}))
    assert read(socket)["delivery_id"] == made[4]  # so the acknowledgement is written

    for pid in gateway.pids(WEB):
        gateway.kill(pid)
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=10)
    eventually(gateway.is_up, 15, "a new web server")

    socket = connected(gateway, agent, token)
    assert read(socket)["waiting"] == 7
    arrived = []
    while len(arrived) < 7:
        arrived.append(read(socket)["delivery_id"])
        socket.send(json.dumps({"type": "ack", "delivery_id": arrived[-1]}))
    assert arrived == made[1:]
    eventually(lambda: statuses(gateway, agent) == {"delivered"}, 10, "all are delivered")


def test_a_stop_ends_sockets_and_requests_that_wait(make_gateway: MakeGateway) -> None:
    gateway = make_gateway().start().wait_healthy()
    agent, token = make_agent(gateway, "websocket")
    puller, pull_token = make_agent(gateway, "pull")
    socket = connected(gateway, agent, token)
    read(socket)
    [made] = gateway.python(SAY.format(agent=agent, count=1))
    assert read(socket)["delivery_id"] == made
    asked = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    headers = {"Authorization": f"Bearer {pull_token}"}
    asked.request("GET", f"/agents/{puller}/deliveries?wait=60", headers=headers)
    time.sleep(0.5)

    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < 10
    assert json.load(asked.getresponse())["deliveries"] == []
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=5)
    assert "Traceback" not in gateway.log
    left = gateway.query("SELECT connection_status FROM agents_agent WHERE name = 'websocket'")
    assert left == [("offline",)]
    assert gateway.query("SELECT count(*) FROM deliveries_delivery WHERE claim IS NOT NULL") == [
        (0,)
    ]


# How long it takes until a socket that was replaced elsewhere is closed, six times.
REPLACED = """
import time
from uuid import uuid4
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from agents.models import Connection
from agents.services.presence import announce
result = []
for _round in range(6):
    with connect("{address}", additional_headers={{"Authorization": "Bearer {token}"}}) as socket:
        socket.recv()
        time.sleep(0.2)
        Connection.objects.filter(agent="{agent}").update(token=uuid4())
        began = time.monotonic()
        announce("{agent}")
        try:
            socket.recv(timeout=5)
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 4001
        result.append(time.monotonic() - began)
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on this machine")
    port = free_port()
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    yield f"redis://127.0.0.1:{port}/0", server
    server.kill()
    server.wait()


def test_with_redis_other_processes_reach_a_socket_and_without_it_the_socket_stays(
    make_gateway: MakeGateway, redis: tuple[str, "subprocess.Popen[bytes]"]
) -> None:
    url, server = redis
    gateway = make_gateway(REDIS_URL=url).start().wait_healthy()
    agent, token = make_agent(gateway, "websocket")
    address = f"ws://127.0.0.1:{gateway.port}/agents/{agent}/ws"
    took = gateway.python(REPLACED.format(agent=agent, token=token, address=address))
    # Without Redis it is up to a second each time, until the socket looks at its row.
    assert max(took) < 0.5

    socket = connected(gateway, agent, token)
    read(socket)
    server.kill()
    made = gateway.python(SAY.format(agent=agent, count=1))
    assert read(socket)["delivery_id"] == made[0]
    eventually(lambda: "no hints from others" in gateway.log, 10, "a word of it in the log")
    socket.send(json.dumps({"type": "ping"}))
    assert read(socket)["type"] == "pong"
