"""An agent's questions to a person, and its own proposal to switch its connection."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError as InvalidValue
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Agent, Artifact
from agents.services import DecisionRefused, UnknownConversation, cancel, propose_switch
from agents.services.artifacts import LIFE, TooManyOpen, ask
from agents.services.consequences import BY_AGENT
from agents.services.pinging import ping
from agents.services.switching import TooManyProposals

from .decisions import REFUSED, ArtifactSerializer, Refused, as_field_errors, shown
from .schema import (
    BAD_FIELDS,
    NO_CONVERSATION,
    NOT_FOUND,
    TOO_LARGE,
    UNAUTHORIZED,
    ErrorSerializer,
)
from .views import AgentView

NO_ARTIFACT = OpenApiResponse(ErrorSerializer, "No such agent or form, or not the token's.")
TOO_MANY = OpenApiResponse(ErrorSerializer, "Too many of them.")
ARTIFACT_ID = OpenApiParameter("artifact_id", OpenApiTypes.UUID, OpenApiParameter.PATH)


class QuestionSerializer(serializers.Serializer[Any]):
    """What an agent asks (docs/agents/artifacts.md); ``expires_in`` is in seconds.

    Fields are objects: ``name``, ``type`` (choice, text, boolean, number), ``label``, ``help``,
    ``required``; ``options`` of a choice, ``max_length`` and ``multiline`` of a text, ``min``,
    ``max`` and ``integer`` of a number.
    """

    title = serializers.JSONField()
    text = serializers.JSONField(required=False)
    fields_ = serializers.JSONField()
    conversation_id = serializers.UUIDField(required=False, allow_null=True)
    expires_in = serializers.IntegerField(default=int(LIFE.total_seconds()))

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, with the one that is called as a serializer's own attribute."""
        declared: dict[str, Any] = super().get_fields()
        declared["fields"] = declared.pop("fields_")
        return declared


class EndpointSerializer(serializers.Serializer[Any]):
    """Of the chat endpoint, what a proposal may say."""

    base_url = serializers.CharField(max_length=2000)
    model = serializers.CharField(max_length=200)


class ProposalSerializer(serializers.Serializer[Any]):
    """A connection that is wanted. ``secret``: of the webhook, or the API key."""

    mode = serializers.ChoiceField(choices=Agent.Mode.choices)
    url = serializers.CharField(max_length=2048, allow_blank=True, default="")
    secret = serializers.CharField(max_length=1000, allow_blank=True, default="")
    endpoint = EndpointSerializer(required=False)


class ArtifactsView(AgentView):
    """``POST /agents/<id>/artifacts``."""

    @extend_schema(
        operation_id="ask",
        request=QuestionSerializer,
        responses={
            201: ArtifactSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            404: NO_CONVERSATION,
            413: TOO_LARGE,
            429: TOO_MANY,
        },
    )
    def post(self, request: Request, agent_id: str) -> Response:
        """Put a question before a person."""
        given = QuestionSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        seconds = min(max(wanted["expires_in"], -1), 10**9)
        try:
            artifact = ask(
                self.agent(),
                title=wanted["title"],
                text=wanted.get("text", ""),
                fields=wanted["fields"],
                conversation_id=wanted.get("conversation_id"),
                life=timedelta(seconds=seconds),
            )
        except UnknownConversation as error:
            raise NotFound(str(error)) from None
        except TooManyOpen as error:
            raise Throttled(detail=str(error)) from None
        except InvalidValue as error:
            raise as_field_errors(error) from None
        return Response(shown(artifact), status=status.HTTP_201_CREATED)


@extend_schema(parameters=[ARTIFACT_ID])
class ArtifactView(AgentView):
    """``GET`` and ``DELETE /agents/<id>/artifacts/<artifact_id>``."""

    @extend_schema(
        operation_id="artifact",
        responses={200: ArtifactSerializer, 401: UNAUTHORIZED, 404: NO_ARTIFACT},
    )
    def get(self, request: Request, agent_id: str, artifact_id: str) -> Response:
        """Answer how a form of this agent stands."""
        return Response(shown(self._artifact(artifact_id)))

    @extend_schema(
        operation_id="cancel_artifact",
        responses={204: None, 401: UNAUTHORIZED, 404: NO_ARTIFACT, 409: REFUSED},
    )
    def delete(self, request: Request, agent_id: str, artifact_id: str) -> Response:
        """Take a question or proposal of this agent back."""
        artifact = self._artifact(artifact_id)
        own = artifact.kind in (Artifact.Kind.FORM, Artifact.Kind.MANIFEST)
        if not own and artifact.proposal.get("by") != BY_AGENT:
            raise Refused("A person proposed this, and only a person decides on it.")
        try:
            cancel(artifact, by=BY_AGENT)
        except DecisionRefused as error:
            raise Refused(str(error)) from None
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _artifact(self, artifact_id: str) -> Artifact:
        try:
            pk = UUID(artifact_id)
        except ValueError:
            raise NotFound from None
        found = Artifact.objects.select_related("agent").filter(agent=self.agent(), pk=pk).first()
        if found is None:
            raise NotFound
        return found


class ProposeSwitchView(AgentView):
    """``POST /agents/<id>/connection/switch``."""

    @extend_schema(
        operation_id="propose_switch",
        request=ProposalSerializer,
        responses={
            202: ArtifactSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            404: NOT_FOUND,
            409: REFUSED,
            429: TOO_MANY,
        },
    )
    def post(self, request: Request, agent_id: str) -> Response:
        """Propose a connection. An agent never confirms: a person does, within ten minutes."""
        given = ProposalSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        try:
            artifact = propose_switch(
                self.agent(),
                wanted["mode"],
                url=wanted["url"],
                secret=wanted["secret"],
                endpoint=wanted.get("endpoint"),
                by=BY_AGENT,
            )
        except TooManyProposals as error:
            raise Throttled(wait=60, detail=str(error)) from None
        except DecisionRefused as error:
            raise Refused(str(error)) from None
        except InvalidValue as error:
            raise as_field_errors(error) from None
        if wanted["mode"] == Agent.Mode.WEBHOOK:
            ping(artifact)
        return Response(shown(artifact), status=status.HTTP_202_ACCEPTED)
