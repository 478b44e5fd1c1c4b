"""``GET /r2/<object_key>``: what was too large for a delivery's body (spec 002, R2 引用)."""

import re
import threading
from typing import Any, cast

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from agents.models import Agent, AgentToken, StoredObject
from agents.storage import StorageFailed, read
from agents.wire import REFERENCE

from .authentication import AgentTokenAuthentication
from .schema import UNAUTHORIZED, ErrorSerializer

# What a key can be; PostgreSQL would not even look for a NUL.
KEY = re.compile(r"[\w-]{1,64}", re.ASCII).fullmatch


class IsAnAgent(BasePermission):
    """A token of whichever agent; what it may see is looked up by that agent."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, AgentToken)


class ObjectThrottle(SimpleRateThrottle):
    """Five requests in any second, for each agent (spec 002)."""

    rate = "5/s"
    scope = "objects"
    _lock = threading.Lock()

    def get_cache_key(self, request: Request, view: APIView) -> str:
        return f"r2:{cast(Agent, request.user).pk}"

    def allow_request(self, request: Request, view: APIView) -> bool:
        # It reads what was and writes what is; two requests between would count as one.
        with self._lock:
            return super().allow_request(request, view)

    def wait(self) -> float:
        """Return the seconds until the next request is taken; told in whole ones, rounded up."""
        return super().wait() or 1.0


class StorageAway(APIException):
    """503: the object is known, and its storage can't be read."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _("The storage can't be read at the moment.")
    default_code = "storage"


class AsItIs(BaseContentNegotiation):
    """Answers bytes whatever type was asked for, and JSON for refusals."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        return renderers[0], renderers[0].media_type


class ObjectView(APIView):
    """``GET /r2/<object_key>``; the key with or without its ``ref://``."""

    authentication_classes = (AgentTokenAuthentication,)
    permission_classes = (IsAnAgent,)
    throttle_classes = (ObjectThrottle,)
    content_negotiation_class = AsItIs

    @extend_schema(
        operation_id="fetch_object",
        parameters=[
            OpenApiParameter(
                "object_key",
                OpenApiTypes.STR,
                OpenApiParameter.PATH,
                description="`ref.object_key` of a delivery, with or without its `ref://`.",
            ),
        ],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            401: UNAUTHORIZED,
            404: OpenApiResponse(ErrorSerializer, "No such object, or not one of this agent."),
            429: OpenApiResponse(ErrorSerializer, "More than five in a second; see Retry-After."),
            503: OpenApiResponse(ErrorSerializer, "The storage can't be read at the moment."),
        },
    )
    def get(self, request: Request, object_key: str) -> HttpResponse:
        """Answer the envelope that a delivery only referred to."""
        # A proxy may have made one slash of two.
        key = object_key.removeprefix(REFERENCE).removeprefix(REFERENCE[:-1])
        agent = cast(Agent, request.user)
        stored = StoredObject.objects.filter(pk=key, agent=agent).first() if KEY(key) else None
        if stored is None:
            raise NotFound
        try:
            content = read(stored)
        except StorageFailed:
            raise StorageAway from None
        return HttpResponse(
            content,
            content_type=stored.content_type,
            headers={"Cache-Control": "private, no-store", "Content-Disposition": "attachment"},
        )
