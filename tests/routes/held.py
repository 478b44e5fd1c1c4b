"""Deliveries that are held back, as the receive path records them."""

import json
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from deliveries.models import Delivery, Payload
from deliveries.record import NewDelivery, NewEvent, write
from deliveries.transactions import write_transaction
from routes.coalescing import Coalesce, Held, hold_back
from routes.templating import compile_template
from tests.deliveries.places import Place


def coalesce(window: float = 30, max_wait: float = 300, key: str = "{number}") -> Coalesce:
    """Return settings without their lower limit of a second."""
    return Coalesce(compile_template(key), timedelta(seconds=window), timedelta(seconds=max_wait))


def new(place: Place, text: str, conversation: UUID | None = None) -> NewDelivery:
    event = NewEvent(source="route", type="push", body=b"{}", route="pulls")
    return NewDelivery(
        event=event,
        lane_id=place.lane_id,
        event_type="message.new",
        payload={"type": "text", "text": text},
        conversation_id=conversation or event.id,
        metadata={"sender_id": "webhook:pulls"},
    )


def key_of(name: str) -> bytes:
    key = coalesce().key_of("pulls", {"number": name}, "push")
    assert key
    return key


def arrive(
    place: Place,
    *texts: str,
    key: str = "7",
    how: Coalesce | None = None,
    conversation: UUID | None = None,
) -> list[Delivery]:
    """Record events that came together, as the receive path does."""
    held = [Held(key_of(key), how or coalesce(), new(place, text, conversation)) for text in texts]
    with write_transaction():
        write([one.delivery.event for one in held], hold_back(held, timezone.now()))
    return [Delivery.objects.get(pk=one.delivery.id) for one in held]


def text_of(delivery: Delivery) -> str:
    body = json.loads(bytes(Payload.objects.get(pk=delivery.pk).body))
    return str(body["text"])


def state_of(delivery: Delivery) -> tuple[str, str]:
    delivery.refresh_from_db()
    return delivery.status, delivery.error_class
