"""The ledger and the engine."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DeliveriesConfig(AppConfig):
    name = "deliveries"
    verbose_name = _("Deliveries")
    default_auto_field = "django.db.models.BigAutoField"
