"""The gateway's end of the WebSocket mode, as docs/agents/websocket.md has it."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from agents import wire
from deliveries.ids import new_id
from tests.agents.conftest import make_message


@dataclass
class SocketGateway:
    """Does what ``play`` says with each connection, and notes every frame that comes."""

    url: str = ""
    status: HTTPStatus | None = None  # of the handshake, if it is to be refused
    plays: list[Callable[[ServerConnection], None]] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    connections: int = 0

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the frames of a type that came."""
        return [frame for frame in self.frames if frame["type"] == kind]

    def greet(self, _connection: ServerConnection, request: Request) -> Response | None:
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.status is None:
            return None
        return _connection.respond(self.status, "no\n")

    def handle(self, connection: ServerConnection) -> None:
        self.connections += 1
        welcome = {"type": "welcome", "protocol": "hermes.v1", "waiting": 1, "concurrency": 4}
        connection.send(json.dumps(welcome))
        try:
            if self.plays:
                self.plays.pop(0)(connection)
            for text in connection:
                self.frames.append(json.loads(text))
        except ConnectionClosed:
            pass


def start(gateway: SocketGateway) -> Server:
    server = serve(gateway.handle, "127.0.0.1", 0, process_request=gateway.greet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
    return server


def frame(**facts: Any) -> dict[str, Any]:
    """Return an event as it is pushed, with a delivery id of its own."""
    message = make_message(**{"id": new_id()} | facts)
    pushed: dict[str, Any] = json.loads(wire.body(message))
    return pushed | {"delivery_id": str(message.id)}


def push(*frames: dict[str, Any]) -> Callable[[ServerConnection], None]:
    def play(connection: ServerConnection) -> None:
        for one in frames:
            connection.send(json.dumps(one))

    return play


def close(code: int, reason: str = "") -> Callable[[ServerConnection], None]:
    return lambda connection: connection.close(code, reason)


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
