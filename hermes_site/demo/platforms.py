"""Stand-ins for GitHub's, Telegram's and Slack's servers: they say yes, and print what they get."""

import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMENTS = re.compile(r"/github/repos/(?P<repo>[^/]+/[^/]+)/issues/(?P<number>\d+)/comments")
REPOSITORY = re.compile(r"/github/repos/(?P<repo>[^/]+/[^/]+)")
BOT = re.compile(r"/telegram/bot[^/]+/(?P<method>\w+)")

SLACK = re.compile(r"/slack/(?P<method>[\w.]+)")

BOT_USER = {"id": 700000001, "is_bot": True, "first_name": "Demo", "username": "hermes_demo_bot"}

_numbers = itertools.count(1)


class Platforms(BaseHTTPRequestHandler):
    """GitHub under ``/github``, Telegram under ``/telegram``, Slack under ``/slack``."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer what a connection test and the search for an earlier comment ask."""
        path = self.path.partition("?")[0]
        if path == "/github/user":
            self._json(200, {"login": "hermes-demo", "id": 1, "type": "User"})
        elif COMMENTS.fullmatch(path):
            self._json(200, [])
        elif match := REPOSITORY.fullmatch(path):
            self._json(200, {"full_name": match["repo"], "permissions": {"push": True}})
        else:
            self._json(404, {"message": "Not Found"})

    def do_POST(self) -> None:
        """Take a comment or a message."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        path = self.path.partition("?")[0]
        if match := COMMENTS.fullmatch(path):
            number = next(_numbers)
            address = f"https://github.com/{match['repo']}/issues/{match['number']}"
            _tell("github", f"comment on {match['repo']}#{match['number']}", body.get("body", ""))
            self._json(201, {"id": number, "html_url": f"{address}#issuecomment-{number}"})
        elif match := BOT.fullmatch(path):
            self._json(200, {"ok": True, "result": _telegram(match["method"], body)})
        elif match := SLACK.fullmatch(path):
            self._json(200, {"ok": True, **_slack(match["method"], body)})
        else:
            self._json(404, {"message": "Not Found"})

    def _json(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request; what matters is printed by name."""


def serve() -> ThreadingHTTPServer:
    """Serve from a thread on a free port of loopback; `shutdown` ends it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Platforms)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _telegram(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if method == "getMe":
        return BOT_USER
    chat = {"id": parameters.get("chat_id"), "type": "supergroup", "title": "Deployments"}
    if method == "getChat":
        return chat
    text = str(parameters.get("text", ""))
    _tell("telegram", f"message to chat {parameters.get('chat_id')}", text)
    return {"message_id": next(_numbers), "date": 0, "chat": chat, "text": text}


def _slack(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if method == "auth.test":
        return {"team": "Acme", "team_id": "T0ACME001", "user": "hermes", "bot_id": "B0HERMES"}
    channel = str(parameters.get("channel", ""))
    _tell("slack", f"message to {channel}", str(parameters.get("markdown_text", "")))
    return {"channel": channel, "ts": f"1772453111.{next(_numbers):06}"}


def _tell(platform: str, what: str, text: str) -> None:
    first, *rest = text.strip().splitlines() or [""]
    more = f" … ({len(rest)} more lines)" if rest else ""
    print(f"{platform:<9} | {what}: {first}{more}", flush=True)
