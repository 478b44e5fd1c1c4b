"""The two public doors: ``POST /webhooks/<name>`` and ``GET /health``."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries.selectors import SILENT, runner_age

from .receive import Answer, Headers, Read, TooLarge, accept

JSON = "application/json; charset=utf-8"


class WebhookView(APIView):
    """Receive one webhook.

    DRF's per-request steps (its Request, negotiation, authentication, throttling, Response) are
    passed through: they cost more than all the rest (facts/performance.md A2), and what they do
    is done by `accept`, in the order that the specification gives.
    """

    http_method_names = ["post", "options"]
    authentication_classes = ()
    permission_classes = ()
    schema = None

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        """Answer the method, without DRF's steps around it."""
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"}, content_type="text/plain")
        return await self.post(request, *args, **kwargs)

    async def post(self, request: HttpRequest, name: str) -> HttpResponse:
        """Take the request in; every answer is JSON."""
        headers = getattr(request, "lean_headers", None) or _headers_of(request)
        read = getattr(request, "read_capped", None) or _reader_of(request)
        client = request.META.get("REMOTE_ADDR", "")
        return respond(await accept(name, headers, read, client))


class HealthView(APIView):
    """Say that the receiver is up (spec 001, verify the service)."""

    http_method_names = ["get", "head", "options"]
    authentication_classes = ()
    permission_classes = ()
    schema = None

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        """Answer GET and HEAD."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(
                status=405, headers={"Allow": "GET, HEAD"}, content_type="text/plain"
            )
        return await self.get(request)

    async def get(self, request: HttpRequest) -> HttpResponse:
        """Answer in the specification's words."""
        return respond(Answer(200, {"status": "ok", "platform": "webhook"}))


class WorkerHealthView(APIView):
    """Say whether a lane runner is alive: 200, or 503 with the age of its last heartbeat."""

    http_method_names = ["get", "head", "options"]
    authentication_classes = ()
    permission_classes = ()
    schema = None

    def get(self, request: Request) -> Response:
        """Answer with the age of the heartbeat in seconds."""
        age = runner_age()
        alive = age is not None and age < SILENT
        seconds = None if age is None else round(age.total_seconds(), 1)
        return Response(
            {"status": "ok" if alive else "down", "heartbeat_seconds": seconds},
            status=200 if alive else 503,
        )


def respond(answer: Answer) -> HttpResponse:
    """Return an answer as an HTTP response."""
    return HttpResponse(
        orjson.dumps(answer.body), status=answer.status, headers=answer.headers, content_type=JSON
    )


def _headers_of(request: HttpRequest) -> Headers:
    headers: Mapping[str, str] = request.headers
    return {name.lower(): value for name, value in headers.items()}


def _reader_of(request: HttpRequest) -> Read:
    async def read(limit: int) -> bytes:
        body = request.body
        if len(body) > limit:
            raise TooLarge
        return body

    return read
