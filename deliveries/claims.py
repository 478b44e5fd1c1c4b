"""Claiming: which due deliveries this runner may send now, decided in one transaction.

Caps, order and health all live here, since a cap that is checked anywhere else does not hold
(facts/performance.md B3): one claim would take a dead destination's whole backlog.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from .destinations import Destination, load
from .models import Attempt, Delivery, Event, Lane, Payload
from .outcomes import Message, Trigger, Verdict
from .transactions import lock_claims

# How many due rows one claim looks at.
WINDOW = 256
# So many due rows of one lane are a backlog: it is parked and drained oldest first, so that the
# window always has room for the other lanes.
BACKLOG = 64
# What ails a failing lane may be the delivery that is climbing and not the destination, so after
# this much silence one that has not been tried yet may try.
SECOND_PROBE = timedelta(minutes=5)
# Beyond the destination's own budget: time to write the outcome.
LEASE_MARGIN = timedelta(seconds=5)
# The lease of a delivery whose destination is gone; it is recorded at once.
DEFAULT_BUDGET = 10.0


@dataclass(slots=True)
class Claimed:
    """A delivery that is ours to send until ``lease_until``, under the claim ``token``."""

    delivery: Delivery
    destination: Destination | None
    message: Message
    token: UUID
    lease_until: datetime
    started_at: datetime


def claim(token: UUID, room: int, now: datetime) -> tuple[list[Claimed], bool]:
    """Claim at most ``room`` due deliveries and write their attempts as ``sending``.

    Returns what was claimed, and whether due rows were left for want of room (a cap, an
    ordering): then it is worth looking again as soon as something has finished.

    1. No other runner claims meanwhile.
    2. Due rows are read in the order of their time, with the lanes they belong to.
    3. Lanes that are held, failing or flushing park what may not go.
    4. Lanes that are flushing offer their oldest instead.
    5. The rest is taken up to each lane's cap, heads of conversations only.
    """
    lock_claims()
    due = _due(now)
    lanes = {
        lane.pk: lane
        for lane in Lane.objects.filter(
            Q(pk__in={row["lane_id"] for row in due}) | Q(state=Lane.State.FLUSHING)
        )
    }
    in_flight = _in_flight(now)
    parked: list[UUID] = []
    chosen: list[UUID] = []
    held_back = False
    per_lane = Counter(row["lane_id"] for row in due)
    for row in due:
        lane = lanes[row["lane_id"]]
        if lane.state == Lane.State.OPEN and per_lane[lane.pk] > BACKLOG:
            lane.state = Lane.State.FLUSHING
            Lane.objects.filter(pk=lane.pk).update(state=Lane.State.FLUSHING, ease=0)
            _park_lane(lane.pk)
        if lane.state in (Lane.State.HELD, Lane.State.FLUSHING) or row["behind"]:
            parked.append(row["id"])
        elif lane.state == Lane.State.FAILING and not _may_probe(row, lane, in_flight, now):
            parked.append(row["id"])
        elif in_flight[lane.pk] >= lane.cap or len(chosen) >= room:
            held_back = True
        else:
            chosen.append(row["id"])
            in_flight[lane.pk] += 1
    _park(parked)
    _note_interrupted([row["id"] for row in due if row["claim"]])
    for lane in lanes.values():
        if lane.state == Lane.State.FLUSHING:
            width = 1 if lane.ease else lane.cap
            want = min(width - in_flight[lane.pk], room - len(chosen))
            heads = _heads(lane.pk, want, now) if want > 0 else []
            chosen += heads
            if want > 0 and not heads and not in_flight[lane.pk]:
                _settle(lane.pk)
    return _take(chosen, lanes, token, now), held_back


def _due(now: datetime) -> list[dict[str, Any]]:
    rows = Delivery.objects.filter(next_attempt_at__lte=now).annotate(behind=Exists(_older()))
    # Parents first where several came due in the same moment.
    return list(
        rows.order_by("next_attempt_at", "id").values(
            "id", "lane_id", "claim", "failures", "trigger", "behind"
        )[:WINDOW]
    )


def _may_probe(
    row: dict[str, Any], lane: Lane, in_flight: Counter[int], now: datetime
) -> bool:
    """Return whether a due delivery may try a failing lane: one at a time, and only the one that
    climbs the ladder, one that a person asked for, or any after some minutes of silence."""
    if in_flight[lane.pk]:
        return False
    climbing = bool(row["failures"]) or row["trigger"] == Trigger.MANUAL
    return climbing or lane.failed_at is None or lane.failed_at <= now - SECOND_PROBE


def _older() -> QuerySet[Delivery]:
    """Return the pending deliveries of the same conversation and lane that came before."""
    return Delivery.objects.filter(
        pending_lane__isnull=False,
        conversation_id=OuterRef("conversation_id"),
        lane_id=OuterRef("lane_id"),
        id__lt=OuterRef("id"),
    )


def _in_flight(now: datetime) -> Counter[int]:
    """Return how many live claims each lane has, whoever holds them."""
    rows = (
        Delivery.objects.filter(claim__isnull=False, next_attempt_at__gt=now)
        .values_list("lane_id")
        .annotate(count=Count("id"))
    )
    return Counter(dict(rows))


def _park(ids: Sequence[UUID]) -> None:
    if ids:
        Delivery.objects.filter(pk__in=ids).update(next_attempt_at=None, claim=None)


def _note_interrupted(ids: Sequence[UUID]) -> None:
    """Close the attempts of deliveries whose lease ran out: their worker is gone."""
    if ids:
        Attempt.objects.filter(delivery_id__in=ids, verdict=Verdict.SENDING).update(
            verdict=Verdict.RETRY,
            error_class="interrupted",
            error="The worker ended before an answer was recorded; it may have arrived.",
        )


def _park_lane(lane_id: int) -> None:
    """Park what is due on a lane with a backlog; rungs and live claims stay."""
    Delivery.objects.filter(
        pending_lane=lane_id, claim__isnull=True, failures=0, next_attempt_at__isnull=False
    ).update(next_attempt_at=None)


def _heads(lane_id: int, count: int, now: datetime) -> list[UUID]:
    """Return the oldest deliveries of a flushing lane that neither fly nor wait on a rung."""
    return list(
        Delivery.objects.filter(~Exists(_older()), pending_lane=lane_id)
        .filter(Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now))
        .order_by("id")
        .values_list("id", flat=True)[:count]
    )


def _settle(lane_id: int) -> None:
    """Open a flushing lane that has nothing left to flush."""
    Lane.objects.filter(pk=lane_id, state=Lane.State.FLUSHING).update(
        state=Lane.State.OPEN, ease=0
    )


def _take(
    ids: Sequence[UUID], lanes: dict[int, Lane], token: UUID, now: datetime
) -> list[Claimed]:
    if not ids:
        return []
    rows = Delivery.objects.filter(
        Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now),
        pk__in=ids,
        pending_lane__isnull=False,
    )
    destinations = load_destinations(lanes[row] for row in set(rows.values_list("lane_id", flat=True)))
    by_budget: dict[float, list[int]] = {}
    for lane_id in lanes:
        destination = destinations.get(lane_id)
        budget = destination.budget if destination else DEFAULT_BUDGET
        by_budget.setdefault(budget, []).append(lane_id)
    for budget, lane_ids in by_budget.items():
        lease = now + timedelta(seconds=budget) + LEASE_MARGIN
        # The condition is the claim: whoever comes second finds the lease in place of the time.
        rows.filter(lane_id__in=lane_ids).update(
            claim=token, next_attempt_at=lease, attempt_count=F("attempt_count") + 1
        )
    taken = list(Delivery.objects.filter(pk__in=ids, claim=token).order_by("id"))
    claimed = prepare(taken, destinations, token, now)
    write_attempts(claimed)
    return claimed


def prepare(
    deliveries: Iterable[Delivery],
    destinations: dict[int, Destination],
    token: UUID,
    now: datetime,
) -> list[Claimed]:
    """Return claimed deliveries with what it takes to send them."""
    rows = list(deliveries)
    bodies = dict(Payload.objects.filter(pk__in=[row.pk for row in rows]).values_list("id", "body"))
    traces = dict(
        Event.objects.filter(pk__in={row.event_id for row in rows}).values_list("id", "trace")
    )
    return [
        Claimed(
            delivery=row,
            destination=destinations.get(row.lane_id),
            message=Message(
                id=row.pk,
                event_type=row.event_type,
                payload=orjson.loads(bytes(bodies.get(row.pk, b"{}"))),
                created_at=row.created_at,
                event_id=row.event_id,
                trace=traces.get(row.event_id, row.event_id),
                target=row.target,
                conversation_id=row.conversation_id,
                sender_id=str(row.metadata.get("sender_id", "")),
                metadata=row.metadata,
                progress=row.progress,
                number=row.attempt_count,
                retrying=row.attempt_count > 1,
            ),
            token=token,
            lease_until=row.next_attempt_at or now,
            started_at=now,
        )
        for row in rows
    ]


def write_attempts(claimed: Iterable[Claimed]) -> None:
    """Write one attempt each, as ``sending``: a crash from here on leaves evidence."""
    Attempt.objects.bulk_create(
        Attempt(
            delivery_id=item.delivery.pk,
            number=item.delivery.attempt_count,
            trigger=item.delivery.trigger,
            started_at=item.started_at,
            verdict=Verdict.SENDING,
        )
        for item in claimed
    )


_cache: dict[int, tuple[int, Destination | None]] = {}


def load_destinations(lanes: Iterable[Lane]) -> dict[int, Destination]:
    """Return destinations by lane id, kept for as long as the lane's version stands."""
    wanted = list(lanes)
    stale = [lane for lane in wanted if _cache.get(lane.pk, (None,))[0] != lane.version]
    if stale:
        fresh = load(stale)
        for lane in stale:
            _cache[lane.pk] = (lane.version, fresh.get(lane.pk))
    found = {lane.pk: _cache[lane.pk][1] for lane in wanted}
    return {pk: destination for pk, destination in found.items() if destination is not None}


def next_due() -> datetime | None:
    """Return when something is due next; None when nothing is scheduled."""
    return (
        Delivery.objects.filter(next_attempt_at__isnull=False)
        .order_by("next_attempt_at")
        .values_list("next_attempt_at", flat=True)
        .first()
    )


