"""Who calls: an agent, by its bearer token."""

from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from agents.models import Agent, AgentToken
from agents.services import authenticate

SCHEME = "Bearer"


class AgentTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer hsk_…``; sets ``request.user`` to the agent."""

    def authenticate(self, request: Request) -> tuple[Agent, AgentToken] | None:
        scheme, _space, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != SCHEME.lower().encode():
            return None
        found = authenticate(token.strip().decode("latin-1"))
        if found is None:
            raise AuthenticationFailed(_("The token is not valid."))
        return found.agent, found

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge, which turns a refusal into a 401 rather than a 403."""
        return SCHEME
