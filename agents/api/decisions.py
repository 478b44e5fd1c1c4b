"""Forms before a person, as the REST interface shows them."""

from typing import Any

from django.core.exceptions import ValidationError as InvalidValue
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ValidationError

from agents.models import Artifact
from agents.services.artifacts import is_open, link_to
from agents.services.decisions import describe, title_of

from .schema import ErrorSerializer


class Refused(APIException):
    """409: the form was decided, has expired, or things have changed."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = _("This can't be done any more.")
    default_code = "conflict"


REFUSED = OpenApiResponse(ErrorSerializer, "It was decided already, or things have changed.")


class ChangeSerializer(serializers.Serializer[Any]):
    """What is proposed: now, then, and what follows; ``checked`` is what a ping came to."""

    now = serializers.CharField()
    then = serializers.CharField()
    effects = serializers.ListField(child=serializers.CharField())
    checked = serializers.CharField(allow_blank=True)
    in_doubt = serializers.BooleanField(help_text="Confirm it with “anyway” only.")


class ArtifactSerializer(serializers.Serializer[Any]):
    """A form and what became of it. ``url`` is where a person answers it, while it is open."""

    artifact_id = serializers.UUIDField()
    agent_id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=Artifact.Kind.choices)
    state = serializers.ChoiceField(choices=Artifact.State.choices)
    title = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    url = serializers.URLField(allow_null=True)
    answer = serializers.DictField(allow_null=True)
    answered_at = serializers.DateTimeField(allow_null=True)
    answered_by = serializers.CharField(allow_null=True)
    change = ChangeSerializer(allow_null=True)


def shown(artifact: Artifact) -> dict[str, Any]:
    """Return a form as JSON; never its secret."""
    asked = artifact.kind == Artifact.Kind.FORM
    described = artifact.kind in (Artifact.Kind.SWITCH, Artifact.Kind.ACT)
    state = artifact.state
    if state == Artifact.State.OPEN and not is_open(artifact):
        state = Artifact.State.EXPIRED
    fields = {
        "artifact_id": artifact.pk,
        "agent_id": artifact.agent_id,
        "kind": artifact.kind,
        "state": state,
        "title": title_of(artifact),
        "created_at": artifact.created_at,
        "expires_at": artifact.expires_at,
        "url": link_to(artifact) if asked and is_open(artifact) else None,
        "answer": artifact.answer if asked and state == Artifact.State.CONFIRMED else None,
        "answered_at": artifact.decided_at,
        "answered_by": artifact.decided_by or None,
        "change": describe(artifact) if described else None,
    }
    return dict(ArtifactSerializer(fields).data)


def as_field_errors(error: InvalidValue) -> ValidationError:
    """Return Django's errors by field as the API's 400."""
    return ValidationError(error.message_dict)
