"""The WebSocket part of the ASGI application: ``/agents/<id>/ws``, for those with a token."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from agents.models import AgentToken
from agents.services import authenticate

from . import frames
from .consumer import AgentSocket
from .threads import run

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ADDRESS = re.compile(r"/agents/([^/]+)/ws")
# What browsers send in place of the header that they can't set.
BEARER_PROTOCOL = "hermes.bearer."


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket; close it before it is accepted (403) without the agent's token."""
    address = ADDRESS.fullmatch(scope["path"])
    token = await identify(scope, address[1]) if address else None
    if token is None:
        await receive()
        return await send({"type": "websocket.close"})
    offered = frames.PROTOCOL in scope.get("subprotocols", ())
    await AgentSocket(token, frames.PROTOCOL if offered else None)(scope, receive, send)


async def identify(scope: Scope, agent_id: str) -> AgentToken | None:
    """Return the live token of this agent that a request carries, if it does."""
    text = _bearer(scope["headers"]) or _offered(scope.get("subprotocols", ()))
    token = await run(authenticate, text) if text else None
    # Another agent's is answered like none at all, so that ids cannot be probed.
    return token if token is not None and str(token.agent_id) == agent_id.lower() else None


def _bearer(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        scheme, _space, token = value.partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            return token.strip().decode("latin-1")
    return ""


def _offered(protocols: Iterable[str]) -> str:
    found = [name for name in protocols if name.startswith(BEARER_PROTOCOL)]
    return found[0].removeprefix(BEARER_PROTOCOL) if found else ""
