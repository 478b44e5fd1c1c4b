"""The baseline of `bench.receive`: an in-memory receiver that keeps nothing.

It does per request what the reference receiver does, in its order (facts/hermes-agent.md §2, §4,
§8): looks whether the subscriptions file changed, route, size, signature by the first header of
seven families, a sliding rate window, JSON, event, prompt, duplicate, where the answer goes, one
log line, one task for the agent (which does nothing here); then it answers 202.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import os
import re
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

logger = logging.getLogger("bench.reference")

ROUTES: dict[str, dict[str, Any]] = {
    "bench": {
        "secret": "bench-secret",
        "events": ["pull_request"],
        "prompt": (
            "Review this pull request:\nRepository: {repository.full_name}\n"
            "PR #{number}: {pull_request.title}\nAuthor: {pull_request.user.login}\n"
            "URL: {pull_request.html_url}\nDiff URL: {pull_request.diff_url}\nAction: {action}\n"
        ),
        "deliver": "log",
        "deliver_extra": {"repo": "{repository.full_name}", "pr_number": "{number}"},
    }
}
OTHER_SIGNATURES = ("svix-signature", "webhook-signature", "linear-signature")
RATE_LIMIT = 10_000_000
MAX_BODY = 1_048_576
WINDOW = 60.0
KEEP = 3600.0


@dataclass
class Source:
    """Whom the agent would think it is talking to."""

    platform: str
    chat_id: str
    chat_name: str
    chat_type: str
    user_id: str
    user_name: str


@dataclass
class Message:
    """What the agent would be given."""

    text: str
    source: Source
    raw: Any
    message_id: str
    timestamp: datetime = field(default_factory=datetime.now)


class Receiver:
    """Everything in memory, as the reference has it."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.hits: dict[str, deque[float]] = {}
        self.info: dict[str, dict[str, Any]] = {}
        self.info_order: deque[tuple[float, str]] = deque()
        self.tasks: set[asyncio.Task[None]] = set()
        self.routes = dict(ROUTES)

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one POST."""
        self.reload()
        name = request.match_info["name"]
        route = self.routes.get(name)
        if route is None:
            return web.json_response({"error": f"Unknown route: {name}"}, status=404)
        if (request.content_length or 0) > MAX_BODY:
            return web.json_response({"error": "Payload too large"}, status=413)
        body = await request.read()
        if not self.genuine(request, body, route["secret"]):
            logger.warning("Invalid signature for route %s", name)
            return web.json_response({"error": "Invalid signature"}, status=401)
        now = time.time()
        if not self.within_limit(name, now):
            return web.json_response({"error": "Rate limit exceeded"}, status=429)
        payload = json.loads(body)
        event = request.headers.get("X-GitHub-Event") or request.headers.get("X-Gitlab-Event")
        event = event or payload.get("event_type") or payload.get("type") or "unknown"
        if route["events"] and event not in route["events"]:
            return web.json_response({"status": "ignored", "event": event})
        prompt = render(route["prompt"], payload, event)
        delivery_id = request.headers.get("X-GitHub-Delivery") or str(int(now * 1000))
        if delivery_id in self.seen and now - self.seen[delivery_id] < KEEP:
            return web.json_response({"status": "duplicate", "delivery_id": delivery_id})
        self.seen[delivery_id] = now
        chat_id = f"webhook:{name}:{delivery_id}"
        extra = {
            key: render(value, payload, event) for key, value in route["deliver_extra"].items()
        }
        self.info[chat_id] = {"deliver": route["deliver"], "deliver_extra": extra}
        self.info_order.append((now, chat_id))
        while self.info_order[0][0] < now - KEEP:
            self.info.pop(self.info_order.popleft()[1], None)
        source = Source("webhook", chat_id, name, "webhook", f"webhook:{name}", name)
        message = Message(prompt, source, payload, delivery_id)
        logger.info(
            "%s event=%s route=%s prompt_len=%d delivery=%s",
            request.method, event, name, len(prompt), delivery_id,
        )  # fmt: skip
        task = asyncio.create_task(self.run_agent(message))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return web.json_response(
            {"status": "accepted", "route": name, "event": event, "delivery_id": delivery_id},
            status=202,
        )

    def reload(self) -> None:
        """Look for the subscriptions file, as on every POST."""
        path = Path(os.environ.get("HERMES_HOME", "~/.hermes")).expanduser()
        if (path / "webhook_subscriptions.json").exists():
            raise SystemExit("The bench needs an empty home.")

    def genuine(self, request: web.Request, body: bytes, secret: str) -> bool:
        """Check the first signature family that is there."""
        for header in OTHER_SIGNATURES:
            if request.headers.get(header):
                return False
        given = request.headers.get("X-Hub-Signature-256", "")
        if given:
            wanted = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            return hmac.compare_digest(given.encode(), wanted.encode())
        return False

    def within_limit(self, name: str, now: float) -> bool:
        """Spend one hit of the route's sliding minute."""
        window = self.hits.setdefault(name, deque())
        while window and window[0] < now - WINDOW:
            window.popleft()
        if len(window) >= RATE_LIMIT:
            return False
        window.append(now)
        return True

    async def run_agent(self, message: Message) -> None:
        """Stand for the agent: nothing is run, nothing is kept."""


def render(template: str, payload: dict[str, Any], event: str) -> str:
    """Fill a template in one pass."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "event_type":
            return event
        if match[1] == "__raw__":
            return json.dumps(payload, indent=2)[:4000]
        found: Any = payload
        for part in match[1].split("."):
            if not isinstance(found, dict) or part not in found:
                return match[0]
            found = found[part]
        if isinstance(found, dict | list):
            return json.dumps(found, indent=2)[:2000]
        return str(found)

    return re.sub(r"\{([A-Za-z0-9_.]+)\}", value, template)


async def serve(port: int) -> None:
    """Serve as the reference does: aiohttp's runner with its access log, logs into a file."""
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post("/webhooks/{name}", Receiver().receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(
        filename=sys.argv[2] if len(sys.argv) > 2 else os.devnull,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(serve(int(sys.argv[1])))
