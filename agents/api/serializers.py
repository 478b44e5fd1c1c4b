"""What goes in and out of the agents' REST API, in the words of spec 002."""

from typing import Any

from rest_framework import serializers

from deliveries.models import Delivery


class DeliveryLogSerializer(serializers.ModelSerializer[Delivery]):
    """One line of the delivery log, exactly the fields of spec 002.

    ``final_status`` is null while the delivery is pending; ``error_class`` is then that of the
    last attempt, if one failed.
    """

    delivery_id = serializers.UUIDField(source="id")
    agent_id = serializers.SerializerMethodField()
    final_status = serializers.SerializerMethodField()
    error_class = serializers.SerializerMethodField()

    class Meta:
        model = Delivery
        fields = (
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

    def get_agent_id(self, delivery: Delivery) -> str:
        return str(self.context["agent_id"])

    def get_final_status(self, delivery: Delivery) -> str | None:
        return None if delivery.status == Delivery.Status.PENDING else delivery.status

    def get_error_class(self, delivery: Delivery) -> str | None:
        return delivery.error_class or None


class PageSerializer(serializers.Serializer[Any]):
    """Which part of the delivery log: ``cursor`` is the X-Next-Cursor of the page before."""

    limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
    cursor = serializers.UUIDField(required=False)


class NewMessageSerializer(serializers.Serializer[Any]):
    """What an agent says, and in which conversation; the service judges the payload."""

    conversation_id = serializers.UUIDField()
    payload = serializers.JSONField()
