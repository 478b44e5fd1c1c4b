"""Relations, for staff: who may reach an agent."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError as InvalidValue
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Relation
from agents.services.relations import (
    RelationRefused,
    establish,
    restore_relation,
    revoke,
    suspend_relation,
)

from .decisions import REFUSED, Refused, as_field_errors
from .schema import AGENT_ID, BAD_FIELDS, NEXT_CURSOR, NOT_FOUND, UNAUTHORIZED
from .staff import StaffView, agent_or_404
from .system import FORBIDDEN

SERVICES = {"suspend": suspend_relation, "restore": restore_relation, "revoke": revoke}


class RelationSerializer(serializers.ModelSerializer[Relation]):
    """A person's standing with an agent."""

    relation_id = serializers.UUIDField(source="id", read_only=True)

    class Meta:
        model = Relation
        fields = read_only_fields = (
            "relation_id", "agent_id", "user_id", "name", "status", "created_at", "changed_at",
        )  # fmt: skip


class NewRelationSerializer(serializers.Serializer[Any]):
    """Who: as the ``sender_id`` of that person's messages."""

    user_id = serializers.CharField(max_length=255)
    name = serializers.CharField(max_length=255, allow_blank=True, default="")


class RelationsPageSerializer(serializers.Serializer[Any]):
    """Which part of the relations: ``cursor`` is the X-Next-Cursor of the page before."""

    limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
    cursor = serializers.UUIDField(required=False)


class ChangeOfRelationSerializer(serializers.Serializer[Any]):
    """What is to become of it."""

    change = serializers.ChoiceField(choices=sorted(SERVICES))


@extend_schema(parameters=[AGENT_ID])
class RelationsView(StaffView):
    """``GET`` and ``POST /agents/<id>/relations``."""

    needs = {"GET": "agents.view_relation", "POST": "agents.add_relation"}  # noqa: RUF012

    @extend_schema(
        operation_id="relations",
        parameters=[RelationsPageSerializer, NEXT_CURSOR],
        responses={
            200: RelationSerializer(many=True),
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            403: FORBIDDEN,
            404: NOT_FOUND,
        },
    )
    def get(self, request: Request, agent_id: str) -> Response:
        """Answer the relations of an agent, newest first."""
        page = RelationsPageSerializer(data=request.query_params)
        page.is_valid(raise_exception=True)
        limit: int = page.validated_data["limit"]
        rows = Relation.objects.filter(agent=agent_or_404(agent_id)).order_by("-pk")
        if cursor := page.validated_data.get("cursor"):
            rows = rows.filter(pk__lt=cursor)
        found = list(rows[: limit + 1])
        shown = found[:limit]
        headers = {"X-Next-Cursor": str(shown[-1].pk)} if len(found) > limit else {}
        return Response(RelationSerializer(shown, many=True).data, headers=headers)

    @extend_schema(
        operation_id="establish_relation",
        request=NewRelationSerializer,
        responses={
            200: RelationSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            403: FORBIDDEN,
            404: NOT_FOUND,
            409: REFUSED,
        },
    )
    def post(self, request: Request, agent_id: str) -> Response:
        """Establish a relation, or one that was revoked anew; the agent is told."""
        agent = agent_or_404(agent_id)
        given = NewRelationSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            relation = establish(agent, **given.validated_data, by=self.person().get_username())
        except RelationRefused as error:
            raise Refused(str(error)) from None
        except InvalidValue as error:
            raise as_field_errors(error) from None
        return Response(RelationSerializer(relation).data, status=status.HTTP_200_OK)


@extend_schema(
    parameters=[
        AGENT_ID,
        OpenApiParameter("relation_id", OpenApiTypes.UUID, OpenApiParameter.PATH),
    ]
)
class RelationView(StaffView):
    """``GET`` and ``POST /agents/<id>/relations/<relation_id>``."""

    needs = {"GET": "agents.view_relation", "POST": "agents.change_relation"}  # noqa: RUF012

    @extend_schema(
        operation_id="relation",
        responses={200: RelationSerializer, 401: UNAUTHORIZED, 403: FORBIDDEN, 404: NOT_FOUND},
    )
    def get(self, request: Request, agent_id: str, relation_id: str) -> Response:
        """Answer a relation."""
        return Response(RelationSerializer(_found(agent_id, relation_id)).data)

    @extend_schema(
        operation_id="change_relation",
        request=ChangeOfRelationSerializer,
        responses={
            200: RelationSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            403: FORBIDDEN,
            404: NOT_FOUND,
            409: REFUSED,
        },
    )
    def post(self, request: Request, agent_id: str, relation_id: str) -> Response:
        """Suspend, restore or revoke a relation; the agent is told."""
        relation = _found(agent_id, relation_id)
        given = ChangeOfRelationSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            SERVICES[given.validated_data["change"]](relation, by=self.person().get_username())
        except RelationRefused as error:
            raise Refused(str(error)) from None
        return Response(RelationSerializer(relation).data)


def _found(agent_id: str, relation_id: str) -> Relation:
    try:
        pk = UUID(relation_id)
    except ValueError:
        raise NotFound from None
    rows = Relation.objects.select_related("agent").filter(agent=agent_or_404(agent_id), pk=pk)
    relation = rows.first()
    if relation is None:
        raise NotFound
    return relation
