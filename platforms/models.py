"""Channels: configured places to deliver to."""

from typing import Any

from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from deliveries.lanes import sync_lane, touch
from vault.fields import EncryptedJSONField
from vault.keys import VaultKeyError

LANE_KIND = "channel"
LANE_CAP = 4


class Channel(models.Model):
    """A configured place: a kind of platform, its credentials, and where messages go by default."""

    class Health(models.TextChoices):
        OK = "ok", _("ok")
        NEEDS_ATTENTION = "needs_attention", _("needs attention")

    name = models.SlugField(_("name"), max_length=64, unique=True)
    kind = models.CharField(_("platform"), max_length=32)
    # What the sender's Config form cleaned: credentials, addresses, options.
    config: Any = EncryptedJSONField(_("configuration"), default=dict, blank=True)
    # Where on the platform messages go when a route names no target: {"chat_id": …}.
    home = models.JSONField(_("home"), default=dict, blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    health = models.CharField(_("health"), max_length=16, choices=Health, default=Health.OK)
    health_reason = models.TextField(_("what is wrong"), blank=True)
    checked_at = models.DateTimeField(_("checked"), null=True, blank=True)
    lane = models.OneToOneField("deliveries.Lane", models.PROTECT, editable=False)

    class Meta:
        verbose_name = _("channel")
        verbose_name_plural = _("channels")
        permissions = [("test_channel", "Can test the connection of a channel")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and keep the lane in step."""
        with transaction.atomic():
            self.lane_id = sync_lane(self.lane_id, kind=LANE_KIND, label=self.name, cap=LANE_CAP)
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete, and let every runner see that the lane leads nowhere; the lane stays."""
        with transaction.atomic():
            deleted = super().delete(*args, **kwargs)
            touch(self.lane_id)
        return deleted

    def readable_config(self) -> dict[str, Any] | None:
        """Return the configuration; None when the vault's keys do not open it.

        For rows that were read with ``defer("config")``: others are decrypted as they are read.
        """
        try:
            return dict(self.config or {})
        except VaultKeyError:
            return None
