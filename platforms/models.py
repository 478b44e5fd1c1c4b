"""Channels: configured places to deliver to."""

from typing import Any

from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from deliveries.lanes import sync_lane, touch
from vault.fields import EncryptedJSONField, EncryptedTextField
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
    # Who answers people that write here, where the platform brings their messages in.
    agent = models.ForeignKey(
        "agents.Agent",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="channels",
        verbose_name=_("agent"),
        help_text=_("Who answers what people write here. Empty: the default agent."),
    )
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


class SessionWebhook(models.Model):
    """DingTalk's short-lived address for answers in one chat (spec 000)."""

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="session_webhooks")
    conversation_id = models.CharField(_("chat"), max_length=255)
    url: Any = EncryptedTextField()
    expires_at = models.DateTimeField(_("expires"))
    conversation_type = models.CharField(max_length=1)  # 1: one person, 2: a group
    title = models.CharField(_("title"), max_length=255, blank=True)
    staff_id = models.CharField(max_length=255, blank=True)
    robot_code = models.CharField(max_length=255, blank=True)
    # The stream connection that brought it; its end is the end of its rows.
    connection = models.UUIDField()
    created_at = models.DateTimeField(_("created"))
    warned_at = models.DateTimeField(null=True, blank=True)
    nudged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("session webhook")
        verbose_name_plural = _("session webhooks")
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "conversation_id"], name="sessionwebhook_chat"
            )
        ]

    def __str__(self) -> str:
        return self.title or self.conversation_id
