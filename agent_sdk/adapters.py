"""A dispatcher behind the web frameworks; none of them is needed to import this."""

import asyncio
import base64
import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .dispatcher import LARGEST_BODY, Response, WebhookDispatcher, refused

NOT_POSTED = refused(405, "post only", {"Allow": "POST"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def wsgi(dispatcher: WebhookDispatcher) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application (gunicorn, uWSGI, mod_wsgi; mounted in Flask or Django)."""

    def application(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        answer = NOT_POSTED
        if environ["REQUEST_METHOD"] == "POST":
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = environ["wsgi.input"].read(min(length, LARGEST_BODY + 1))
            headers = {
                name[5:].replace("_", "-"): value
                for name, value in environ.items()
                if name.startswith("HTTP_")
            }
            answer = dispatcher.handle(headers, body)
        status = HTTPStatus(answer.status)
        start_response(f"{status.value} {status.phrase}", [*_headers(answer).items()])
        return [answer.body]

    return application


def asgi(dispatcher: WebhookDispatcher) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application (uvicorn, granian; mounted in FastAPI or Starlette)."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"This takes HTTP requests, no {scope['type']}.")
        answer = NOT_POSTED
        if scope["method"] == "POST":
            headers = {name.decode("latin-1"): _text(value) for name, value in scope["headers"]}
            body = await _read(receive)
            answer = await asyncio.to_thread(dispatcher.handle, headers, body)
        fields = [(name.encode(), value.encode()) for name, value in _headers(answer).items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": answer.body})

    return application


def flask_view(dispatcher: WebhookDispatcher) -> Callable[[], Any]:
    """Return a view: ``app.post("/hashee/webhook")(flask_view(dispatcher))``."""

    def hashee_webhook() -> Any:
        request = importlib.import_module("flask").request
        answer = dispatcher.handle(dict(request.headers), request.get_data())
        return answer.body, answer.status, dict(answer.headers)

    return hashee_webhook


def fastapi_app(dispatcher: WebhookDispatcher) -> Callable[..., Awaitable[None]]:
    """Return what FastAPI mounts: ``app.mount("/hashee/webhook", fastapi_app(dispatcher))``."""
    return asgi(dispatcher)


def lambda_handler(
    dispatcher: WebhookDispatcher,
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """Return a handler for AWS Lambda behind a function URL or an API Gateway (either payload)."""

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        text = event.get("body") or ""
        body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
        answer = dispatcher.handle(event.get("headers") or {}, body)
        return {
            "statusCode": answer.status,
            "headers": dict(answer.headers),
            "body": answer.body.decode(),
        }

    return handler


def http_server(dispatcher: WebhookDispatcher, port: int, host: str = "") -> ThreadingHTTPServer:
    """Return a server of the standard library; ``.serve_forever()`` runs it.

    For development, and for agents behind a proxy on the same machine.
    """

    class Webhook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30  # seconds that a connection may be silent

        def do_POST(self) -> None:
            try:
                length = max(0, int(self.headers.get("Content-Length", 0)))
            except ValueError:
                length = 0
            if length > LARGEST_BODY:
                self.close_connection = True  # what is not read would be taken for a request
            body = self.rfile.read(min(length, LARGEST_BODY + 1))
            answer = dispatcher.handle(dict(self.headers), body)
            self.send_response(answer.status)
            for name, value in _headers(answer).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing of each request; the dispatcher logs what matters."""

    return ThreadingHTTPServer((host, port), Webhook)


def _headers(answer: Response) -> dict[str, str]:
    return {**answer.headers, "Content-Length": str(len(answer.body))}


def _text(value: bytes) -> str:
    return value.decode("latin-1")


async def _read(receive: Receive) -> bytes:
    """Return the body, or a byte more of it than is allowed."""
    body, more = b"", True
    while more and len(body) <= LARGEST_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
