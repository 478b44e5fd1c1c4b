"""Changes of the ledger that more than one door leads to."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from . import wake
from .claims import lease_end, load_destinations, note_interrupted, prepare, write_attempts
from .lanes import hold, release, touch
from .models import Delivery, Event, Payload
from .outcomes import Outcome, Trigger, Verdict
from .record import NewDelivery, NewEvent, record
from .results import record_singly
from .sending import send
from .transactions import engine_transaction, write_transaction

__all__ = ["hold", "redeliver", "release", "replay", "send_direct", "touch"]


def redeliver(delivery: Delivery) -> bool:
    """Send a delivery once more, now, under its own id; its ladder and its 24 h start again.

    Returns False when it is in flight at this moment. On a held lane it waits with the others.
    """
    now = timezone.now()
    with engine_transaction():
        free = Delivery.objects.filter(pk=delivery.pk).exclude(
            claim__isnull=False, next_attempt_at__gt=now
        )
        note_interrupted(list(free.filter(claim__isnull=False).values_list("pk", flat=True)))
        changed = free.update(
            status=Delivery.Status.PENDING,
            pending_lane=delivery.lane_id,
            next_attempt_at=now,
            claim=None,
            failures=0,
            trigger=Trigger.MANUAL,
            redelivered_at=now,
            completed_at=None,
            latency_ms=None,
            error_class="",
        )
        wake.notify()
    return bool(changed)


def replay(event: Event) -> int:
    """Send an event once more to wherever it went, as new deliveries; return how many."""
    originals = list(event.deliveries.order_by("id"))
    bodies = dict(
        Payload.objects.filter(pk__in=[row.pk for row in originals]).values_list("id", "body")
    )
    body = Payload.objects.filter(pk=event.pk).values_list("body", flat=True).first() or b"{}"
    again = NewEvent(
        source=event.source,
        type=event.type,
        body=bytes(body),
        route=event.route,
        dedupe_key=event.dedupe_key,
        headers=event.headers,
        conversation_id=event.conversation_id,
        trace=event.trace,
    )
    with transaction.atomic():
        record(
            [again],
            [
                NewDelivery(
                    event=again,
                    lane_id=row.lane_id,
                    event_type=row.event_type,
                    payload=orjson.loads(bytes(bodies.get(row.pk, b"{}"))),
                    target=row.target,
                    conversation_id=row.conversation_id,
                    metadata=row.metadata,
                )
                for row in originals
            ],
        )
    return len(originals)


def send_direct(
    delivery_id: UUID, token: UUID, on_failure: Callable[[], None] | None = None
) -> Outcome:
    """Send a delivery that was recorded with its claim, in this thread, once, and write the end.

    A temporary failure is final here: whoever waits is told, and will ask again (spec 001,
    direct delivery). Only one verdict is ``retry``: this came too late, and a runner has or will
    have the delivery. ``on_failure`` runs in the transaction that records a failure.
    """
    now = timezone.now()
    delivery = Delivery.objects.select_related("lane").get(pk=delivery_id)
    destinations = load_destinations([delivery.lane])
    delivery.attempt_count += 1
    lanes = {delivery.lane_id: delivery.lane}
    [claimed] = prepare([delivery], lanes, destinations, token, now)
    with write_transaction():
        # The whole of its time, however long it waited for this thread.
        ours = Delivery.objects.filter(
            pk=delivery_id, claim=token, next_attempt_at__gt=now, pending_lane__isnull=False
        ).update(
            attempt_count=delivery.attempt_count,
            next_attempt_at=lease_end(destinations.get(delivery.lane_id), now),
        )
        if not ours:
            return Outcome.retry("late", "It was not begun in time; a runner sends it.")
        write_attempts([claimed])
    result = send(claimed)
    if result.outcome.verdict == Verdict.RETRY:
        result.outcome = replace(result.outcome, verdict=Verdict.FAILED)
    with write_transaction():
        record_singly([result], timezone.now())
        if result.outcome.verdict == Verdict.FAILED and on_failure is not None:
            on_failure()
    return result.outcome
