"""What goes in and out of the agents' REST API, in the words of spec 002."""

from typing import Any, Literal, cast, get_args

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.models import Agent
from deliveries.models import Delivery

FinalStatus = Literal["delivered", "failed", "unreachable"]
# By which statuses the log can be filtered: a final one, or none yet.
LOGGED = [*get_args(FinalStatus), "pending"]
# What `agents.services.check_payload` takes.
TEXT_MESSAGE = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["text"]},
        "text": {"type": "string", "minLength": 1},
    },
    "required": ["type", "text"],
}


@extend_schema_field(TEXT_MESSAGE)
class PayloadField(serializers.JSONField):
    """A message, as JSON; the service judges it."""


class DeliveryLogSerializer(serializers.ModelSerializer[Delivery]):
    """One line of the delivery log, exactly the fields of spec 002.

    ``final_status`` is null while the delivery is pending; ``error_class`` is then that of the
    last attempt, if one failed. What was skipped is not in the log.
    """

    delivery_id = serializers.UUIDField(source="id", read_only=True)
    agent_id = serializers.SerializerMethodField()
    final_status = serializers.SerializerMethodField()
    error_class = serializers.SerializerMethodField()

    class Meta:
        model = Delivery
        fields = read_only_fields = (
            "delivery_id",
            "agent_id",
            "event_type",
            "created_at",
            "completed_at",
            "attempt_count",
            "final_status",
            "latency_ms",
            "error_class",
        )

    @extend_schema_field(OpenApiTypes.UUID)
    def get_agent_id(self, delivery: Delivery) -> str:
        return str(self.context["agent_id"])

    def get_final_status(self, delivery: Delivery) -> FinalStatus | None:
        pending = delivery.status == Delivery.Status.PENDING
        return None if pending else cast(FinalStatus, delivery.status)

    def get_error_class(self, delivery: Delivery) -> str | None:
        return delivery.error_class or None


class PageSerializer(serializers.Serializer[Any]):
    """Which part of the delivery log: ``cursor`` is the X-Next-Cursor of the page before.

    The rest filters; ``since`` is inclusive and ``until`` is not.
    """

    limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
    cursor = serializers.UUIDField(required=False)
    status = serializers.ChoiceField(choices=LOGGED, required=False)
    event_type = serializers.CharField(required=False, max_length=200)
    error_class = serializers.CharField(required=False, max_length=40)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class RecoveredSerializer(serializers.Serializer[Any]):
    """How the agent stands after a recover, and how many deliveries are on their way to it."""

    status = serializers.ChoiceField(choices=Agent.Status.choices)
    pending_count = serializers.IntegerField(min_value=0)


class NewMessageSerializer(serializers.Serializer[Any]):
    """What an agent says, in which conversation, and to which message: one of the agent's
    deliveries, by its own id or by that in its envelope; not given, the latest it got."""

    conversation_id = serializers.UUIDField()
    payload = PayloadField()
    in_reply_to = serializers.UUIDField(required=False, allow_null=True)


class TakenMessageSerializer(serializers.Serializer[Any]):
    """What was stored of it."""

    event_id = serializers.UUIDField()
