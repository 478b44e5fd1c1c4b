"""Routes, their secrets, and the requests that were turned away."""

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from vault.models import Secret

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"


class Route(models.Model):
    """An inbound address ``/webhooks/<name>`` and what to do with what arrives (spec 001)."""

    class Origin(models.TextChoices):
        FILE = "file", _("file")
        ADMIN = "admin", _("admin")
        DYNAMIC = "dynamic", _("subscription")

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[
            RegexValidator(
                NAME_PATTERN,
                _(
                    "Use lower-case letters, digits, hyphens and underscores; "
                    "start with a letter or digit."
                ),
            )
        ],
    )
    origin = models.CharField(_("origin"), max_length=8, choices=Origin, default=Origin.ADMIN)
    enabled = models.BooleanField(_("enabled"), default=True)
    description = models.CharField(_("description"), max_length=255, blank=True)
    preset = models.CharField(
        _("source"),
        max_length=32,
        default="auto",
        help_text=_("Who sends. “auto” recognises the sender by its headers."),
    )
    # How the sender signs where `preset` is "custom" (docs/custom-schemes.md).
    custom_scheme = models.JSONField(_("custom scheme"), default=dict, blank=True)
    events = models.JSONField(
        _("events"), default=list, blank=True, help_text=_("Empty: every event is accepted.")
    )
    filters = models.JSONField(
        _("filters"),
        default=list,
        blank=True,
        help_text=_("Conditions on payload, event and headers; what does not meet all is ignored."),
    )
    prompt = models.TextField(
        _("prompt"),
        blank=True,
        help_text=_("{a.b} takes a field of the payload, {__raw__} the whole of it."),
    )
    fence = models.BooleanField(
        _("mark payload text as data"),
        default=True,
        help_text=_(
            "Tells the agent what in the prompt came from outside and is not to be obeyed."
        ),
    )
    skills = models.JSONField(_("skills"), default=list, blank=True)
    conversation_key = models.CharField(
        _("conversation key"),
        max_length=255,
        blank=True,
        help_text=_(
            "Events with the same key share one conversation, in order: "
            "{repository.full_name}#{number}. Empty: each event has its own."
        ),
    )
    # {"key": template, "window_seconds": 30, "max_wait_seconds": 300}; empty: each event goes out.
    coalesce = models.JSONField(_("coalescing"), default=dict, blank=True)
    agent = models.ForeignKey(
        "agents.Agent",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="routes",
        verbose_name=_("agent"),
        help_text=_("Empty: the default agent."),
    )
    deliver = models.CharField(
        _("deliver to"),
        max_length=64,
        default="log",
        help_text=_("The name of a channel, or of a platform that has one channel."),
    )
    deliver_extra = models.JSONField(_("target"), default=dict, blank=True)
    # Further targets beside the first: [{"deliver": …, "deliver_extra": {…}}, …].
    fan_out = models.JSONField(_("further targets"), default=list, blank=True)
    deliver_only = models.BooleanField(
        _("deliver only"),
        default=False,
        help_text=_("Skip the agent: the rendered prompt is the message."),
    )
    answer_at_once = models.BooleanField(
        _("answer at once"),
        default=False,
        help_text=_(
            "A direct delivery is answered with 202 before it is sent, and retried by Hermes: "
            "for senders that do not wait, or do not repeat."
        ),
    )
    rate_limit = models.PositiveIntegerField(
        _("rate limit"),
        null=True,
        blank=True,
        help_text=_("Requests a minute. Empty: the global limit; 0: none."),
    )
    max_body_bytes = models.PositiveIntegerField(
        _("body limit"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Bytes. Empty: the global limit."),
    )
    # INSECURE_NO_AUTH (spec 001): accept unsigned requests; only on a loopback address.
    insecure_no_auth = models.BooleanField(_("accept unsigned requests"), default=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")

    def __str__(self) -> str:
        return self.name


class RouteSecret(Secret):
    """A secret shared with the sender of a route."""

    route = models.ForeignKey(Route, models.CASCADE, related_name="secrets")

    class Meta(Secret.Meta):
        verbose_name = _("route secret")
        verbose_name_plural = _("route secrets")


class RouteVersion(models.Model):
    """One row, counted up whenever what the receive path caches has changed."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = _("route version")
        verbose_name_plural = _("route versions")

    def __str__(self) -> str:
        return str(self.version)


class RateWindow(models.Model):
    """How many requests a route accepted in one second; 60 of them are the sliding minute."""

    route = models.CharField(max_length=64)
    second = models.PositiveBigIntegerField()  # unix time
    # The thread that counted: side by side they would wait for each other at one row.
    writer = models.PositiveBigIntegerField(default=0)
    accepted = models.PositiveIntegerField()

    class Meta:
        verbose_name = _("rate window")
        verbose_name_plural = _("rate windows")
        constraints = [
            models.UniqueConstraint(fields=["route", "second", "writer"], name="ratewindow_writer")
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.second}"


class CoalesceWindow(models.Model):
    """What of one coalescing key waits for its window to end: the latest event, and since when."""

    # 16 bytes over route and rendered key.
    key = models.BinaryField(primary_key=True, max_length=16)
    delivery_id = models.UUIDField()
    opened_at = models.DateTimeField()
    superseded = models.PositiveIntegerField(default=0)  # events that this one replaces

    class Meta:
        verbose_name = _("coalescing window")
        verbose_name_plural = _("coalescing windows")

    def __str__(self) -> str:
        return str(self.delivery_id)


class Refusal(models.Model):
    """An inbound request that was turned away, redacted and capped, with the reason."""

    route = models.CharField(_("route"), max_length=64)
    at = models.DateTimeField(_("when"))
    status = models.PositiveSmallIntegerField(_("status"))
    reason = models.CharField(_("reason"), max_length=40)
    explanation = models.TextField(_("explanation"))
    headers = models.JSONField(_("headers"), default=dict)  # redacted
    body = models.BinaryField(_("body"), default=b"")  # the first 4 kB
    client = models.CharField(_("client"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("refusal")
        verbose_name_plural = _("refusals")
        indexes = [models.Index(fields=["route", "id"], name="refusal_route")]

    def __str__(self) -> str:
        return f"{self.status} {self.reason} on {self.route}"
