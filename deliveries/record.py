"""Recording: events and their deliveries into the ledger, in bulk, in the caller's transaction.

The stored row is the outbox: a delivery is due the moment its transaction commits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.utils import timezone

from . import bulk, wake
from .ids import new_id
from .models import Delivery, Event, Payload
from .outcomes import Trigger


@dataclass(slots=True)
class NewEvent:
    """An event to be recorded. ``body`` is its JSON as received; ``trace`` None: it starts one."""

    source: str
    type: str
    body: bytes
    route: str = ""
    dedupe_key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    conversation_id: UUID | None = None
    trace: UUID | None = None
    id: UUID = field(default_factory=new_id)
    received_at: datetime = field(default_factory=timezone.now)


@dataclass(slots=True)
class NewDelivery:
    """A delivery to be recorded, due at once or at ``due_at``.

    ``lease_until`` set: the caller sends it itself and holds the claim of that name until then.
    ``skipped`` set: it is kept for the history and never sent, for the reason of that word.
    """

    event: NewEvent
    lane_id: int
    event_type: str
    payload: Mapping[str, Any]
    target: Mapping[str, Any] = field(default_factory=dict)
    conversation_id: UUID | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=new_id)
    claim: UUID | None = None
    lease_until: datetime | None = None
    due_at: datetime | None = None
    skipped: str = ""


_EVENT = (
    "id", "source", "route", "type", "dedupe_key", "headers", "conversation_id", "trace",
    "received_at",
)  # fmt: skip
_PAYLOAD = ("id", "body")
_DELIVERY = (
    "id", "event_id", "lane_id", "pending_lane", "conversation_id", "event_type", "target",
    "metadata", "next_attempt_at", "claim", "trigger", "created_at",
)  # fmt: skip
_EVERY_DELIVERY = (
    ("status", f"'{Delivery.Status.PENDING.value}'"),
    ("attempt_count", "0"),
    ("failures", "0"),
    ("error_class", "''"),
    ("progress", "'{}'"),
)
_SKIPPED = (
    "id", "event_id", "lane_id", "conversation_id", "event_type", "target", "metadata",
    "error_class", "created_at", "completed_at",
)  # fmt: skip
_EVERY_SKIPPED = (
    ("status", f"'{Delivery.Status.SKIPPED.value}'"),
    ("attempt_count", "0"),
    ("failures", "0"),
    ("trigger", f"'{Trigger.AUTO.value}'"),
    ("progress", "'{}'"),
)


def record(events: Sequence[NewEvent], deliveries: Sequence[NewDelivery]) -> None:
    """Write events and deliveries, and wake the runners once they are committed."""
    write(events, deliveries)
    if deliveries:
        wake.notify()


def write(events: Sequence[NewEvent], deliveries: Sequence[NewDelivery]) -> None:
    """Write events and deliveries; the caller wakes the runners after its commit."""
    at = bulk.time_adapter()
    bulk.insert(
        Event,
        _EVENT,
        [
            (
                event.id.hex, event.source, event.route, event.type, event.dedupe_key,
                dump(event.headers), _hex(event.conversation_id), (event.trace or event.id).hex,
                at(event.received_at),
            )
            for event in events
        ],
    )  # fmt: skip
    bodies = [(event.id.hex, event.body) for event in events]
    bodies += [(new.id.hex, orjson.dumps(new.payload)) for new in deliveries]
    bulk.insert(Payload, _PAYLOAD, bodies)
    bulk.insert(
        Delivery,
        _DELIVERY,
        [
            (
                new.id.hex, new.event.id.hex, new.lane_id, new.lane_id,
                _hex(new.conversation_id), new.event_type, dump(new.target), dump(new.metadata),
                at(new.lease_until or new.due_at or new.event.received_at), _hex(new.claim),
                (Trigger.DIRECT if new.claim else Trigger.AUTO).value,
                at(new.event.received_at),
            )
            for new in deliveries
            if not new.skipped
        ],
        _EVERY_DELIVERY,
    )  # fmt: skip
    bulk.insert(
        Delivery,
        _SKIPPED,
        [
            (
                new.id.hex, new.event.id.hex, new.lane_id, _hex(new.conversation_id),
                new.event_type, dump(new.target), dump(new.metadata), new.skipped,
                at(new.event.received_at), at(new.event.received_at),
            )
            for new in deliveries
            if new.skipped
        ],
        _EVERY_SKIPPED,
    )  # fmt: skip


def _hex(value: UUID | None) -> str | None:
    return None if value is None else value.hex


def dump(value: Mapping[str, Any]) -> str:
    """Return a small mapping as JSON text."""
    return orjson.dumps(value).decode() if value else "{}"
