"""The baseline of `bench.send`: one tuned django-q2 task per attempt, with the same ledger."""

import threading
import time
from datetime import datetime
from uuid import UUID

import orjson
import requests
from django.utils import timezone

from agents import wire
from agents.models import Agent
from deliveries.models import Attempt, Delivery, Payload
from deliveries.outcomes import Message

_local = threading.local()


def send(delivery_id: str) -> str:
    """Load a delivery, note the attempt, post it signed, write what came of it."""
    delivery = Delivery.objects.select_related("lane").get(pk=UUID(delivery_id))
    agent = Agent.objects.prefetch_related("secrets").get(lane=delivery.lane)
    payload = orjson.loads(bytes(Payload.objects.get(pk=delivery.pk).body))
    started: datetime = timezone.now()
    attempt = Attempt.objects.create(
        delivery=delivery, number=1, trigger="auto", started_at=started, verdict="sending"
    )
    message = Message(
        id=delivery.pk, event_type=delivery.event_type, payload=payload,
        created_at=delivery.created_at, event_id=delivery.event_id, trace=delivery.event_id,
        conversation_id=delivery.conversation_id,
    )  # fmt: skip
    body = wire.body(message)
    secret = agent.secrets.all()[0].value
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
    response = _local.session.post(
        agent.webhook_url,
        data=body,
        headers=wire.headers(
            secret=secret,
            agent_id=agent.pk,
            delivery_id=message.id,
            body=body,
            timestamp=int(time.time()),
        ),
        timeout=10,
    )
    now = timezone.now()
    attempt.status, attempt.verdict = response.status_code, "delivered"
    attempt.response = response.text
    attempt.duration_ms = int((now - started).total_seconds() * 1000)
    attempt.save()
    delivery.status, delivery.attempt_count, delivery.completed_at = "delivered", 1, now
    delivery.latency_ms = int((now - delivery.created_at).total_seconds() * 1000)
    delivery.next_attempt_at = delivery.pending_lane = None
    delivery.save()
    return "delivered"
