"""What an attempt came to, as values: what goes in is a Message, what comes out is an Outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Verdict(TextChoices):
    """What an attempt means for its delivery (spec 002, retry strategy)."""

    SENDING = "sending", _("sending")  # written before the call: a crash leaves it behind
    DELIVERED = "delivered", _("delivered")
    RETRY = "retry", _("will be retried")
    FAILED = "failed", _("failed for good")


class Trigger(TextChoices):
    """Who asked for an attempt."""

    AUTO = "auto", _("automatic")
    MANUAL = "manual", _("by hand")
    DIRECT = "direct", _("direct, while the sender waits")


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery, ready to be sent; everything a destination may know of it.

    ``payload`` is what travels: ``{"type": "text", "text": …}`` for text, any JSON object for
    other event types. ``target`` says where on the channel it goes (``chat_id``, ``repo`` …).
    ``progress`` is what earlier attempts of this delivery left behind (``parts_sent`` …).
    ``retrying`` is true when an earlier attempt may have reached the receiver.
    """

    id: UUID
    event_type: str
    payload: Mapping[str, Any]
    created_at: datetime
    event_id: UUID
    trace: UUID
    target: Mapping[str, Any] = field(default_factory=dict)
    conversation_id: UUID | None = None
    sender_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    number: int = 1
    retrying: bool = False

    @property
    def text(self) -> str:
        """Return the text to say; empty when the payload carries none."""
        text = self.payload.get("text", "")
        return text if isinstance(text, str) else ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to.

    ``error_class`` is a short word for filters and logs (``timeout``, ``client_error``);
    ``error`` a sentence for a person, free of secrets. ``retry_after`` is in seconds.
    ``faults_channel`` marks a credential or configuration fault: the channel needs attention.
    ``ambiguous`` marks an attempt that may have arrived all the same.
    ``answer`` is the payload an agent gave with its acknowledgement.
    ``progress`` is kept with the delivery and comes back in the next Message.
    """

    verdict: Verdict
    error_class: str = ""
    error: str = ""
    status: int | None = None
    request: str = ""
    response: str = ""
    retry_after: float | None = None
    faults_channel: bool = False
    ambiguous: bool = False
    provider_ids: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] | None = None

    @classmethod
    def delivered(cls, **facts: Any) -> "Outcome":
        """Return the outcome of an attempt that arrived."""
        return cls(Verdict.DELIVERED, **facts)

    @classmethod
    def retry(cls, error_class: str, error: str, **facts: Any) -> "Outcome":
        """Return a temporary failure; the ladder (or ``retry_after``, if later) says when."""
        return cls(Verdict.RETRY, error_class, error, **facts)

    @classmethod
    def failed(cls, error_class: str, error: str, **facts: Any) -> "Outcome":
        """Return a permanent failure of this delivery."""
        return cls(Verdict.FAILED, error_class, error, **facts)
