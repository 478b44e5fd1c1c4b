"""What an agent may do: everything about itself, nothing about others."""

from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from agents.models import AgentToken


class IsAgentItself(BasePermission):
    """The token belongs to the agent in the address.

    Another agent's id is answered like one that does not exist, so that ids cannot be probed.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        token = request.auth
        if not isinstance(token, AgentToken):
            return False
        if str(token.agent_id) != view.kwargs["agent_id"].lower():
            raise NotFound
        return True
