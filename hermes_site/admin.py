"""The admin site: our order of rooms, and the dashboard at the door."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

# What one looks at most stands first; anything not named here follows by name.
ORDER = (
    "deliveries.Delivery",
    "deliveries.Event",
    "routes.Route",
    "routes.Refusal",
    "agents.Agent",
    "agents.Artifact",
    "platforms.Channel",
    "auth.User",
    "auth.Group",
)
APPS = tuple(dict.fromkeys(label.split(".")[0] for label in ORDER))


class HermesAdminSite(AdminSite):
    """Django's admin, opening on the gateway's state."""

    site_header = "Hermes"
    site_title = "Hermes"
    index_title = _("Gateway")
    # There is nothing behind the admin for a person to view.
    site_url = None

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Show the dashboard."""
        # The models are loaded only after this module.
        from . import dashboard

        context: dict[str, Any] = {
            "attention": dashboard.attention(request.user),
            "steps": dashboard.first_steps(),
        }
        if request.user.has_perm("deliveries.view_delivery"):
            context["traffic"] = dashboard.traffic()
        return super().index(request, context | (extra_context or {}))

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the apps and their models in our order."""
        apps: list[Any] = super().get_app_list(request, app_label)
        for app in apps:
            app["models"].sort(key=lambda model: _place(ORDER, _label(app, model)))
        return sorted(apps, key=lambda app: _place(APPS, app["app_label"]))


def _label(app: dict[str, Any], model: dict[str, Any]) -> str:
    return f"{app['app_label']}.{model['object_name']}"


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)
