"""The one ASGI application: the receive path on a lean adapter, sockets, the rest on Django.

Django's own ASGI handler with its middleware costs several times what a request to the receive
path may cost (facts/performance.md A2), and does nothing that path needs. So ``/webhooks/`` and
``/health`` go straight to what their DRF views call, with no request and response object between.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.conf import settings

from agents.sockets import application as sockets
from agents.sockets import waiting_room
from routes.inbound import Answer, Inbound, ReadFailed, TooLarge
from routes.views import HealthView, WebhookView

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WEBHOOKS = "/webhooks/"

# What was made up to here lives as long as the process: the collector need not look at it again.
# And a payload of a few hundred objects per request should not set it off every few requests.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)

# The thread that writes lets go of the interpreter for every statement, and would wait five
# milliseconds each time to have it back from a busy event loop.
sys.setswitchinterval(0.002)


class Body:
    """The body of a request, read when somebody asks for it."""

    __slots__ = ("_receive",)

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def read(self, limit: int) -> bytes:
        """Return the body; raise `TooLarge` past the limit, `ReadFailed` when it does not come.

        A sender that stops talking is cut off after WEBHOOK_READ_SECONDS.
        """
        loop, reader = asyncio.get_running_loop(), asyncio.current_task()
        late = False

        def cut_off() -> None:
            nonlocal late
            late = True
            if reader is not None:
                reader.cancel()

        # asyncio.timeout by hand: it costs three times as much, for every request.
        timer = loop.call_later(settings.WEBHOOK_READ_SECONDS, cut_off)
        try:
            return await self._read(limit)
        except asyncio.CancelledError:
            if late and reader is not None and not reader.uncancel():
                raise ReadFailed from None
            raise
        finally:
            timer.cancel()

    async def _read(self, limit: int) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ReadFailed
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise TooLarge
            parts.append(part)
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request."""
    if scope["type"] == "websocket":
        return await sockets.serve(scope, receive, send)
    if scope["type"] != "http":
        return await django_application(scope, receive, send)  # type: ignore[arg-type]
    path: str = scope["path"]  # ASGI has decoded it already
    if path.startswith(WEBHOOKS):
        return await _answer(await WebhookView.handle(_inbound(scope, receive)), send)
    if path == "/health":
        return await _answer(HealthView.handle(scope["method"]), send)
    if waiting_room.is_for(scope):
        try:
            receive = await waiting_room.wait(scope, receive)
        except waiting_room.Gone:
            return None
    return await _through_django(scope, receive, send)


def _inbound(scope: Scope, receive: Receive) -> Inbound:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        # A header sent twice is a list, as HTTP has it.
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    client = scope.get("client")
    return Inbound(
        method=scope["method"],
        name=scope["path"][len(WEBHOOKS) :],
        headers=headers,
        read=Body(receive).read,
        query=scope["query_string"].decode("latin-1"),
        client=client[0] if client else "",
    )


async def _through_django(scope: Scope, receive: Receive, send: Send) -> None:
    """Let Django answer, but read no more than its pages and the agents' API can use.

    Django writes a body of any size to a temporary file before it looks at who sends it.
    """
    limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    read = 0

    async def capped() -> MutableMapping[str, Any]:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise TooLarge
        return message

    try:
        if any(value.isdigit() and int(value[:19]) > limit for value in lengths):
            raise TooLarge
        await django_application(scope, capped, send)  # type: ignore[arg-type]
    except TooLarge:
        await _answer(Answer(413, {"error": "Payload too large"}), send)


async def _answer(answer: Answer, send: Send) -> None:
    content = answer.content
    headers = [
        (b"content-type", answer.content_type.encode("latin-1")),
        (b"content-length", str(len(content)).encode()),
    ]
    for name, value in answer.headers.items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
