"""The public doors: ``/webhooks/<name>`` and ``/health``."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries.selectors import SILENT, runner_age

from .inbound import Answer, Inbound, Read, TooLarge
from .receive import handle


class WebhookView(APIView):
    """Receive one webhook.

    DRF's per-request steps (its Request, negotiation, authentication, throttling, Response) are
    passed through: they cost more than all the rest (facts/performance.md A2), and what they do
    is done by `receive.handle`, in the order that the specification gives.
    """

    authentication_classes = ()
    permission_classes = ()
    schema = None

    #: What a server's adapter may call at once, without a request of Django's (`hermes_site.asgi`).
    handle = staticmethod(handle)

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        """Answer every method, without DRF's steps around it."""
        return await self.post(request, *args, **kwargs)

    async def post(self, request: HttpRequest, name: str) -> HttpResponse:
        """Take the request in, whatever its method: some sources introduce themselves by GET."""
        return respond(
            await self.handle(
                Inbound(
                    method=request.method or "",
                    name=name,
                    headers={key.lower(): value for key, value in request.headers.items()},
                    read=_reader_of(request),
                    query=request.META.get("QUERY_STRING", ""),
                    client=request.META.get("REMOTE_ADDR", ""),
                )
            )
        )


class HealthView(APIView):
    """Say that the receiver is up (spec 001, verify the service)."""

    authentication_classes = ()
    permission_classes = ()
    schema = None

    @staticmethod
    def handle(method: str) -> Answer:
        """Answer GET and HEAD in the specification's words."""
        if method not in ("GET", "HEAD"):
            return Answer(405, b"", {"Allow": "GET, HEAD"}, "text/plain")
        return Answer(200, {"status": "ok", "platform": "webhook"})

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        """Answer every method, without DRF's steps around it."""
        return await self.get(request)

    async def get(self, request: HttpRequest) -> HttpResponse:
        """Answer."""
        return respond(self.handle(request.method or ""))


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
        answer.content,
        status=answer.status,
        headers=answer.headers,
        content_type=answer.content_type,
    )


def _reader_of(request: HttpRequest) -> Read:
    async def read(limit: int) -> bytes:
        body = request.body
        if len(body) > limit:
            raise TooLarge
        return body

    return read
