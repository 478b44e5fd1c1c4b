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
        PULL = "pull", _("Pull")
        COMPLETIONS = "completions", _("Chat completions")

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
    # The chat endpoint of the completions mode: {"base_url": …, "model": …, "system": …, …}.
    endpoint = models.JSONField(_("endpoint"), default=dict, blank=True)
    endpoint_key: Any = EncryptedTextField(_("API key"), default="", blank=True)
    # What the agent says it can do; a change takes effect when a person has accepted it.
    manifest = models.JSONField(_("manifest"), default=dict, blank=True)
    # X25519, base64: with it, envelopes are sealed (docs/protocol.md).
    public_key = models.CharField(_("public key"), max_length=64, blank=True)
    last_seen_at = models.DateTimeField(_("last seen"), null=True, blank=True)
    # Taken out of service by a person: it is sent nothing.
    suspended_at = models.DateTimeField(_("suspended"), null=True, blank=True)
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
    # Without a check by the database, and an index, for each: one may be written with every event.
    agent = models.ForeignKey(
        Agent, models.CASCADE, db_index=False, db_constraint=False, related_name="conversations"
    )
    # What makes events one thread ("acme/site#7"); an event of its own has its own id here.
    key = models.CharField(_("key"), max_length=255)
    channel = models.ForeignKey(
        "platforms.Channel",
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        db_constraint=False,
        related_name="conversations",
        verbose_name=_("channel"),
    )
    target = models.JSONField(_("target"), default=dict, blank=True)
    # Further places of a route that fans out: [{"channel_id": 3, "target": {…}}, …].
    fan_out = models.JSONField(_("further places"), default=list, blank=True)
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


class Relation(models.Model):
    """A person's standing with an agent; a suspended or revoked one receives nothing."""

    class Status(models.TextChoices):
        ESTABLISHED = "established", _("established")
        SUSPENDED = "suspended", _("suspended")
        REVOKED = "revoked", _("revoked")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey(Agent, models.CASCADE, related_name="relations")
    # Who it is, as the sender_id of that person's messages: "telegram:12345".
    user_id = models.CharField(_("person"), max_length=255)
    name = models.CharField(_("name"), max_length=255, blank=True)
    status = models.CharField(
        _("status"), max_length=12, choices=Status, default=Status.ESTABLISHED
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    changed_at = models.DateTimeField(_("changed"), default=timezone.now)

    class Meta:
        verbose_name = _("relation")
        verbose_name_plural = _("relations")
        constraints = [
            models.UniqueConstraint(fields=["agent", "user_id"], name="relation_agent_user")
        ]

    def __str__(self) -> str:
        return self.name or self.user_id


class Connection(models.Model):
    """The one live socket of an agent; whoever holds another token was replaced."""

    agent = models.OneToOneField(Agent, models.CASCADE, primary_key=True, related_name="connection")
    token = models.UUIDField()
    connected_at = models.DateTimeField(_("connected"))
    seen_at = models.DateTimeField(_("last seen"))

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")

    def __str__(self) -> str:
        return str(self.token)


class StoredObject(models.Model):
    """A body that is too large for the wire, kept in the storage until its delivery is purged."""

    key = models.CharField(max_length=64, primary_key=True)
    agent = models.ForeignKey(Agent, models.CASCADE, related_name="stored_objects")
    delivery_id = models.UUIDField(unique=True)
    size = models.PositiveBigIntegerField()  # bytes
    content_type = models.CharField(max_length=100, default="application/octet-stream")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("stored object")
        verbose_name_plural = _("stored objects")

    def __str__(self) -> str:
        return self.key


class Artifact(models.Model):
    """A form shown to a person for a decision; only its confirmation changes anything."""

    class Kind(models.TextChoices):
        SWITCH = "switch", _("switch connection mode")
        MANIFEST = "manifest", _("change of abilities")
        FORM = "form", _("question of the agent")
        ACT = "act", _("act of the system agent")

    class State(models.TextChoices):
        OPEN = "open", _("open")
        CONFIRMED = "confirmed", _("confirmed")
        CANCELLED = "cancelled", _("cancelled")
        EXPIRED = "expired", _("expired")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey(Agent, models.CASCADE, related_name="artifacts")
    kind = models.CharField(_("kind"), max_length=12, choices=Kind)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    # An agent's own form: {"title", "text", "fields": [{"name", "type", "label", …}]}.
    form = models.JSONField(_("form"), default=dict, blank=True)
    answer = models.JSONField(_("answer"), default=dict, blank=True)
    conversation = models.ForeignKey(
        Conversation,
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        db_constraint=False,
        related_name="artifacts",
    )
    # What is proposed: {"mode": "webhook", "url": …}; a secret never.
    proposal = models.JSONField(_("proposal"), default=dict)
    # What the proposal was made against; the confirmation refuses when it is no longer true.
    basis = models.JSONField(default=dict)
    # A secret that came with the proposal, until the decision.
    secret: Any = EncryptedTextField(default="", blank=True, editable=False)
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"))
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    decided_by = models.CharField(_("decided by"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("artifact")
        verbose_name_plural = _("artifacts")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.id}"
