"""Who calls: a member of staff, by session or by a token of ``manage.py staff_token``."""

from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework.authentication import (
    BaseAuthentication,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed, NotFound, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from agents.models import Agent
from agents.services.staff_tokens import staff_of

from .authentication import SCHEME
from .parsers import BoundedJSONParser


class StaffTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer hst_…``; sets ``request.user`` to the user."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        scheme, _space, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != SCHEME.lower().encode():
            return None
        user = staff_of(token.strip().decode("latin-1"))
        if user is None:
            raise AuthenticationFailed(_("The token is not valid."))
        return user, None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge, which turns a refusal into a 401 rather than a 403."""
        return SCHEME


class StaffTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The bearer token of a member of staff."""

    target_class = "agents.api.staff.StaffTokenAuthentication"
    name = "staffToken"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """Return the scheme as OpenAPI names it."""
        return {"type": "http", "scheme": "bearer", "description": "A token of staff: hst_…"}


class IsStaff(BasePermission):
    """A member of staff with the permission that the view names for the method, if any."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        user: Any = request.user
        if user is None or not user.is_staff:
            return False
        needed = getattr(view, "needs", {}).get(request.method)
        return needed is None or user.has_perm(needed)


class StaffView(APIView):
    """An entry for staff; ``needs`` names the permission for each method."""

    authentication_classes = (StaffTokenAuthentication, SessionAuthentication)
    permission_classes = (IsStaff,)
    parser_classes = (BoundedJSONParser,)
    needs: dict[str, str] = {}  # noqa: RUF012

    def person(self) -> Any:
        """Return the user who calls."""
        return self.request.user

    def require(self, permission: str) -> None:
        """Raise PermissionDenied unless the caller has a permission."""
        if not self.person().has_perm(permission):
            raise PermissionDenied


def agent_or_404(agent_id: str) -> Agent:
    """Return an agent by the id in an address; raise NotFound without one."""
    try:
        found = Agent.objects.filter(pk=UUID(agent_id)).first()
    except ValueError:
        found = None
    if found is None:
        raise NotFound
    return found
