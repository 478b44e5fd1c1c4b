"""Who answers."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = _("Agents")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let the engine load agents by their lanes."""
        from deliveries.destinations import register

        from .connections import load
        from .models import LANE_KIND

        register(LANE_KIND, load)
