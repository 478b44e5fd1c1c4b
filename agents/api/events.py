"""Events that Hermes has no source of its own for, from trusted producers."""

from typing import Any

import orjson
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from agents.event_types import FOREIGN_EVENTS
from agents.models import Conversation
from agents.services import emit
from deliveries.models import Delivery

from .schema import AGENT_ID, BAD_FIELDS, TOO_LARGE, UNAUTHORIZED, ErrorSerializer
from .staff import StaffView, agent_or_404
from .system import FORBIDDEN

PAYLOAD_LIMIT = 1_048_576  # bytes of JSON, as of a message
NOT_THERE = OpenApiResponse(ErrorSerializer, "No such agent, or no such conversation of it.")


class NewEventSerializer(serializers.Serializer[Any]):
    """An event; ``user_id`` is whom it is about."""

    type = serializers.ChoiceField(choices=sorted(FOREIGN_EVENTS))
    payload = serializers.DictField()
    conversation_id = serializers.UUIDField(required=False, allow_null=True)
    user_id = serializers.CharField(max_length=255, allow_blank=True, default="")

    def validate_payload(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Refuse what can't be kept."""
        try:
            size = len(orjson.dumps(payload))
        except orjson.JSONEncodeError:
            raise ValidationError("It holds something that cannot be written as JSON.") from None
        if size > PAYLOAD_LIMIT:
            raise ValidationError(f"It is larger than {PAYLOAD_LIMIT} bytes.")
        return payload


class TakenEventSerializer(serializers.Serializer[Any]):
    """What was stored; ``skipped`` says why the agent does not get it, empty where it does."""

    event_id = serializers.UUIDField()
    skipped = serializers.CharField(allow_blank=True)


@extend_schema(parameters=[AGENT_ID])
class EventsView(StaffView):
    """``POST /agents/<id>/events``."""

    needs = {"POST": "deliveries.add_event"}  # noqa: RUF012

    @extend_schema(
        operation_id="emit",
        request=NewEventSerializer,
        responses={
            202: TakenEventSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            403: FORBIDDEN,
            404: NOT_THERE,
            413: TOO_LARGE,
        },
    )
    def post(self, request: Request, agent_id: str) -> Response:
        """Record an event for an agent, and send it where the agent's mode carries it."""
        agent = agent_or_404(agent_id)
        given = NewEventSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        fields = given.validated_data
        conversation = None
        if pk := fields.get("conversation_id"):
            conversation = Conversation.objects.filter(agent=agent, pk=pk).first()
            if conversation is None:
                raise NotFound
        event = emit(
            agent,
            fields["type"],
            fields["payload"],
            conversation=conversation,
            user_id=fields["user_id"],
        )
        delivery = event.deliveries.get()
        skipped = delivery.error_class if delivery.status == Delivery.Status.SKIPPED else ""
        taken = {"event_id": event.pk, "skipped": skipped}
        return Response(TakenEventSerializer(taken).data, status=status.HTTP_202_ACCEPTED)
