"""A gateway as an agent sees it: signs, keeps objects, notes what is said."""

import base64
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

from agents import envelope, wire
from agents.models import Agent
from deliveries.ids import new_id
from deliveries.outcomes import Message
from tests.agents.conftest import SECRET, make_message
from vault.signing import signing_keys

AGENT_ID = UUID("01930b1e-7900-7000-8000-000000000009")
TOKEN = "hsk_token"


@dataclass
class Gateway:
    """What it answers, and what it was asked."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    too_many: int = 0  # how many requests for an object are answered 429 first
    away: bool = False
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        if self.away:
            return 503, {}
        if path.startswith("/r2/"):
            self.too_many -= 1
            if self.too_many >= 0:
                return 429, {}
            key = path.removeprefix("/r2/")
            return (200, self.objects[key]) if key in self.objects else (404, {})
        match path.removeprefix(f"/agents/{AGENT_ID}/"):
            case "connection/recover":
                return 200, {"status": "ready", "pending_count": 3}
            case "messages":
                return 202, {"event_id": "e1"}
            case "public-key":
                keys = [base64.b64encode(key.public).decode() for key in signing_keys()]
                return 200, {"gateway_keys": [{"public_key": key} for key in keys]}
            case "tokens/rotate":
                return 201, {"token": "hsk_new"}
        return 404, {}

    def said(self) -> list[Any]:
        """Return what was posted to conversations."""
        return [body for _method, path, body in self.asked if path.endswith("/messages")]

    def count(self, path: str) -> int:
        return sum(asked.endswith(path) for _method, asked, _body in self.asked)


def serve(gateway: Gateway) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            allowed = self.headers.get("Authorization", "").startswith("Bearer hsk_")
            asked = json.loads(raw) if raw else None
            status, content = (
                gateway.answer(self.command, self.path, asked) if allowed else (401, {})
            )
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_any

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    gateway.url = f"http://127.0.0.1:{server.server_port}"
    return server


def delivery(
    agent: Agent | None = None, *, age: int = 0, **facts: Any
) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a delivery, each with an id of its own."""
    message = make_message(**{"id": new_id()} | facts)
    body = wire.body_for(message, agent) if agent else wire.body(message)
    return signed(message, body, age=age), body


def signed(message: Message, body: bytes, *, age: int = 0) -> dict[str, str]:
    return wire.headers(
        secret=SECRET,
        agent_id=AGENT_ID,
        delivery_id=message.id,
        body=body,
        timestamp=int(time.time()) - age,
    )


def referred(gateway: Gateway, **facts: Any) -> tuple[dict[str, str], bytes]:
    """Return a delivery whose envelope is an object of the gateway."""
    message = make_message(**{"id": new_id()} | facts)
    content = envelope.content(message)
    gateway.objects["abc123"] = content
    frame = json.loads(wire.body(message))
    ref = {"type": "r2", "object_key": "ref://abc123", "size": len(content)}
    frame |= {"wire_envelope": None, "ref": ref | {"content_type": "application/octet-stream"}}
    body = json.dumps(frame).encode()
    return signed(message, body), body
