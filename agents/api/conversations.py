"""An agent's conversations: which there are, and what was sent in one lately."""

import base64
import binascii
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Agent, Conversation
from agents.selectors import conversations_of, latest_deliveries, places
from deliveries.models import Delivery

from .schema import BAD_FIELDS, NEXT_CURSOR, NO_CONVERSATION, NOT_FOUND, UNAUTHORIZED
from .views import AgentView

LATEST = 20


class CursorField(serializers.CharField):
    """Where a page begins: a key, as base64, since a key may be any text."""

    default_error_messages = {"cursor": "This is no cursor of a page before."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            return base64.b64decode(text, altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            self.fail("cursor")


class ConversationsPageSerializer(serializers.Serializer[Any]):
    """Which part of the conversations: ``key`` is that of one, ``cursor`` the X-Next-Cursor of the
    page before."""

    limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
    cursor = CursorField(required=False)
    key = serializers.CharField(required=False, max_length=255)


class PlaceSerializer(serializers.Serializer[Any]):
    """Where what the agent says goes: a channel by its name, and where on it."""

    channel = serializers.CharField()
    target = serializers.DictField()


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    """A conversation; ``used_at`` is a moment of its last day of use."""

    conversation_id = serializers.UUIDField(source="id", read_only=True)
    used_at = serializers.DateTimeField(source="created_at", read_only=True)

    class Meta:
        model = Conversation
        fields: tuple[str, ...] = ("conversation_id", "key", "sender_id", "used_at")
        read_only_fields = fields


class LatestSerializer(serializers.Serializer[Any]):
    """One of the latest deliveries: ``to`` is ``agent``, or the channel's name."""

    delivery_id = serializers.UUIDField()
    event_id = serializers.UUIDField()
    to = serializers.CharField()
    event_type = serializers.CharField()
    created_at = serializers.DateTimeField()
    status = serializers.ChoiceField(choices=Delivery.Status.choices)


class ConversationDetailSerializer(ConversationSerializer):
    """A conversation with its places and its latest deliveries, newest first."""

    places = PlaceSerializer(many=True, read_only=True)
    latest = LatestSerializer(many=True, read_only=True)

    class Meta(ConversationSerializer.Meta):
        fields = (*ConversationSerializer.Meta.fields, "places", "latest")
        read_only_fields = fields


class ConversationsView(AgentView):
    """``GET /agents/<id>/conversations?limit=50&cursor=…&key=…``."""

    @extend_schema(
        operation_id="conversations",
        parameters=[ConversationsPageSerializer, NEXT_CURSOR],
        responses={
            200: ConversationSerializer(many=True),
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            404: NOT_FOUND,
        },
    )
    def get(self, request: Request, agent_id: str) -> Response:
        """Answer an array in the order of the keys; X-Next-Cursor leads to the next page."""
        page = ConversationsPageSerializer(data=request.query_params)
        page.is_valid(raise_exception=True)
        wanted = page.validated_data
        limit: int = wanted["limit"]
        found = conversations_of(self.agent(), after=wanted.get("cursor"), key=wanted.get("key"))
        rows = list(found[: limit + 1])
        shown = rows[:limit]
        headers = {"X-Next-Cursor": _cursor(shown[-1].key)} if len(rows) > limit else {}
        return Response(ConversationSerializer(shown, many=True).data, headers=headers)


class ConversationView(AgentView):
    """``GET /agents/<id>/conversations/<conversation_id>``."""

    @extend_schema(
        operation_id="conversation",
        parameters=[OpenApiParameter("conversation_id", OpenApiTypes.UUID, OpenApiParameter.PATH)],
        responses={200: ConversationDetailSerializer, 401: UNAUTHORIZED, 404: NO_CONVERSATION},
    )
    def get(self, request: Request, agent_id: str, conversation_id: str) -> Response:
        """Answer a conversation of this agent."""
        agent = self.agent()
        conversation = _found(agent, conversation_id)
        latest = latest_deliveries(conversation, LATEST).select_related("lane")
        shown = {
            **ConversationSerializer(conversation).data,
            "places": [
                {"channel": place.channel.name, "target": place.target}
                for place in places(conversation)
            ],
            "latest": [
                {
                    "delivery_id": str(row.pk),
                    "event_id": str(row.event_id),
                    "to": "agent" if row.lane_id == agent.lane_id else row.lane.label,
                    "event_type": row.event_type,
                    "created_at": row.created_at,
                    "status": row.status,
                }
                for row in latest
            ],
        }
        return Response(shown)


def _found(agent: Agent, conversation_id: str) -> Conversation:
    try:
        pk = UUID(conversation_id)
    except ValueError:
        raise NotFound from None
    found = Conversation.objects.select_related("agent").filter(agent=agent, pk=pk).first()
    if found is None:
        raise NotFound
    return found


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()
