"""An agent's manifest: what it says it can do, and what a person has accepted."""

from typing import Any

from django.core.exceptions import ValidationError as InvalidValue
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from agents.services.artifacts import is_open
from agents.services.manifests import propose_manifest

from .decisions import ArtifactSerializer, as_field_errors, shown
from .schema import BAD_FIELDS, NOT_FOUND, TOO_LARGE, UNAUTHORIZED
from .views import AgentView


class ProposedManifestSerializer(serializers.Serializer[Any]):
    """The manifest in force, and the form on which another is decided, if there is one."""

    manifest = serializers.DictField()
    artifact = ArtifactSerializer(allow_null=True)


class ManifestView(AgentView):
    """``GET`` and ``PUT /agents/<id>/manifest``."""

    @extend_schema(
        operation_id="manifest",
        responses={200: OpenApiTypes.OBJECT, 401: UNAUTHORIZED, 404: NOT_FOUND},
    )
    def get(self, request: Request, agent_id: str) -> Response:
        """Answer the manifest that is in force; an empty object if none was accepted yet."""
        return Response(self.agent().manifest)

    @extend_schema(
        operation_id="propose_manifest",
        request=OpenApiTypes.OBJECT,
        responses={
            200: ProposedManifestSerializer,
            202: ProposedManifestSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            404: NOT_FOUND,
            413: TOO_LARGE,
        },
    )
    def put(self, request: Request, agent_id: str) -> Response:
        """Put a manifest before a person: 202; 200 for the one that is in force already."""
        agent = self.agent()
        try:
            artifact = propose_manifest(agent, request.data)
        except InvalidValue as error:
            raise as_field_errors(error) from None
        pending = artifact is not None and is_open(artifact)
        said = {"manifest": agent.manifest, "artifact": shown(artifact) if artifact else None}
        return Response(said, status=status.HTTP_202_ACCEPTED if pending else status.HTTP_200_OK)
