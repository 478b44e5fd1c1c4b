"""Our admin site in place of Django's, and the app that holds the house together."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class HermesAdminConfig(admin_apps.AdminConfig):
    """Django's admin with our site."""

    default = False
    default_site = "hermes_site.admin.HermesAdminSite"


class HermesSiteConfig(AppConfig):
    """Commands, checks, and the pages that see every app."""

    default = True
    name = "hermes_site"

    def ready(self) -> None:
        """Register the checks."""
        from . import checks  # noqa: F401
