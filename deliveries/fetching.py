"""Fetching: deliveries of a held lane, taken by whoever speaks for its destination.

Some destinations can't be sent to, they come by themselves: through a socket, or asking. Their
lane is held, so the runners leave it alone, and what is fetched is claimed just as a runner would:
a lease that runs out is parked again by the next claim, so a crash heals itself.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from . import wake
from .claims import (
    WINDOW,
    Claimed,
    heads,
    load_destinations,
    note_interrupted,
    prepare,
    write_attempts,
)
from .models import Attempt, Delivery, Lane
from .outcomes import Outcome, Verdict
from .results import Result, record_results
from .transactions import engine_transaction


def fetch(lane_id: int, limit: int, lease: float, token: UUID) -> list[Claimed]:
    """Claim at most ``limit`` deliveries of a held lane for ``lease`` seconds, oldest first.

    Heads of conversations only, and never more at a time than the lane's cap, whoever has the
    others. Their attempts are written as ``sending``. A lane that is not held has nothing for us:
    it belongs to the runners.
    """
    now = timezone.now()
    with engine_transaction():
        lane = Lane.objects.filter(pk=lane_id, state=Lane.State.HELD).first()
        if lane is None:
            return []
        chosen = _takeable(lane_id, min(limit, lane.cap - _in_flight(lane_id, now)), now)
        if not chosen:
            return []
        note_interrupted([pk for pk, claim in chosen.items() if claim])
        rows = Delivery.objects.filter(pk__in=chosen)
        rows.update(
            claim=token,
            next_attempt_at=now + timedelta(seconds=lease),
            attempt_count=F("attempt_count") + 1,
        )
        destinations = load_destinations([lane])
        claimed = prepare(rows.order_by("id"), {lane_id: lane}, destinations, token, now)
        write_attempts(claimed)
        return claimed


def ready(lane_ids: Collection[int]) -> set[int]:
    """Return which of these lanes have something to fetch; whether they have room is not asked."""
    now = timezone.now()
    waiting = Delivery.objects.filter(_free(now), pending_lane=OuterRef("pk"))
    held = Lane.objects.filter(Exists(waiting), pk__in=lane_ids, state=Lane.State.HELD)
    # What waits may all be behind something that is out or on a rung.
    return {pk for pk in held.values_list("pk", flat=True) if _takeable(pk, 1, now)}


def settle(lane_id: int, outcomes: Mapping[UUID, Outcome], token: UUID) -> set[UUID]:
    """Write what came of deliveries that were fetched under ``token``; return which these were.

    An end that comes late still counts while nobody else has the delivery: who says it has it
    need not get it again. A retry that comes late changes nothing.
    """
    if not outcomes:
        return set()
    now = timezone.now()
    final = [pk for pk, outcome in outcomes.items() if outcome.verdict != Verdict.RETRY]
    with engine_transaction():
        pending = Delivery.objects.filter(pending_lane=lane_id)
        pending.filter(pk__in=final, claim=None, attempt_count__gt=0).update(claim=token)
        rows = list(pending.filter(pk__in=list(outcomes), claim=token).order_by("id"))
        started = dict(
            Attempt.objects.filter(
                delivery__in=rows, number=F("delivery__attempt_count")
            ).values_list("delivery_id", "started_at")
        )
        lane = Lane.objects.get(pk=lane_id)
        destination = load_destinations([lane]).get(lane_id)
        results = [
            Result(
                Claimed(row, destination, None, token, lane.version, started.get(row.pk, now)),
                outcomes[row.pk],
                max(0.0, (now - started.get(row.pk, now)).total_seconds()),
            )
            for row in rows
        ]
        record_results(results, now)
    return {row.pk for row in rows}


def give_back(token: UUID, why: str) -> int:
    """Let everything that is out under a token be due again, at no cost; return how much.

    ``why`` is told by the attempts, as a sentence for a person.
    """
    with engine_transaction():
        out = Delivery.objects.filter(claim=token, pending_lane__isnull=False)
        ids = list(out.values_list("pk", flat=True))
        if ids:
            Attempt.objects.filter(delivery_id__in=ids, verdict=Verdict.SENDING).update(
                verdict=Verdict.RETRY, error_class="interrupted", error=why
            )
            Delivery.objects.filter(pk__in=ids).update(claim=None, next_attempt_at=timezone.now())
            wake.notify()
    return len(ids)


def restart(lane_id: int) -> int:
    """Let all that waits on a held lane be fetched at once, on a new climb; return how many wait.

    What is out keeps its lease.
    """
    with engine_transaction():
        waiting = Delivery.objects.filter(pending_lane=lane_id)
        waiting.filter(claim__isnull=True).update(failures=0, next_attempt_at=None)
        Lane.objects.filter(pk=lane_id).update(failures=0)
        wake.notify()
        return waiting.count()


def _free(now: datetime) -> Q:
    """Return the condition of what nobody has and what waits for no moment to come."""
    return Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now)


def _in_flight(lane_id: int, now: datetime) -> int:
    # All of them, as few as they are: asked by lane, the database would go through its backlog.
    live = Delivery.objects.filter(claim__isnull=False, next_attempt_at__gt=now)
    return Counter(live.values_list("lane_id", flat=True))[lane_id]


def _takeable(lane_id: int, want: int, now: datetime) -> dict[UUID, UUID | None]:
    """Return the oldest free heads of a lane, at most so many, with the claim that ran out.

    Told from the oldest rows, as in `claims.oldest_heads`; unlike there, what is due is free, as
    no runner takes it.
    """
    found: dict[UUID, UUID | None] = {}
    if want <= 0:
        return found
    rows = Delivery.objects.filter(pending_lane=lane_id).order_by("id")
    columns = ("pk", "conversation_id", "next_attempt_at", "claim")
    looked_at = list(rows.values_list(*columns)[:WINDOW])
    begun: set[UUID] = set()
    for pk, conversation, next_attempt_at, claim in looked_at:
        if conversation not in begun and (next_attempt_at is None or next_attempt_at <= now):
            found[pk] = claim
        if len(found) == want:
            return found
        if conversation is not None:
            begun.add(conversation)
    if len(looked_at) == WINDOW:
        # A few conversations have all of these; the others begin further on. What is due but not
        # parked yet is left to the next look.
        others = heads().filter(pending_lane=lane_id, pk__gt=looked_at[-1][0])
        others = others.exclude(conversation_id__in=begun).order_by("id")
        found |= dict.fromkeys(others.values_list("pk", flat=True)[: want - len(found)])
    return found
