"""The pull mode: an agent takes its deliveries and says what came of them."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework.request import Request
from rest_framework.response import Response

from agents import wire
from agents.connections.fetched import ACKNOWLEDGED, REASON_LIMIT, body_of, refused
from agents.models import Agent
from agents.services.presence import Unwelcome, note_poll
from agents.sockets.waiting_room import LONGEST_WAIT
from deliveries import fetching
from deliveries.outcomes import Outcome

from .schema import BAD_FIELDS, NOT_FOUND, UNAUTHORIZED, ErrorSerializer
from .views import AgentView

LARGEST_BATCH = 50
DEFAULT_LEASE, LONGEST_LEASE = 60, 3600  # seconds
# Bodies may have 1 MB each: no more of them are fetched at a time, and none when an answer has
# grown to this size.
FETCHED_TOGETHER = 4
ANSWER_LIMIT = 4 * 1_048_576  # bytes
MOST_IDS = 1000


class NotPulling(APIException):
    """409: the agent is in another mode, suspended or unreachable."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "not_pulling"


class BatchSerializer(serializers.Serializer[Any]):
    """How long to wait for a delivery, how many to take at most, and for how many seconds they
    are the caller's."""

    wait = serializers.IntegerField(min_value=0, max_value=LONGEST_WAIT, default=0)
    limit = serializers.IntegerField(min_value=1, max_value=LARGEST_BATCH, default=10)
    lease = serializers.IntegerField(min_value=10, max_value=LONGEST_LEASE, default=DEFAULT_LEASE)


class PulledSerializer(serializers.Serializer[Any]):
    """A delivery as a webhook would get it: headers and the text of the body."""

    delivery_id = serializers.UUIDField()
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.CharField()


class PulledBatchSerializer(serializers.Serializer[Any]):
    """What the agent has for the time of its lease; empty when nothing came in time."""

    deliveries = PulledSerializer(many=True)
    lease_seconds = serializers.IntegerField()


@extend_schema_field({"oneOf": [{"type": "boolean"}, {"type": "number", "minimum": 0}]})
class RetryField(serializers.Field[Any, Any, Any, Any]):
    """Yes, no, or how many seconds to wait."""

    def to_internal_value(self, data: Any) -> bool | float:
        if isinstance(data, bool):
            return data
        if isinstance(data, int | float) and data >= 0:
            return float(min(data, LONGEST_LEASE))
        raise serializers.ValidationError(_("True, false, or a number of seconds."))

    def to_representation(self, value: Any) -> Any:
        return value


class FailedSerializer(serializers.Serializer[Any]):
    """A delivery that the agent did not take."""

    id = serializers.UUIDField()
    error = serializers.CharField(max_length=REASON_LIMIT, default="", allow_blank=True)
    retry = RetryField(default=False)


class SettledSerializer(serializers.Serializer[Any]):
    """What came of deliveries: these are done, those have failed."""

    ids = serializers.ListField(child=serializers.UUIDField(), max_length=MOST_IDS, default=list)
    failed = serializers.ListField(child=FailedSerializer(), max_length=MOST_IDS, default=list)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        both = set(attrs["ids"]) & {item["id"] for item in attrs["failed"]}
        if both:
            raise serializers.ValidationError(
                {"failed": [ErrorDetail(f"{pk} is among ids as well.") for pk in sorted(both)]}
            )
        return attrs


class NotedSerializer(serializers.Serializer[Any]):
    """Which of them were noted; the others were no longer, or never, out to this agent."""

    acknowledged = serializers.ListField(child=serializers.UUIDField())
    failed = serializers.ListField(child=serializers.UUIDField())
    unknown = serializers.ListField(child=serializers.UUIDField())


class DeliveriesView(AgentView):
    """``GET /agents/<id>/deliveries?wait=30&limit=10``.

    It answers with what there is; the waiting is done before it is asked, where that costs no
    thread (`agents.sockets.waiting_room`).
    """

    @extend_schema(
        operation_id="pull_deliveries",
        parameters=[BatchSerializer],
        responses={
            200: PulledBatchSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            404: NOT_FOUND,
            409: OpenApiResponse(
                ErrorSerializer, "The agent is in another mode, suspended or unreachable."
            ),
        },
    )
    def get(self, request: Request, agent_id: str) -> Response:
        """Lease what waits, oldest first, to the caller."""
        asked = BatchSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        agent, lease = self.agent(), asked.validated_data["lease"]
        try:
            lane_id = note_poll(agent.pk)
        except Unwelcome as error:
            raise NotPulling(error.farewell.reason) from None
        taken = take(agent, lane_id, asked.validated_data["limit"], lease)
        batch = {"deliveries": taken, "lease_seconds": lease}
        return Response(PulledBatchSerializer(batch).data, headers={"Cache-Control": "no-store"})


class AcknowledgeView(AgentView):
    """``POST /agents/<id>/deliveries/ack``."""

    @extend_schema(
        operation_id="acknowledge_deliveries",
        request=SettledSerializer,
        responses={
            200: NotedSerializer,
            400: OpenApiResponse(OpenApiTypes.OBJECT, "What is wrong, by field."),
            401: UNAUTHORIZED,
            404: NOT_FOUND,
        },
    )
    def post(self, request: Request, agent_id: str) -> Response:
        """Note what came of deliveries; a repeat changes nothing."""
        said = SettledSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        agent = self.agent()
        outcomes: dict[UUID, Outcome] = dict.fromkeys(said.validated_data["ids"], ACKNOWLEDGED)
        for item in said.validated_data["failed"]:
            outcomes[item["id"]] = refused(item["error"], item["retry"])
        noted = fetching.settle(agent.lane_id, outcomes, claim_of(agent))
        parts: Mapping[str, list[UUID]] = {
            "acknowledged": [pk for pk in said.validated_data["ids"] if pk in noted],
            "failed": [item["id"] for item in said.validated_data["failed"] if item["id"] in noted],
            "unknown": [pk for pk in outcomes if pk not in noted],
        }
        return Response(NotedSerializer(parts).data)


def claim_of(agent: Agent) -> UUID:
    """Return the token of what an agent has pulled: its own id, as calls have no memory."""
    return agent.pk


def take(agent: Agent, lane_id: int, limit: int, lease: float) -> list[dict[str, Any]]:
    """Lease deliveries to an agent; return them as they are answered.

    One that has no body ends here, and is not among them.
    """
    secret = agent.secrets.live().values_list("value", flat=True).first()
    taken: list[dict[str, Any]] = []
    ends: dict[UUID, Outcome] = {}
    size = 0
    while len(taken) < limit and size < ANSWER_LIMIT:
        asked = min(limit - len(taken), FETCHED_TOGETHER)
        claimed = fetching.fetch(lane_id, asked, lease, claim_of(agent))
        for item in claimed:
            body = body_of(item)
            if isinstance(body, Outcome):
                ends[item.delivery.pk] = body
            else:
                size += len(body)
                taken.append(pulled(agent, secret, item.delivery.pk, body))
        if len(claimed) < asked:
            break
    fetching.settle(lane_id, ends, claim_of(agent))
    return taken


def pulled(agent: Agent, secret: str | None, delivery_id: UUID, body: bytes) -> dict[str, Any]:
    """Return one delivery with the headers that a webhook would get with it."""
    headers = wire.headers(
        secret=secret or "",
        agent_id=agent.pk,
        delivery_id=delivery_id,
        body=body,
        timestamp=int(time.time()),
    )
    if not secret:
        del headers[wire.SIGNATURE_HEADER]
    return {"delivery_id": delivery_id, "headers": headers, "body": body.decode()}
