"""What comes in."""

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save
from django.utils.translation import gettext_lazy as _


class RoutesConfig(AppConfig):
    name = "routes"
    verbose_name = _("Routes")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and watch everything the receive path keeps in memory."""
        from deliveries.clockwork import every_minute_also

        from . import checks  # noqa: F401
        from .coalescing import purge_coalesce_windows
        from .storing import purge_rate_windows
        from .versions import bump_version

        every_minute_also(purge_rate_windows)
        every_minute_also(purge_coalesce_windows)
        # Signals, because channels and agents know nothing of routes.
        for sender in (
            "routes.Route", "routes.RouteSecret", "platforms.Channel", "agents.Agent",
            "agents.Relation",
        ):  # fmt: skip
            post_save.connect(bump_version, sender=sender, dispatch_uid=f"routes:{sender}")
            post_delete.connect(bump_version, sender=sender, dispatch_uid=f"routes:{sender}")
