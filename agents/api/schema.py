"""How the agents' REST API describes itself at /api/schema."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers


class AgentTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The bearer token of an agent; found by drf-spectacular because it is imported."""

    target_class = "agents.api.authentication.AgentTokenAuthentication"
    name = "agentToken"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """Return the scheme as OpenAPI names it."""
        return {"type": "http", "scheme": "bearer", "description": "A token of the agent: hsk_…"}


class ErrorSerializer(serializers.Serializer[Any]):
    """What every refusal but that of a field says."""

    detail = serializers.CharField()


AGENT_ID = OpenApiParameter(
    "agent_id",
    OpenApiTypes.UUID,
    OpenApiParameter.PATH,
    description="The agent whose token it is.",
)
NEXT_CURSOR = OpenApiParameter(
    "X-Next-Cursor",
    OpenApiTypes.UUID,
    OpenApiParameter.HEADER,
    description="Where the next page begins; absent on the last one.",
    response=[200],
)

UNAUTHORIZED = OpenApiResponse(ErrorSerializer, "No token, or one that is not valid.")
NOT_FOUND = OpenApiResponse(ErrorSerializer, "No such agent, or not the one of the token.")
NO_CONVERSATION = OpenApiResponse(
    ErrorSerializer, "No such agent or conversation, or not one of the token's agent."
)
TOO_LARGE = OpenApiResponse(ErrorSerializer, "The body is too large; nothing of it was kept.")
BAD_FIELDS = OpenApiResponse(
    OpenApiTypes.OBJECT, "What is wrong, as a list of sentences by field; or one as “detail”."
)
