"""Where ``GET /agents/<id>/deliveries?wait=…`` waits: no thread is held for it.

The request is only held back until something is there, or its time is up, and then answered as any
other (`agents.api.deliveries`), which says all that is to be said.
"""

import asyncio
import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs

from agents.services.presence import Unwelcome, note_poll
from deliveries import fetching

from . import lookout
from .application import Receive, Scope, identify
from .threads import run

ADDRESS = re.compile(r"/agents/([^/]+)/deliveries/?")
LONGEST_WAIT = 60  # seconds

Event = MutableMapping[str, Any]


class Gone(Exception):
    """Whoever asked is no longer there."""


def is_for(scope: Scope) -> bool:
    """Return whether a request is one that may have to wait."""
    return scope["method"] == "GET" and ADDRESS.fullmatch(scope["path"]) is not None


async def wait(scope: Scope, receive: Receive) -> Receive:
    """Wait with a request; return what it is to be read with from then on. Raises Gone.

    One that is to be refused does not wait.
    """
    address, seconds = ADDRESS.fullmatch(scope["path"]), _seconds(scope)
    token = await identify(scope, address[1]) if address and seconds else None
    if token is None:
        return receive
    try:
        lane_id = await run(note_poll, token.agent_id)
    except Unwelcome:
        return receive
    request = await receive()
    end = asyncio.ensure_future(receive())
    try:
        await _something(lane_id, seconds, end)
    except BaseException:
        end.cancel()
        raise
    return _replayed(request, end)


async def _something(lane_id: int, seconds: int, end: "asyncio.Future[Event]") -> None:
    """Return when there is something to fetch, or the time is up; raise Gone."""
    found = asyncio.Event()
    watcher = lookout.Watcher(lane_id, found.set, wants=lambda: not found.is_set())
    lookout.watch(watcher)
    try:
        if await run(fetching.ready, [lane_id]):
            return
        wakes = asyncio.create_task(found.wait())
        either: set[asyncio.Future[Any]] = {wakes, end}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        wakes.cancel()
        if end.done():
            raise Gone
    finally:
        lookout.unwatch(watcher)


def _replayed(request: Event, end: "asyncio.Future[Event]") -> Receive:
    """Return a ``receive`` that begins with what was read already."""
    left = [request]

    async def receive() -> Event:
        return left.pop() if left else await end

    return receive


def _seconds(scope: Scope) -> int:
    """Return how long to wait; 0 if not at all, or if the view has something to say about it."""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("wait", [""])[-1]
    wait = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 3 else 0
    return wait if wait <= LONGEST_WAIT else 0
