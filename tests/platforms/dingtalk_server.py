"""DingTalk's side of everything: the gateway, the stream, the session webhooks, the OpenAPI."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

FIXTURES = Path(__file__).parents[1] / "fixtures" / "dingtalk"
TOPIC = "/v1.0/im/bot/messages/get"
SILENT = logging.getLogger("tests.dingtalk")
SILENT.disabled = True


@dataclass(frozen=True)
class Call:
    """One request to the API or to a session webhook."""

    path: str
    query: dict[str, list[str]]
    body: Any


@dataclass
class DingTalkServer:
    """Remembers what it was asked; ``refuses`` is the answer to who wants to open a stream."""

    url: str = ""
    endpoint: str = ""
    calls: list[Call] = field(default_factory=list)
    refuses: tuple[int, dict[str, Any]] | None = None
    sessions: dict[str, float] = field(default_factory=dict)  # until when, by their names
    tickets: set[str] = field(default_factory=set)
    streams: list[ServerConnection] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)  # to frames, by message id
    knocks: list[float] = field(default_factory=list)  # when a stream was asked for

    def posts(self, path: str) -> list[Call]:
        """Return the calls to a path."""
        return [call for call in self.calls if call.path == path]

    def frame(self, kind: str, topic: str, data: Any) -> str:
        """Send a frame on the newest stream; return its id."""
        name = uuid4().hex
        headers = {"topic": topic, "messageId": name, "contentType": "application/json"}
        content = {"specVersion": "1.0", "type": kind, "headers": headers}
        self.streams[-1].send(json.dumps({**content, "data": json.dumps(data)}))
        return name

    def callback(
        self, fixture: str, seconds: float | None = 5400, **changes: Any
    ) -> dict[str, Any]:
        """Return what a message brings, with a session webhook that is good for so long."""
        document: dict[str, Any] = json.loads((FIXTURES / f"callback__{fixture}.json").read_text())
        session = uuid4().hex
        document["msgId"] = f"msg{session}"
        document["sessionWebhook"] = f"{self.url}/robot/sendBySession?session={session}"
        document.pop("sessionWebhookExpiredTime")
        if seconds is not None:
            self.sessions[session] = time.time() + seconds
            document["sessionWebhookExpiredTime"] = int(self.sessions[session] * 1000)
        return {**document, **changes}

    def write(self, fixture: str, seconds: float | None = 5400, **changes: Any) -> str:
        """Let somebody write to the robot; return the frame's id."""
        return self.frame("CALLBACK", TOPIC, self.callback(fixture, seconds, **changes))

    def reply_to(self, call: Call) -> tuple[int, dict[str, Any]]:
        """Return status and JSON for a call."""
        match call.path:
            case "/v1.0/gateway/connections/open":
                return self._opened()
            case "/v1.0/oauth2/accessToken":
                return 200, {"accessToken": "lent-access-token", "expireIn": 7200}
            case "/robot/sendBySession":
                [session] = call.query["session"]
                if self.sessions.get(session, 0) > time.time():
                    return 200, {"errcode": 0, "errmsg": "ok"}
                return 200, {"errcode": 300001, "errmsg": "session 不存在"}
            case "/v1.0/robot/groupMessages/send" | "/v1.0/robot/oToMessages/batchSend":
                return 200, {"processQueryKey": uuid4().hex}
        return 404, {"code": "not.found", "message": call.path}

    def _opened(self) -> tuple[int, dict[str, Any]]:
        self.knocks.append(time.monotonic())
        if self.refuses:
            return self.refuses
        ticket = uuid4().hex
        self.tickets.add(ticket)
        return 200, {"endpoint": self.endpoint, "ticket": ticket}

    def stream(self, connection: ServerConnection) -> None:
        """Serve one stream to its end; a ticket opens one."""
        assert connection.request
        [ticket] = parse_qs(urlsplit(connection.request.path).query)["ticket"]
        if ticket not in self.tickets:
            connection.close(4001, "bad ticket")
            return
        self.tickets.remove(ticket)
        self.streams.append(connection)
        with suppress(ConnectionClosed):
            for text in connection:
                document = json.loads(text)
                self.answers[document["headers"]["messageId"]] = document


@contextmanager
def dingtalk_server() -> Iterator[DingTalkServer]:
    """Serve on free ports until the block ends."""
    dingtalk = DingTalkServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            parts = urlsplit(self.path)
            call = Call(parts.path, parse_qs(parts.query), body)
            dingtalk.calls.append(call)
            status, document = dingtalk.reply_to(call)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    # Its own lines would hold the tickets that ours must not.
    websocket: Server = serve(dingtalk.stream, "127.0.0.1", 0, logger=SILENT)
    dingtalk.url = f"http://127.0.0.1:{http.server_port}"
    dingtalk.endpoint = f"ws://127.0.0.1:{websocket.socket.getsockname()[1]}/connect"
    threads = [
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True),
        threading.Thread(target=websocket.serve_forever, daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield dingtalk
    finally:
        for stream in dingtalk.streams:
            with suppress(OSError):
                stream.close_socket()
        websocket.shutdown()
        http.shutdown()
        http.server_close()
