"""An agent's own tokens: list them, replace the one in use, end one."""

from datetime import timedelta
from typing import Any, cast

from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import AgentToken
from agents.selectors import live_tokens
from agents.services.tokens import TooManyTokens, revoke_token, rotate_token

from .schema import BAD_FIELDS, NOT_FOUND, UNAUTHORIZED, ErrorSerializer
from .views import AgentView

HOUR = 3600
WEEK = 7 * 24 * HOUR


class TokenSerializer(serializers.ModelSerializer[AgentToken]):
    """A token as far as it is kept: ``ends_in`` are its last four characters."""

    ends_in = serializers.CharField(source="last_four", read_only=True)
    valid_until = serializers.DateTimeField(source="not_after", read_only=True, allow_null=True)

    class Meta:
        model = AgentToken
        fields = read_only_fields = ("id", "ends_in", "created_at", "valid_until", "last_used_at")


class RotationSerializer(serializers.Serializer[Any]):
    """How long the token of this call stays valid beside its successor."""

    overlap_seconds = serializers.IntegerField(min_value=0, max_value=WEEK, default=HOUR)


class RotatedSerializer(serializers.Serializer[Any]):
    """The successor, shown this once, and when the token of this call ends."""

    token = serializers.CharField()
    old_valid_until = serializers.DateTimeField()


class Conflict(APIException):
    """409: there is no room for what is asked."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = _("The agent has too many valid tokens.")
    default_code = "conflict"


class TokensView(AgentView):
    """``GET /agents/<id>/tokens``."""

    @extend_schema(
        operation_id="tokens",
        responses={200: TokenSerializer(many=True), 401: UNAUTHORIZED, 404: NOT_FOUND},
    )
    def get(self, request: Request, agent_id: str) -> Response:
        """Answer the valid tokens, newest first."""
        live = live_tokens(timezone.now()).filter(agent=self.agent())
        return Response(TokenSerializer(live.order_by("-created_at", "-pk"), many=True).data)


class TokenView(AgentView):
    """``DELETE /agents/<id>/tokens/<token_id>``."""

    @extend_schema(
        operation_id="revoke_token",
        parameters=[OpenApiParameter("token_id", OpenApiTypes.INT, OpenApiParameter.PATH)],
        responses={204: None, 401: UNAUTHORIZED, 404: NOT_FOUND},
    )
    def delete(self, request: Request, agent_id: str, token_id: str) -> Response:
        """End a token at once; a repeat, and a token of another agent, is a 404."""
        # Looked up among the agent's own few by text: what is no number is a 404, too.
        own = AgentToken.objects.filter(agent=self.agent())
        token = next((one for one in own if str(one.pk) == token_id), None)
        if token is None or not revoke_token(token):
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)


class RotateTokenView(AgentView):
    """``POST /agents/<id>/tokens/rotate``."""

    @extend_schema(
        operation_id="rotate_token",
        request=RotationSerializer,
        responses={
            201: RotatedSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            404: NOT_FOUND,
            409: OpenApiResponse(ErrorSerializer, "The agent has 20 valid tokens already."),
        },
    )
    def post(self, request: Request, agent_id: str) -> Response:
        """Answer a successor of the token of this call, which stays valid for the overlap."""
        wanted = RotationSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        used = cast(AgentToken, request.auth)
        overlap = timedelta(seconds=wanted.validated_data["overlap_seconds"])
        try:
            new = rotate_token(used, overlap)
        except TooManyTokens as error:
            raise Conflict(str(error)) from None
        used.refresh_from_db(fields=["not_after"])
        rotated = RotatedSerializer({"token": new, "old_valid_until": used.not_after})
        return Response(
            rotated.data, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"}
        )
