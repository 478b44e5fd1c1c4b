"""Places to deliver to."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PlatformsConfig(AppConfig):
    name = "platforms"
    verbose_name = _("Platforms")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell the engine who loads the destinations of channel lanes."""
        from deliveries import destinations

        from .destinations import load
        from .models import LANE_KIND

        destinations.register(LANE_KIND, load)
