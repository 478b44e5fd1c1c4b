"""What the gateway keeps about its own running: incidents, who is told of them, and counters."""

from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from deliveries.ids import new_id


class Trouble(models.TextChoices):
    """What an incident is about."""

    WORKER = "worker", _("The worker is not running")
    AGENT = "agent", _("An agent is unreachable")
    CHANNEL = "channel", _("A channel needs attention")
    EXPIRING = "expiring", _("Deliveries are about to expire")
    ROUTE = "route", _("A route has many errors")


def every_kind() -> list[str]:
    """Return every kind of trouble: one is told of everything unless one says otherwise."""
    return list(Trouble.values)


def check_zone(value: str) -> None:
    """Raise ValidationError for a name that is no time zone."""
    try:
        ZoneInfo(value)
    except (OSError, ValueError) as error:
        raise ValidationError(
            _("“%(name)s” is not a time zone; write it as Europe/Berlin."), params={"name": value}
        ) from error


class AlertSettings(models.Model):
    """One row: who is told of incidents, of which, when, and from what number on."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, editable=False)
    channel = models.ForeignKey(
        "platforms.Channel",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("channel"),
        help_text=_(
            "Where alerts go, at the channel's home. Empty: incidents are kept and nobody is told."
        ),
    )
    substitute = models.ForeignKey(
        "platforms.Channel",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("substitute"),
        help_text=_("Used while the channel is off or needs attention itself."),
    )
    kinds = models.JSONField(_("tell of"), default=every_kind, blank=True)
    expires_within = models.PositiveSmallIntegerField(
        _("before expiry"),
        default=60,
        validators=[MinValueValidator(5), MaxValueValidator(720)],
        help_text=_("Minutes. Deliveries that would expire within this time count."),
    )
    route_errors = models.PositiveSmallIntegerField(
        _("errors of a route"),
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(150)],
        help_text=_("At least so many refusals and failed deliveries in 15 minutes …"),
    )
    route_share = models.PositiveSmallIntegerField(
        _("share of errors"),
        default=20,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("… and at least so many percent of what came in on the route."),
    )
    quiet_from = models.TimeField(_("quiet from"), null=True, blank=True)
    quiet_until = models.TimeField(
        _("quiet until"),
        null=True,
        blank=True,
        help_text=_("What comes up in the quiet hours and has not gone by then is told then."),
    )
    quiet_zone = models.CharField(
        _("in the time zone"), max_length=64, default="UTC", validators=[check_zone]
    )
    # When the incidents were last looked for: a gap is time without a worker.
    looked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("alert settings")
        verbose_name_plural = _("alert settings")

    def __str__(self) -> str:
        return str(_("Alert settings"))

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save as the one row."""
        self.pk = self.ONLY
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Refuse half of the quiet hours, and quiet hours without an end."""
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise ValidationError(_("Quiet hours need both a beginning and an end."))
        if self.quiet_from is not None and self.quiet_from == self.quiet_until:
            raise ValidationError(_("Quiet hours that end when they begin never end."))
        if self.substitute_id is not None and self.substitute_id == self.channel_id:
            raise ValidationError({"substitute": _("Choose another one than the channel itself.")})

    @classmethod
    def current(cls) -> "AlertSettings":
        """Return the one row; with the defaults, and not yet stored, where there is none."""
        return cls.objects.filter(pk=cls.ONLY).first() or cls(pk=cls.ONLY)


class Incident(models.Model):
    """A trouble from when it was noticed until it was gone; told once, and once that it is over."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(_("kind"), max_length=10, choices=Trouble)
    # What ails, by its key: an agent's, a channel's or a lane's id, a route's name.
    subject = models.CharField(max_length=64, blank=True)
    # Its name at the time, as it may be deleted.
    label = models.CharField(_("of"), max_length=150, blank=True)
    detail = models.TextField(_("what is wrong"), blank=True)
    opened_at = models.DateTimeField(_("since"))
    seen_at = models.DateTimeField(_("last seen"))
    closed_at = models.DateTimeField(_("over"), null=True, blank=True)
    told_at = models.DateTimeField(_("told"), null=True, blank=True)
    over_told_at = models.DateTimeField(_("its end told"), null=True, blank=True)
    # The events that told of it: their deliveries are in the history.
    told_event = models.UUIDField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("incident")
        verbose_name_plural = _("incidents")
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(closed_at__isnull=True),
                name="incident_one_open",
            )
        ]

    def __str__(self) -> str:
        kind = self.get_kind_display()
        return f"{kind}: {self.label}" if self.label else kind


class Tally(models.Model):
    """A number that only grows, for ``/metrics``; see `hermes_site.counting`."""

    name = models.CharField(max_length=40)
    labels = models.CharField(max_length=160)  # their values as JSON
    value = models.FloatField(default=0)

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        constraints = [models.UniqueConstraint(fields=["name", "labels"], name="tally_name_labels")]

    def __str__(self) -> str:
        return f"{self.name} {self.labels}"


class Counted(models.Model):
    """One row: up to where the ledger has been counted."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY, editable=False)
    # Counted up with every step: of two who count the same, the second changes nothing.
    step = models.PositiveBigIntegerField(default=0)
    attempt = models.PositiveBigIntegerField(default=0)
    # Attempts before that which were under way when they were passed.
    under_way = models.JSONField(default=list)
    refusal = models.PositiveBigIntegerField(default=0)
    events_until = models.DateTimeField()

    class Meta:
        verbose_name = _("counting mark")
        verbose_name_plural = _("counting marks")

    def __str__(self) -> str:
        return f"step {self.step}"
