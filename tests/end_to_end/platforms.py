"""Servers of platforms, as far as a comment and a message need them."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Platforms:
    """Says yes and remembers: GitHub's API under ``/github``, Telegram's under ``/telegram`` …"""

    calls: list[Call] = field(default_factory=list)
    port: int = 0

    @property
    def bases(self) -> str:
        """The value of CHANNEL_API_BASES that leads here."""
        base = f"http://127.0.0.1:{self.port}"
        kinds = ("telegram", "slack", "feishu", "whatsapp")
        return ",".join([f"github_comment={base}/github", *(f"{k}={base}/{k}" for k in kinds)])

    def posts(self, start: str) -> list[Call]:
        """Return what was posted to addresses that begin so."""
        return [
            call for call in self.calls if call.method == "POST" and call.path.startswith(start)
        ]


def serve(platforms: Platforms) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            call = Call(self.command, self.path, dict(self.headers), body)
            platforms.calls.append(call)
            status, document = reply_to(call, len(platforms.calls))
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    platforms.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def reply_to(call: Call, number: int) -> tuple[int, Any]:
    if call.path.startswith("/telegram/"):
        chat = {"id": int(call.body["chat_id"]), "type": "supergroup"}
        return 200, {"ok": True, "result": {"message_id": number, "date": 0, "chat": chat}}
    if call.path.startswith("/slack/"):
        return 200, {"ok": True, "channel": call.body["channel"], "ts": f"1772450444.{number:06}"}
    if call.path.startswith("/feishu/"):
        token = {"tenant_access_token": "t-lent", "expire": 7200}
        return 200, {"code": 0, "msg": "ok", "data": {"message_id": f"om_{number}"}, **token}
    if call.path.startswith("/whatsapp/"):
        return 200, {"messages": [{"id": f"wamid.{number}"}]}
    if call.method == "GET":
        return 200, []  # no comment is there yet
    place = call.path.removeprefix("/github/repos/").removesuffix("/comments")
    return 201, {"id": number, "html_url": f"https://github.com/{place}#issuecomment-{number}"}
