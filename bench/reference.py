"""The baseline of `bench.receive`: an in-memory receiver that keeps nothing.

It makes the checks of the reference receiver, in its order (facts/hermes-agent.md §2): route,
size, signature, a sliding rate window, JSON, event, prompt, duplicate; then it starts a task that
does nothing, and answers 202.
"""

import asyncio
import hashlib
import hmac
import json
import sys
import time
from typing import Any

from aiohttp import web

ROUTE = {
    "secret": "bench-secret",
    "events": ["pull_request"],
    "prompt": (
        "Review this pull request:\nRepository: {repository.full_name}\n"
        "PR #{number}: {pull_request.title}\nAuthor: {pull_request.user.login}\n"
        "URL: {pull_request.html_url}\nDiff URL: {pull_request.diff_url}\nAction: {action}\n"
    ),
    "deliver_extra": {"repo": "{repository.full_name}", "pr_number": "{number}"},
}
ROUTES: dict[str, dict[str, Any]] = {"bench": ROUTE}
RATE_LIMIT = 10_000_000
MAX_BODY = 1_048_576
WINDOW = 60.0
KEEP = 3600.0


class Receiver:
    """Everything in memory, as the reference has it."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.hits: dict[str, list[float]] = {}
        self.info: dict[str, dict[str, Any]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one POST."""
        name = request.match_info["name"]
        route = ROUTES.get(name)
        if route is None:
            return web.json_response({"error": f"Unknown route: {name}"}, status=404)
        if (request.content_length or 0) > MAX_BODY:
            return web.json_response({"error": "Payload too large"}, status=413)
        body = await request.read()
        given = request.headers.get("X-Hub-Signature-256", "")
        wanted = "sha256=" + hmac.new(route["secret"].encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(given.encode(), wanted.encode()):
            return web.json_response({"error": "Invalid signature"}, status=401)
        now = time.time()
        hits = self.hits.setdefault(name, [])
        while hits and hits[0] < now - WINDOW:
            hits.pop(0)
        if len(hits) >= RATE_LIMIT:
            return web.json_response({"error": "Rate limit exceeded"}, status=429)
        hits.append(now)
        payload = json.loads(body)
        event = request.headers.get("X-GitHub-Event") or payload.get("event_type") or "unknown"
        if route["events"] and event not in route["events"]:
            return web.json_response({"status": "ignored", "event": event})
        prompt = render(route["prompt"], payload)
        delivery_id = request.headers.get("X-GitHub-Delivery") or str(int(now * 1000))
        if delivery_id in self.seen and now - self.seen[delivery_id] < KEEP:
            return web.json_response({"status": "duplicate", "delivery_id": delivery_id})
        self.seen[delivery_id] = now
        extra = {key: render(value, payload) for key, value in route["deliver_extra"].items()}
        self.info[f"webhook:{name}:{delivery_id}"] = {"deliver": "log", "deliver_extra": extra}
        task = asyncio.create_task(self.run_agent(prompt))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return web.json_response(
            {"status": "accepted", "route": name, "event": event, "delivery_id": delivery_id},
            status=202,
        )

    async def run_agent(self, prompt: str) -> None:
        """Stand for the agent: nothing is run, nothing is kept."""


def render(template: str, payload: dict[str, Any]) -> str:
    """Fill a template the way the reference does."""
    import re

    def value(match: re.Match[str]) -> str:
        found: Any = payload
        for part in match[1].split("."):
            if not isinstance(found, dict) or part not in found:
                return match[0]
            found = found[part]
        return found if isinstance(found, str) else json.dumps(found, indent=2)[:2000]

    return re.sub(r"\{([A-Za-z0-9_.]+)\}", value, template)


def main() -> None:
    """Serve on the port given on the command line."""
    app = web.Application(client_max_size=MAX_BODY + 1)
    app.router.add_post("/webhooks/{name}", Receiver().receive)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
