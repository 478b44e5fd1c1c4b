"""The system agent for staff: a sentence in, an answer and a form out; and the form's decision."""

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from agents.grammar import LIMIT
from agents.models import Artifact
from agents.services import DecisionRefused
from agents.services.decisions import confirm, permission_for, reject
from agents.services.system import converse

from .decisions import REFUSED, ArtifactSerializer, Refused, shown
from .schema import BAD_FIELDS, UNAUTHORIZED, ErrorSerializer
from .staff import StaffView

NO_STORE = {"Cache-Control": "no-store"}
FORBIDDEN = OpenApiResponse(ErrorSerializer, "No member of staff, or without the permission.")
NO_FORM = OpenApiResponse(ErrorSerializer, "There is no such form.")


class SentenceSerializer(serializers.Serializer[Any]):
    """What is said, in English or Chinese."""

    text = serializers.CharField(max_length=LIMIT, trim_whitespace=True)


class ReplySerializer(serializers.Serializer[Any]):
    """What the system agent says, lines below it, and the form to confirm, if there is one."""

    said = serializers.CharField()
    lines = serializers.ListField(child=serializers.CharField())
    artifact = ArtifactSerializer(allow_null=True)


class DecisionSerializer(serializers.Serializer[Any]):
    """``anyway``: also if the webhook did not answer its ping with 2xx."""

    decision = serializers.ChoiceField(choices=["confirm", "cancel"])
    anyway = serializers.BooleanField(default=False)


class DoneSerializer(serializers.Serializer[Any]):
    """What was done; ``secret`` is one that was generated, shown this once."""

    said = serializers.CharField()
    secret = serializers.CharField(allow_null=True)
    artifact = ArtifactSerializer()


class SystemView(StaffView):
    """``POST /system``."""

    @extend_schema(
        operation_id="system",
        request=SentenceSerializer,
        responses={200: ReplySerializer, 400: BAD_FIELDS, 401: UNAUTHORIZED, 403: FORBIDDEN},
    )
    def post(self, request: Request) -> Response:
        """Answer a sentence. Nothing is changed: what is to be changed comes as a form."""
        given = SentenceSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        person = self.person()
        reply = converse(
            given.validated_data["text"], by=person.get_username(), may=person.has_perm
        )
        said = {
            "said": reply.said,
            "lines": list(reply.lines),
            "artifact": shown(reply.artifact) if reply.artifact else None,
        }
        return Response(said, headers=NO_STORE)


ARTIFACT_ID = OpenApiParameter("artifact_id", OpenApiTypes.UUID, OpenApiParameter.PATH)


@extend_schema(parameters=[ARTIFACT_ID])
class DecisionView(StaffView):
    """``GET`` and ``POST /system/artifacts/<artifact_id>``."""

    @extend_schema(
        operation_id="system_artifact",
        responses={200: ArtifactSerializer, 401: UNAUTHORIZED, 403: FORBIDDEN, 404: NO_FORM},
    )
    def get(self, request: Request, artifact_id: str) -> Response:
        """Answer what is proposed on a form."""
        return Response(shown(self._artifact(artifact_id)))

    @extend_schema(
        operation_id="decide",
        request=DecisionSerializer,
        responses={
            200: DoneSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            403: FORBIDDEN,
            404: NO_FORM,
            409: REFUSED,
        },
    )
    def post(self, request: Request, artifact_id: str) -> Response:
        """Confirm what is proposed, or cancel it."""
        given = DecisionSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        artifact, by = self._artifact(artifact_id), self.person().get_username()
        try:
            if given.validated_data["decision"] == "confirm":
                done = confirm(artifact, by, anyway=given.validated_data["anyway"])
            else:
                done = reject(artifact, by)
        except DecisionRefused as error:
            raise Refused(str(error)) from None
        artifact.refresh_from_db()
        said = {"said": done.said, "secret": done.secret, "artifact": shown(artifact)}
        return Response(said, headers=NO_STORE)

    def _artifact(self, artifact_id: str) -> Artifact:
        """Return a form, if this person may decide on it; questions are answered elsewhere."""
        try:
            pk = UUID(artifact_id)
        except ValueError:
            raise NotFound from None
        forms = Artifact.objects.select_related("agent").exclude(kind=Artifact.Kind.FORM)
        artifact = forms.filter(pk=pk).first()
        if artifact is None:
            raise NotFound
        if not self.person().has_perm(permission_for(artifact)):
            raise PermissionDenied
        return artifact
