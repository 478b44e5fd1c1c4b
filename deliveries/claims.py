"""Claiming: which due deliveries this runner may send now, decided in one transaction.

Caps, order and health all live here, since a cap that is checked anywhere else does not hold
(facts/performance.md B3): one claim would take a dead destination's whole backlog.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from .destinations import Destination, Unloadable, load
from .models import Attempt, Delivery, Event, Lane, Payload
from .outcomes import Message, Trigger, Verdict

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
    """A delivery that is ours to send until its lease ends, under the claim ``token``.

    ``destination`` is None when it is gone, ``message`` when its payload is gone or unreadable.
    ``version`` is the lane's at the time: another one since means that the destination changed.
    """

    delivery: Delivery
    destination: Destination | None
    message: Message | None
    token: UUID
    version: int
    started_at: datetime


def claim(token: UUID, room: int, now: datetime) -> tuple[list[Claimed], bool]:
    """Claim at most ``room`` due deliveries and write their attempts as ``sending``.

    Runs inside an `engine_transaction`. Returns what was claimed, and whether there may be more
    to claim at once. What is due and stays so, for want of room or at its lane's cap, is worth
    another look when something has finished.

    1. Due rows of lanes that have room are read in the order of their time.
    2. Lanes with a backlog begin to flush.
    3. Lanes that are held, failing or flushing park what may not go.
    4. The rest is taken up to each lane's cap, heads of conversations only.
    5. Lanes that are flushing offer their oldest instead.
    """
    in_flight, full = _in_flight(now)
    due = _due(now, full)
    _flush_backlogs(due, full, now)
    lanes = {
        lane.pk: lane
        for lane in Lane.objects.filter(
            Q(pk__in={row.lane_id for row in due}) | Q(state=Lane.State.FLUSHING)
        )
    }
    parked: list[UUID] = []
    chosen: dict[UUID, int] = {}
    for row in due:
        lane = lanes[row.lane_id]
        if row.behind or not _may_go(row, lane, in_flight[lane.pk], now):
            parked.append(row.id)
        elif in_flight[lane.pk] < lane.cap and len(chosen) < room:
            chosen[row.id] = lane.pk
            in_flight[lane.pk] += 1
    _park(parked)
    note_interrupted([row.id for row in due if row.claim])
    flushing = [lane for lane in lanes.values() if lane.state == Lane.State.FLUSHING]
    # Who has the least in flight comes first, lest a few lanes keep all the room; by lot among
    # equals, lest it be the same ones every time.
    random.shuffle(flushing)
    for lane in sorted(flushing, key=lambda lane: in_flight[lane.pk]):
        width = 1 if lane.ease else lane.cap
        want = min(width - in_flight[lane.pk], room - len(chosen))
        if want <= 0:
            continue
        found = oldest_heads(lane.pk, want)
        chosen |= dict.fromkeys(found, lane.pk)
        if not found and not in_flight[lane.pk]:
            _settle(lane)
    more = len(due) == WINDOW and bool(chosen or parked)
    return _take(chosen, lanes, token, now), more


@dataclass(frozen=True, slots=True)
class _Due:
    """A due row, as far as a claim has to know it; ``behind``: another goes first."""

    id: UUID
    lane_id: int
    claim: UUID | None
    failures: int
    trigger: str
    behind: bool


def _due(now: datetime, full: Iterable[int]) -> list[_Due]:
    rows = Delivery.objects.filter(next_attempt_at__lte=now).exclude(lane_id__in=full)
    columns = ("id", "lane_id", "claim", "failures", "trigger", "behind")
    # Parents first where several came due in the same moment.
    ordered = rows.annotate(behind=Exists(_older())).order_by("next_attempt_at", "id")
    return [_Due(*row) for row in ordered.values_list(*columns)[:WINDOW]]


def _may_go(row: _Due, lane: Lane, in_flight: int, now: datetime) -> bool:
    """Return whether a due delivery may go out by itself, as far as its lane's health says.

    A failing lane is tried by one at a time, and only by the one that climbs the ladder, one that
    a person asked for, or any after some minutes of silence.
    """
    if lane.state != Lane.State.FAILING:
        return lane.state == Lane.State.OPEN
    climbing = row.failures or row.trigger == Trigger.MANUAL
    return not in_flight and bool(climbing or is_quiet(lane.failed_at, now))


def is_quiet(failed_at: datetime | None, now: datetime) -> bool:
    """Return whether a failing lane has not been tried for some minutes."""
    # A failure in the future was noted before the clock was set back.
    return failed_at is None or not now - SECOND_PROBE < failed_at <= now


def _older() -> QuerySet[Delivery]:
    """Return the pending deliveries of the same conversation and lane that came before."""
    return Delivery.objects.filter(
        pending_lane__isnull=False,
        conversation_id=OuterRef("conversation_id"),
        lane_id=OuterRef("lane_id"),
        id__lt=OuterRef("id"),
    )


def heads() -> QuerySet[Delivery]:
    """Return the parked deliveries that no other of their conversation has to precede."""
    return Delivery.objects.filter(
        ~Exists(_older()), pending_lane__isnull=False, next_attempt_at__isnull=True
    )


def oldest_heads(lane_id: int, want: int) -> list[UUID]:
    """Return the oldest `heads` of a lane, at most so many.

    Told from its oldest rows: asked of each row by itself, a long conversation would be gone
    through once for every delivery in it.
    """
    rows = Delivery.objects.filter(pending_lane=lane_id).order_by("id")
    looked_at = list(rows.values_list("pk", "conversation_id", "next_attempt_at")[:WINDOW])
    begun: set[UUID] = set()
    found = []
    for pk, conversation, next_attempt_at in looked_at:
        if conversation not in begun and next_attempt_at is None:
            found.append(pk)
        if conversation is not None:
            begun.add(conversation)
    if len(found) < want and len(looked_at) == WINDOW:
        # A few conversations have all of these; the others begin further on.
        others = heads().filter(pending_lane=lane_id, pk__gt=looked_at[-1][0])
        others = others.exclude(conversation_id__in=begun).order_by("id")
        found += others.values_list("pk", flat=True)[: want - len(found)]
    return found[:want]


def _in_flight(now: datetime) -> tuple[Counter[int], set[int]]:
    """Return how many live claims each lane has, whoever holds them, and which are at their cap."""
    rows = (
        Delivery.objects.filter(claim__isnull=False, next_attempt_at__gt=now)
        .values_list("lane_id", "lane__cap")
        .annotate(count=Count("id"))
    )
    counts: Counter[int] = Counter()
    full = set()
    for lane_id, cap, count in rows:
        counts[lane_id] = count
        if count >= cap:
            full.add(lane_id)
    return counts, full


def _flush_backlogs(due: Iterable[_Due], full: Iterable[int], now: datetime) -> None:
    """Let open lanes with a backlog park it and flush."""
    count = Counter(row.lane_id for row in due)
    if full:
        behind_full = Delivery.objects.filter(next_attempt_at__lte=now, lane_id__in=full)
        count.update(behind_full.values_list("lane_id", flat=True)[:WINDOW])
    for lane_id, waiting in count.items():
        if waiting > BACKLOG and Lane.objects.filter(pk=lane_id, state=Lane.State.OPEN).update(
            state=Lane.State.FLUSHING, ease=0
        ):
            # Rungs, live claims and what is due later stay.
            Delivery.objects.filter(
                pending_lane=lane_id, claim__isnull=True, failures=0, next_attempt_at__lte=now
            ).update(next_attempt_at=None)


def _park(ids: Sequence[UUID]) -> None:
    if ids:
        Delivery.objects.filter(pk__in=ids).update(next_attempt_at=None, claim=None)


def note_interrupted(ids: Sequence[UUID]) -> None:
    """Close the attempts of deliveries whose lease ran out: their worker is gone.

    Whoever waited for a direct one has gone, too; it is sent as any other from now on.
    """
    if ids:
        Attempt.objects.filter(delivery_id__in=ids, verdict=Verdict.SENDING).update(
            verdict=Verdict.RETRY,
            error_class="interrupted",
            error="The worker ended before an answer was recorded; it may have arrived.",
        )
        Delivery.objects.filter(pk__in=ids, trigger=Trigger.DIRECT).update(trigger=Trigger.AUTO)


def _settle(lane: Lane) -> None:
    """Open a flushing lane that has nothing left to flush, unless it was just released anew."""
    Lane.objects.filter(pk=lane.pk, state=Lane.State.FLUSHING, version=lane.version).update(
        state=Lane.State.OPEN, ease=0
    )


def _take(
    chosen: dict[UUID, int], lanes: dict[int, Lane], token: UUID, now: datetime
) -> list[Claimed]:
    if not chosen:
        return []
    lane_ids = set(chosen.values())
    destinations = load_destinations(lanes[pk] for pk in lane_ids)
    by_lease: dict[datetime, list[int]] = {}
    for pk in lane_ids:
        by_lease.setdefault(lease_end(destinations.get(pk), now), []).append(pk)
    for lease, pks in by_lease.items():
        # The condition is the claim: whoever comes second finds the lease in place of the time.
        Delivery.objects.filter(
            Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now),
            pk__in=chosen,
            lane_id__in=pks,
            pending_lane__isnull=False,
        ).update(claim=token, next_attempt_at=lease, attempt_count=F("attempt_count") + 1)
    taken = Delivery.objects.filter(pk__in=chosen, claim=token, next_attempt_at__gt=now)
    claimed = prepare(taken.order_by("id"), lanes, destinations, token, now)
    write_attempts(claimed)
    return claimed


def lease_end(destination: Destination | None, now: datetime) -> datetime:
    """Return until when a delivery that is claimed now is nobody else's."""
    budget = destination.budget if destination else DEFAULT_BUDGET
    return now + timedelta(seconds=budget) + LEASE_MARGIN


def prepare(
    deliveries: Iterable[Delivery],
    lanes: Mapping[int, Lane],
    destinations: Mapping[int, Destination],
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
            message=_message(row, bodies.get(row.pk), traces.get(row.event_id, row.event_id)),
            token=token,
            version=lanes[row.lane_id].version,
            started_at=now,
        )
        for row in rows
    ]


def _message(row: Delivery, body: bytes | memoryview | None, trace: UUID) -> Message | None:
    try:
        payload = orjson.loads(bytes(body or b""))
    except orjson.JSONDecodeError:
        return None
    return Message(
        id=row.pk,
        event_type=row.event_type,
        payload=payload,
        created_at=row.created_at,
        event_id=row.event_id,
        trace=trace,
        target=row.target,
        conversation_id=row.conversation_id,
        sender_id=str(row.metadata.get("sender_id", "")),
        metadata=row.metadata,
        progress=row.progress,
        number=row.attempt_count,
        retrying=row.attempt_count > 1,
    )


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
    """Return destinations by lane id, kept for as long as the lane's version stands.

    One that is gone is missing; one that can't be loaded is tried anew each time.
    """
    wanted = list(lanes)
    stale = [lane for lane in wanted if _cache.get(lane.pk, (None,))[0] != lane.version]
    found = load(stale) if stale else {}
    for lane in stale:
        if not isinstance(found.get(lane.pk), Unloadable):
            _cache[lane.pk] = (lane.version, found.get(lane.pk))
    for lane in wanted:
        version, destination = _cache.get(lane.pk, (None, None))
        if version == lane.version and destination is not None:
            found[lane.pk] = destination
    return found


def next_due(after: datetime | None = None) -> datetime | None:
    """Return when something is due next, of what is due ``after`` a moment; None for nothing."""
    rows = Delivery.objects.filter(next_attempt_at__isnull=False)
    if after is not None:
        rows = rows.filter(next_attempt_at__gt=after)
    return rows.order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
