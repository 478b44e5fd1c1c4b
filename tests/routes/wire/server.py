"""A real server, and a client that speaks to it byte by byte."""

import hashlib
import hmac
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from itertools import count
from typing import Any, TypeVar

import pytest

from tests.gateway.process import ROOT, Gateway, eventually

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]

T = TypeVar("T")
READ_SECONDS = 1.0
HOLE_SECONDS = 12.0  # longer than an attempt may take
LIMIT = 4096  # bytes, of the route that has one
ROUTE_SECRET = "canary-route-secret-7c1f"
AGENT_SECRET = "canary-agent-secret-52aa"
CHANNEL_SECRET = "whsec_" + "Y2FuYXJ5LWNoYW5uZWwtc2VjcmV0LTAx"
DJANGO_KEY = "canary-secret-key-of-django-0123456789-0123456789-0123456789"
PROVIDER_WORDS = "canary-words-of-the-provider"
BODY = b'{"action":"opened","number":7}'


class Places(BaseHTTPRequestHandler):
    """Somewhere to deliver to: /ok, /broken, and /hole, which never answers in time."""

    arrived: list[str]
    broken = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.arrived.append(self.path)
        if self.path == "/hole":
            time.sleep(HOLE_SECONDS)
        if self.path == "/slow":
            time.sleep(0.5)
        self.send_response(500 if self.path == "/broken" and self.broken else 200)
        self.end_headers()
        self.wfile.write(PROVIDER_WORDS.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass(frozen=True)
class Answer:
    """What came back on one connection, and whether the server then ended it."""

    raw: bytes
    ended: bool
    seconds: float

    @property
    def status(self) -> int:
        """The status of the last answer; an interim 100 comes before it."""
        return self.statuses[-1]

    @property
    def statuses(self) -> list[int]:
        return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3})", self.raw)]

    @property
    def json(self) -> Any:
        return json.loads(self.raw.rpartition(b"\r\n\r\n")[2])

    def header(self, name: str) -> str:
        found = re.search(rf"(?im)^{name}: (.*?)\r$", self.raw.decode("latin-1"))
        return found[1] if found else ""


class Web(Gateway):
    """A gateway's web server alone, as its supervisor would start it."""

    agent = token = ""  # the default agent's id, and a bearer token of it

    def serve(self) -> "Web":
        command = [sys.executable, "-m", "hermes_site.gateway.web"]
        with (self.data / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, str(os.getpid()), "127.0.0.1", str(self.port)],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(self.is_up, 30, "GET /health")
        return self

    def send(self, *parts: bytes, pause: float = 0.0, close: bool = False) -> Answer:
        """Send bytes on a connection of their own; read until the server ends it or is silent."""
        began = time.monotonic()
        received, ended = b"", False
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as wire:
            try:
                for part in parts:
                    wire.sendall(part)
                    time.sleep(pause)
                if close:
                    wire.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has heard enough; what it said is still to be read
            try:
                while not ended:
                    wire.settimeout(5 if not received else 0.2)
                    chunk = wire.recv(65_536)
                    received, ended = received + chunk, not chunk
            except TimeoutError:
                pass
            except ConnectionResetError:
                ended = True
        return Answer(received, ended, time.monotonic() - began)

    def events(self) -> int:
        return int(self.query("SELECT count(*) FROM deliveries_event")[0][0])


ids = count(1)


def signed(body: bytes, secret: str = ROUTE_SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def request(
    *headers: tuple[str, str | bytes],
    body: bytes = BODY,
    path: str | bytes = "/webhooks/wire",
    method: str = "POST",
    version: str = "1.1",
    length: int | None = -1,
    signature: str | bytes | None = "",
    delivery: str | bytes | None = "",
    keep: bool = False,
) -> bytes:
    """Return a request, byte for byte; honest where nothing else is said.

    ``keep`` leaves it to the server whether the connection ends.
    """
    lines: list[tuple[str, str | bytes]] = [("Host", "localhost")]
    if not keep:
        lines.append(("Connection", "close"))
    if length is not None:
        lines.append(("Content-Length", str(len(body) if length < 0 else length)))
    if signature is not None:
        lines.append(("X-Hub-Signature-256", signature or signed(body)))
    if delivery is not None:
        lines.append(("X-GitHub-Delivery", delivery or f"wire-{next(ids)}"))
    start = f"{method} ".encode() + _bytes(path) + f" HTTP/{version}\r\n".encode()
    text = b"".join(_bytes(n) + b": " + _bytes(v) + b"\r\n" for n, v in [*lines, *headers])
    return start + text + b"\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def at_once(number: int, act: Callable[[int], T]) -> list[T]:
    """Do something so many times side by side; return what came of each."""
    found: dict[int, T] = {}
    start = threading.Barrier(number)

    def one(index: int) -> None:
        start.wait()
        found[index] = act(index)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[index] for index in range(number)]


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


ROUTES = f"""
from agents.models import Agent, AgentSecret
from agents.services import issue_token
from platforms.models import Channel
from platforms.services import save_config
from routes.models import Route, RouteSecret

def route(name, **fields):
    made = Route.objects.create(name=name, **{{"rate_limit": 0, **fields}})
    RouteSecret.objects.create(route=made, value={ROUTE_SECRET!r})

def channel(name):
    made = Channel(name=name, kind="webhook")
    save_config(made, {{"url": "PLACES/" + name, "secret": {CHANNEL_SECRET!r}}}, {{}})

route("wire")
route("ten", rate_limit=10)
route("ten-again", rate_limit=10)
route("small", max_body_bytes={LIMIT})
route("off", enabled=False)
for name in ("ok", "broken", "hole", "slow"):
    channel(name)
    route("to-" + name, deliver=name, deliver_only=True)
agent = Agent.objects.get(is_default=True)
AgentSecret.objects.create(agent=agent, value={AGENT_SECRET!r})
result = [str(agent.pk), issue_token(agent)]
"""
