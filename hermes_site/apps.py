"""Our admin site in place of Django's, and the app that holds the house together."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class HermesAdminConfig(admin_apps.AdminConfig):
    """Django's admin with our site."""

    default = False
    default_site = "hermes_site.admin.HermesAdminSite"


class HermesSiteConfig(AppConfig):
    """Commands, checks, and the pages that see every app."""

    default = True
    name = "hermes_site"
    verbose_name = _("Alerts")

    def ready(self) -> None:
        """Register the checks, the duties of each minute, and the pages of our own models."""
        from deliveries.clockwork import every_minute_also

        from . import (
            alerts_admin,  # noqa: F401
            checks,  # noqa: F401
        )
        from .alerts import watch
        from .counting import catch_up

        every_minute_also(watch)
        every_minute_also(catch_up)
