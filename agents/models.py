"""Agents, their secrets and tokens, conversations, and the forms that change them."""

from typing import Any

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from deliveries.ids import new_id
from deliveries.lanes import hold, sync_lane, touch
from vault.fields import EncryptedTextField
from vault.models import Secret

LANE_KIND = "agent"


class Agent(models.Model):
    """Who answers."""

    class Mode(models.TextChoices):
        WEBSOCKET = "websocket", _("WebSocket")
        WEBHOOK = "webhook", _("Webhook")

    class Status(models.TextChoices):
        READY = "ready", _("ready")
        OFFLINE = "offline", _("offline")
        UNREACHABLE = "unreachable", _("unreachable")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    is_default = models.BooleanField(
        _("default agent"),
        default=False,
        help_text=_("Routes that name no agent use this one."),
    )
    connection_mode = models.CharField(
        _("connection mode"), max_length=12, choices=Mode, default=Mode.WEBSOCKET
    )
    webhook_url = models.URLField(_("webhook URL"), max_length=2048, blank=True)
    connection_status = models.CharField(
        _("connection status"), max_length=12, choices=Status, default=Status.OFFLINE
    )
    status_changed_at = models.DateTimeField(_("status changed"), default=timezone.now)
    concurrency = models.PositiveSmallIntegerField(
        _("concurrency"),
        default=4,
        help_text=_("How many deliveries this agent is sent at the same time."),
    )
    lane = models.OneToOneField("deliveries.Lane", models.PROTECT, editable=False)

    class Meta:
        verbose_name = _("agent")
        verbose_name_plural = _("agents")
        permissions = [
            ("recover_agent", "Can recover an unreachable agent"),
            ("switch_agent", "Can switch the connection mode of an agent"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="agent_one_default",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and keep the lane in step; a new agent that is not ready starts held."""
        with transaction.atomic():
            created = self.lane_id is None
            self.lane_id = sync_lane(
                self.lane_id, kind=LANE_KIND, label=self.name, cap=self.concurrency
            )
            if created and self.connection_status != self.Status.READY:
                hold(self.lane_id)
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete, and let every runner notice: what is pending for it fails."""
        with transaction.atomic():
            touch(self.lane_id)
            # Past Django's collector, which would load every conversation and look for each
            # through the whole ledger, to change what must not change.
            conversations = self.conversations.all()
            conversations._raw_delete(conversations.db)
            return super().delete(*args, **kwargs)


class AgentSecret(Secret):
    """The HMAC secret with which deliveries to an agent are signed."""

    agent = models.ForeignKey(Agent, models.CASCADE, related_name="secrets")

    class Meta(Secret.Meta):
        verbose_name = _("agent secret")
        verbose_name_plural = _("agent secrets")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and let every runner sign with the new state at once."""
        with transaction.atomic():
            super().save(*args, **kwargs)
            touch(self.agent.lane_id)


class AgentToken(models.Model):
    """A bearer credential of an agent; only its digest is kept."""

    agent = models.ForeignKey(Agent, models.CASCADE, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hex
    last_four = models.CharField(_("ends in"), max_length=4)
    created_at = models.DateTimeField(_("created"))
    not_after = models.DateTimeField(_("valid until"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)

    class Meta:
        verbose_name = _("agent token")
        verbose_name_plural = _("agent tokens")

    def __str__(self) -> str:
        return f"hsk_…{self.last_four}"


class Conversation(models.Model):
    """The thread between an agent and a place: where an answer goes, what belongs together."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey(Agent, models.CASCADE, related_name="conversations")
    # What makes events one thread ("acme/site#7"); an event of its own has its own id here.
    key = models.CharField(_("key"), max_length=255)
    channel = models.ForeignKey(
        "platforms.Channel",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="conversations",
        verbose_name=_("channel"),
    )
    target = models.JSONField(_("target"), default=dict, blank=True)
    sender_id = models.CharField(_("sender"), max_length=255, blank=True)
    created_at = models.DateTimeField(_("created"))

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        constraints = [
            models.UniqueConstraint(fields=["agent", "key"], name="conversation_agent_key")
        ]

    def __str__(self) -> str:
        return self.key


class Artifact(models.Model):
    """A form shown to a person for a decision; only its confirmation changes anything."""

    class Kind(models.TextChoices):
        SWITCH = "switch", _("switch connection mode")

    class State(models.TextChoices):
        OPEN = "open", _("open")
        CONFIRMED = "confirmed", _("confirmed")
        CANCELLED = "cancelled", _("cancelled")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey(Agent, models.CASCADE, related_name="artifacts")
    kind = models.CharField(_("kind"), max_length=12, choices=Kind)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    # What is proposed: {"mode": "webhook", "url": …}; a secret never.
    proposal = models.JSONField(_("proposal"), default=dict)
    # What the proposal was made against; the confirmation refuses when it is no longer true.
    basis = models.JSONField(default=dict)
    # A secret that came with the proposal, until the decision.
    secret: Any = EncryptedTextField(default="", blank=True, editable=False)
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"))
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)

    class Meta:
        verbose_name = _("artifact")
        verbose_name_plural = _("artifacts")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.id}"
