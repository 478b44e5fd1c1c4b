"""The agents' REST API (spec 002): recover, delivery log, messages."""

from collections.abc import Mapping
from typing import Any, cast

from django.core.exceptions import ValidationError as InvalidValue
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents.models import Agent
from agents.selectors import LogFilter, delivery_log
from agents.services import UnknownConversation, post_message, recover

from .authentication import AgentTokenAuthentication
from .parsers import BoundedJSONParser
from .permissions import IsAgentItself
from .schema import (
    AGENT_ID,
    BAD_FIELDS,
    NEXT_CURSOR,
    NO_CONVERSATION,
    NOT_FOUND,
    TOO_LARGE,
    UNAUTHORIZED,
)
from .serializers import (
    DeliveryLogSerializer,
    NewMessageSerializer,
    PageSerializer,
    RecoveredSerializer,
    TakenMessageSerializer,
)


@extend_schema(parameters=[AGENT_ID])
class AgentView(APIView):
    """An entry for one agent with its own token."""

    authentication_classes = (AgentTokenAuthentication,)
    permission_classes = (IsAgentItself,)
    parser_classes = (BoundedJSONParser,)

    def agent(self) -> Agent:
        """Return the agent that calls, which is the one in the address."""
        return cast(Agent, self.request.user)


class RecoverView(AgentView):
    """``POST /agents/<id>/connection/recover``."""

    @extend_schema(
        operation_id="recover",
        request=None,
        responses={200: RecoveredSerializer, 401: UNAUTHORIZED, 404: NOT_FOUND},
    )
    def post(self, request: Request, agent_id: str) -> Response:
        """Take the agent back; a repeat, or a call without need, changes nothing."""
        agent = self.agent()
        count = recover(agent)
        agent.refresh_from_db(fields=["connection_status"])
        done = {"status": agent.connection_status, "pending_count": count}
        return Response(RecoveredSerializer(done).data)


class DeliveryLogView(AgentView):
    """``GET /agents/<id>/delivery-logs?limit=50&cursor=…&status=failed…``."""

    @extend_schema(
        operation_id="delivery_logs",
        parameters=[PageSerializer, NEXT_CURSOR],
        responses={
            200: DeliveryLogSerializer(many=True),
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            404: NOT_FOUND,
        },
    )
    def get(self, request: Request, agent_id: str) -> Response:
        """Answer an array, newest first; X-Next-Cursor leads to the next page, if there is one."""
        page = PageSerializer(data=request.query_params)
        page.is_valid(raise_exception=True)
        limit: int = page.validated_data["limit"]
        agent = self.agent()
        rows = list(delivery_log(agent, _wanted(page.validated_data))[: limit + 1])
        shown = rows[:limit]
        headers = {"X-Next-Cursor": str(shown[-1].pk)} if len(rows) > limit else {}
        lines = DeliveryLogSerializer(shown, many=True, context={"agent_id": agent.pk})
        return Response(lines.data, headers=headers)


def _wanted(page: Mapping[str, Any]) -> LogFilter:
    filters = {name: value for name, value in page.items() if name not in ("limit", "cursor")}
    return LogFilter(before=page.get("cursor"), **filters)


class MessagesView(AgentView):
    """``POST /agents/<id>/messages``."""

    @extend_schema(
        operation_id="post_message",
        request=NewMessageSerializer,
        responses={
            202: TakenMessageSerializer,
            400: BAD_FIELDS,
            401: UNAUTHORIZED,
            404: NO_CONVERSATION,
            413: TOO_LARGE,
        },
    )
    def post(self, request: Request, agent_id: str) -> Response:
        """Take what the agent says: 202 once it is stored, with the id of the event."""
        message = NewMessageSerializer(data=request.data)
        message.is_valid(raise_exception=True)
        fields: dict[str, Any] = message.validated_data
        try:
            event = post_message(
                self.agent(),
                fields["conversation_id"],
                fields["payload"],
                in_reply_to=fields.get("in_reply_to"),
            )
        except UnknownConversation as error:
            raise NotFound(str(error)) from None
        except InvalidValue as error:
            raise ValidationError(error.message_dict) from None
        taken = TakenMessageSerializer({"event_id": event.pk})
        return Response(taken.data, status=status.HTTP_202_ACCEPTED)
