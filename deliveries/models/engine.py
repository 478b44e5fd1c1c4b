"""What the engine remembers of destinations and of its own workers."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Lane(models.Model):
    """All deliveries of one destination: the unit of ordering, concurrency and health.

    * ``open``: deliveries go out as they come, at most ``cap`` at a time.
    * ``failing``: everything is parked but one probe.
    * ``flushing``: what waited goes out oldest first; one at a time while ``ease`` lasts, so that
      a destination that just came back is not run over, and sees things in their order.
    * ``held``: nothing goes out; the destination said so (unreachable, offline, switched off).
    """

    class State(models.TextChoices):
        OPEN = "open", _("open")
        FAILING = "failing", _("failing")
        FLUSHING = "flushing", _("flushing")
        HELD = "held", _("held")

    kind = models.CharField(max_length=12)  # who can load the destination: agent, channel
    label = models.CharField(max_length=150)  # outlives the destination
    cap = models.PositiveSmallIntegerField(default=4)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    # Counted up whenever the destination's settings change, so that runners reload them at once.
    version = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)  # in a row, of the whole lane
    ease = models.PositiveSmallIntegerField(default=0)  # successes until the full width
    failed_at = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("lane")
        verbose_name_plural = _("lanes")

    def __str__(self) -> str:
        return self.label


class Runner(models.Model):
    """One slot of the lane runners and the heartbeat of whoever holds it; no row: nobody does."""

    slot = models.PositiveSmallIntegerField(primary_key=True)
    token = models.UUIDField()
    beat_at = models.DateTimeField()
    # Since when the holder has waited for a successor to take the slot over.
    handover_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("runner")
        verbose_name_plural = _("runners")

    def __str__(self) -> str:
        return f"runner {self.slot}"
