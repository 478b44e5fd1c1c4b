"""What happened: events, their bodies, and the keys that tell a repeat from news."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from deliveries.ids import new_id


class Event(models.Model):
    """Something that happened, stored once and never changed."""

    class Source(models.TextChoices):
        ROUTE = "route", _("route")
        AGENT = "agent", _("agent")
        CHAT = "chat", _("chat")
        SYSTEM = "system", _("system")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    source = models.CharField(_("source"), max_length=8, choices=Source)
    # A name and not a foreign key: the ledger outlives routes.
    route = models.CharField(_("route"), max_length=64, blank=True)
    type = models.CharField(_("type"), max_length=200)
    # The sender's own id of this delivery ("X-GitHub-Delivery" …); empty when it gave none.
    dedupe_key = models.CharField(_("sender's id"), max_length=255, blank=True)
    headers = models.JSONField(_("headers"), default=dict, blank=True)
    conversation = models.ForeignKey(
        "agents.Conversation",
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        db_constraint=False,
        related_name="events",
        verbose_name=_("conversation"),
    )
    # The id of the first event of the chain: event, answer, what the answer set off.
    trace = models.UUIDField(_("trace"), db_index=True)
    received_at = models.DateTimeField(_("received"))

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        indexes = [models.Index(fields=["route", "id"], name="event_route")]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Payload(models.Model):
    """The body of an event or of a delivery, by the same id; apart, so that status updates
    do not rewrite kilobytes (facts/performance.md A4)."""

    id = models.UUIDField(primary_key=True, editable=False)
    body = models.BinaryField(default=b"")

    class Meta:
        verbose_name = _("payload")
        verbose_name_plural = _("payloads")

    def __str__(self) -> str:
        return str(self.id)


class DedupeKey(models.Model):
    """One foreign delivery id inside its window; not a unique key on the ledger, which would
    cost a random index entry per event for ever (facts/performance.md C)."""

    # 16 bytes of BLAKE2 over scope and id: bounded, whatever the sender puts in its header.
    key = models.BinaryField(primary_key=True, max_length=16)
    event_id = models.UUIDField()
    digest = models.BinaryField(max_length=16)  # of the body: same id, other body is a conflict
    at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("idempotency key")
        verbose_name_plural = _("idempotency keys")

    def __str__(self) -> str:
        return bytes(self.key).hex()
