"""Rows of the ledger as the engine leaves them, for pages to show."""

import json
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from django.utils import timezone

from deliveries.models import Attempt, Delivery, Event, Payload
from deliveries.selectors import first_id_of
from routes.models import Refusal

_made = count()


def id_at(moment: datetime) -> UUID:
    """Return an id as it would have been made at that moment; the later call's is larger."""
    return UUID(int=first_id_of(moment).int | next(_made))


def an_event(type_: str = "pull_request", *, age: timedelta = timedelta(), **fields: Any) -> Event:
    """Store an event with its body."""
    moment = timezone.now() - age
    pk = id_at(moment)
    defaults: dict[str, Any] = {"source": "route", "route": "github-pr", "trace": pk}
    event = Event.objects.create(id=pk, type=type_, received_at=moment, **(defaults | fields))
    body = {"action": "opened", "pull_request": {"title": "Ünicode & <b>tags</b>"}}
    Payload.objects.create(id=pk, body=json.dumps(body, ensure_ascii=False).encode())
    return event


def a_delivery(
    lane_id: int,
    status: str = "delivered",
    *,
    age: timedelta = timedelta(),
    event: Event | None = None,
    **fields: Any,
) -> Delivery:
    """Store a delivery with its payload and no attempts."""
    moment = timezone.now() - age
    pending = status == "pending"
    delivery = Delivery.objects.create(
        id=id_at(moment),
        event=event or an_event(age=age),
        lane_id=lane_id,
        pending_lane=lane_id if pending else None,
        event_type="message.new",
        status=status,
        created_at=moment,
        completed_at=None if pending else moment,
        **fields,
    )
    Payload.objects.create(id=delivery.pk, body=b'{"type": "text", "text": "Review this"}')
    return delivery


def an_attempt(delivery: Delivery, number: int, verdict: str, **fields: Any) -> Attempt:
    """Store one try of a delivery."""
    return Attempt.objects.create(
        delivery=delivery,
        number=number,
        trigger="auto",
        started_at=timezone.now(),
        duration_ms=154,
        verdict=verdict,
        **fields,
    )


def a_refusal(**fields: Any) -> Refusal:
    """Store a request that was turned away."""
    defaults: dict[str, Any] = {
        "route": "github-pr",
        "at": timezone.now(),
        "status": 401,
        "reason": "invalid_signature",
        "explanation": "It was made with another secret.",
        "headers": {"X-GitHub-Event": "push"},
        "body": b'{"zen": "Keep it logically awesome."}',
        "client": "203.0.113.7",
    }
    return Refusal.objects.create(**(defaults | fields))
