"""One event bound for one destination, and every try."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from deliveries.ids import new_id
from deliveries.outcomes import Trigger, Verdict

from .engine import Lane
from .event import Event


class Delivery(models.Model):
    """One event bound for one destination, with a status and a clock.

    The row is the queue. ``next_attempt_at`` is NULL unless something is scheduled: a pending
    row without one is *parked* (its lane is held, failing or has its hands full). While a
    runner sends, ``claim`` is set and ``next_attempt_at`` is the end of the lease.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("pending")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("failed")
        UNREACHABLE = "unreachable", _("unreachable")
        # Never to be sent, for a reason that error_class names: superseded, not for this mode.
        SKIPPED = "skipped", _("skipped")

    # The id is X-Hashee-Delivery-Id, the same on every try (spec 002).
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Without constraints in the database: event and delivery are written in one transaction and
    # purged in one, lanes are never deleted, and a check per row is a fifth of what a row costs.
    event = models.ForeignKey(Event, models.CASCADE, db_constraint=False, related_name="deliveries")
    lane = models.ForeignKey(
        Lane, models.PROTECT, db_index=False, db_constraint=False, related_name="deliveries"
    )
    # The lane again while pending, NULL afterwards: what waits is found without the rest.
    pending_lane = models.IntegerField(null=True, blank=True, editable=False)
    conversation = models.ForeignKey(
        "agents.Conversation",
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        db_constraint=False,
        related_name="deliveries",
        verbose_name=_("conversation"),
    )
    event_type = models.CharField(_("event"), max_length=200)
    target = models.JSONField(_("target"), default=dict, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    status = models.CharField(_("status"), max_length=12, choices=Status, default=Status.PENDING)
    attempt_count = models.PositiveIntegerField(_("attempts"), default=0)
    # Failures of the present climb: recover and redeliver start the ladder again.
    failures = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    claim = models.UUIDField(null=True, blank=True, editable=False)
    trigger = models.CharField(max_length=8, choices=Trigger, default=Trigger.AUTO)
    created_at = models.DateTimeField(_("created"))
    # When a person last asked for it again: its 24 hours and its latency count from then.
    redelivered_at = models.DateTimeField(null=True, blank=True, editable=False)
    completed_at = models.DateTimeField(_("completed"), null=True, blank=True)
    latency_ms = models.PositiveIntegerField(_("latency (ms)"), null=True, blank=True)
    error_class = models.CharField(_("error class"), max_length=40, blank=True)
    progress = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        permissions = [("redeliver_delivery", "Can redeliver")]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                name="delivery_due",
                condition=Q(next_attempt_at__isnull=False),
            ),
            models.Index(
                fields=["pending_lane", "id"],
                name="delivery_pending",
                condition=Q(pending_lane__isnull=False),
            ),
            # With the lane, or SQLite looks for what came before in the whole of the lane.
            models.Index(
                fields=["conversation", "lane", "id"],
                name="delivery_conversation",
                condition=Q(pending_lane__isnull=False),
            ),
            models.Index(fields=["claim"], name="delivery_claim", condition=Q(claim__isnull=False)),
            models.Index(fields=["lane", "id"], name="delivery_lane"),
            models.Index(fields=["status", "id"], name="delivery_status"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Attempt(models.Model):
    """One try of a delivery; written as ``sending`` before the call."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField(_("number"))
    trigger = models.CharField(_("trigger"), max_length=8, choices=Trigger)
    started_at = models.DateTimeField(_("started"))
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), null=True, blank=True)
    request = models.TextField(_("request"), blank=True)  # redacted
    status = models.PositiveSmallIntegerField(_("HTTP status"), null=True, blank=True)
    response = models.TextField(_("response"), blank=True)  # at most 4 kB
    verdict = models.CharField(_("verdict"), max_length=10, choices=Verdict)
    error_class = models.CharField(_("error class"), max_length=40, blank=True)
    error = models.TextField(_("error"), blank=True)
    provider_ids = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_number")
        ]

    def __str__(self) -> str:
        return f"#{self.number} {self.verdict}"
