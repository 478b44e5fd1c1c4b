"""The gateway's own ASGI application on a port of loopback, in a thread of the test."""

import asyncio
import json
import threading
from base64 import b64decode
from contextlib import ExitStack
from functools import partial
from typing import Any
from uuid import UUID

import requests
from django.db import connection
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from agents.models import Agent
from agents.sockets import threads
from tests.gateway.process import eventually, free_port


class Web:
    """The server; `stop` it, and all it began is over."""

    def __init__(self) -> None:
        from hermes_site.asgi import application

        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._application = application
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Any = None
        self._sockets = ExitStack()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        eventually(self._answers, 10, "an answer of the server")

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = Server(
            self._application,
            address="127.0.0.1",
            port=self.port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            log_enabled=False,
        )
        await self._server.serve()

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=2).status_code == 200
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        """Stop, and let go of the database."""
        assert self._loop
        self._sockets.close()
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(15)
        assert not self._thread.is_alive()
        all_there = threading.Barrier(threads.THREADS)

        def close() -> None:
            all_there.wait(10)
            connection.close()

        for done in [threads._pool.submit(close) for _ in range(threads.THREADS)]:
            done.result(10)

    def socket(self, agent: Agent | UUID, token: str, **options: Any) -> "Socket":
        """Connect as an agent; the token goes in the header unless ``subprotocols`` are given."""
        pk = agent.pk if isinstance(agent, Agent) else agent
        if "subprotocols" not in options and token:
            options["additional_headers"] = {"Authorization": f"Bearer {token}"}
        address = f"ws://127.0.0.1:{self.port}/agents/{pk}/ws"
        return Socket(self._sockets.enter_context(connect(address, close_timeout=1, **options)))


class Socket:
    """An agent's end of a connection."""

    def __init__(self, wire: ClientConnection) -> None:
        self.wire = wire

    def read(self, seconds: float = 5) -> dict[str, Any]:
        """Return the next frame; raise TimeoutError when none comes."""
        frame: dict[str, Any] = json.loads(self.wire.recv(timeout=seconds))
        return frame

    def write(self, **frame: Any) -> None:
        """Send a frame."""
        self.wire.send(json.dumps(frame))

    def texts(self, count: int) -> list[str]:
        """Return the texts of the next events, unacknowledged."""
        return [text_of(self.read()) for _event in range(count)]

    def take(self, count: int) -> list[str]:
        """Acknowledge each of the next events; return their texts."""
        texts = []
        for _event in range(count):
            frame = self.read()
            self.write(type="ack", delivery_id=frame["delivery_id"])
            texts.append(text_of(frame))
        return texts

    def silent(self, seconds: float = 0.5) -> bool:
        """Return whether nothing comes for so long."""
        try:
            self.read(seconds)
        except TimeoutError:
            return True
        return False

    def closed(self, seconds: float = 5) -> tuple[int, str]:
        """Read on until the connection is closed; return code and reason."""
        for frame in iter(partial(self._read_or_end, seconds), None):
            assert frame
        assert self.wire.close_code, "the connection is open"
        return self.wire.close_code, self.wire.close_reason or ""

    def _read_or_end(self, seconds: float) -> dict[str, Any] | None:
        try:
            return self.read(seconds)
        except ConnectionClosed:
            return None

    def close(self) -> None:
        """Close the connection."""
        self.wire.close()


def text_of(frame: dict[str, Any]) -> str:
    """Return what the envelope of an event says."""
    text: str = json.loads(b64decode(frame["wire_envelope"]))["payload"]["text"]
    return text
