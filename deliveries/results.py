"""Results: what an attempt came to, written to the ledger, to the lane and to the destination."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F, OuterRef, Q, Subquery

from .claims import Claimed
from .ladder import Top
from .lanes import hold
from .models import Attempt, Delivery, Lane
from .outcomes import Outcome, Trigger, Verdict
from .record import dump

logger = logging.getLogger(__name__)

# So many temporary failures in a row, of whichever deliveries, and a lane is only probed.
FAILING_AFTER = 3
RESPONSE_LIMIT = 4096
# Waits that a destination asks for are not failures of the destination: they climb no ladder.
NOT_CLIMBING = frozenset({"rate_limited", "local_rate_limit"})


@dataclass(slots=True)
class Result:
    """A finished attempt; ``took`` is in seconds."""

    claimed: Claimed
    outcome: Outcome
    took: float


def record_results(results: Sequence[Result], now: datetime) -> None:
    """Write finished attempts inside the caller's transaction.

    1. Every attempt gets its verdict, whoever owns the delivery by now.
    2. Deliveries whose claim is no longer ours are left to their new owner.
    3. Delivered, failed and retried ones move on, each by its verdict.
    4. Lanes learn of success and failure; what waited behind comes due.
    """
    _write_attempts(results)
    ours = _still_ours(results)
    done: list[Result] = []
    for result in results:
        delivery = result.claimed.delivery
        if delivery.pk not in ours:
            logger.warning("delivery %s: its lease ran out before the outcome", delivery.pk)
            continue
        if result.outcome.verdict == Verdict.RETRY:
            _retry(result, now)
        else:
            done.append(result)
    _complete(done, now)
    _lanes_alive(done, now)
    _release_conversations(done, now)


def _write_attempts(results: Iterable[Result]) -> None:
    rows = [
        (
            round(result.took * 1000),
            result.outcome.request,
            result.outcome.status,
            result.outcome.response[:RESPONSE_LIMIT],
            result.outcome.verdict.value,
            result.outcome.error_class,
            result.outcome.error,
            dump(result.outcome.provider_ids),
            result.claimed.delivery.pk.hex,
            result.claimed.delivery.attempt_count,
        )
        for result in results
    ]
    _executemany(
        f'UPDATE "{Attempt._meta.db_table}" SET duration_ms=%s, request=%s, status=%s, '
        "response=%s, verdict=%s, error_class=%s, error=%s, provider_ids=%s "
        "WHERE delivery_id=%s AND number=%s",
        rows,
    )


def _still_ours(results: Sequence[Result]) -> set[Any]:
    """Return the ids of the deliveries whose claim still stands, locked until the commit."""
    tokens = {result.claimed.token for result in results}
    rows = Delivery.objects.filter(claim__in=tokens, pending_lane__isnull=False)
    if connection.vendor == "postgresql":
        rows = rows.select_for_update()
    return set(rows.values_list("pk", flat=True))


def _complete(results: Iterable[Result], now: datetime) -> None:
    """Close deliveries that were delivered or have failed for good."""
    rows = []
    for result in results:
        claimed, outcome = result.claimed, result.outcome
        delivered = outcome.verdict == Verdict.DELIVERED
        status = Delivery.Status.DELIVERED if delivered else Delivery.Status.FAILED
        latency = max(0, round((now - claimed.delivery.created_at).total_seconds() * 1000))
        rows.append(
            (
                status.value,
                connection.ops.adapt_datetimefield_value(now),
                latency if delivered else None,
                outcome.error_class,
                dump(outcome.progress or claimed.delivery.progress),
                claimed.delivery.pk.hex,
            )
        )
        if not delivered:
            logger.warning(
                "delivery %s to %s failed: %s %s",
                claimed.delivery.pk,
                claimed.delivery.lane_id,
                outcome.error_class,
                outcome.error,
            )
        if claimed.destination is not None:
            if outcome.faults_channel:
                claimed.destination.faulted(outcome)
            if delivered and outcome.answer is not None:
                claimed.destination.answered(claimed.delivery, claimed.message, outcome)
    _executemany(
        f'UPDATE "{Delivery._meta.db_table}" SET status=%s, completed_at=%s, latency_ms=%s, '
        "error_class=%s, progress=%s, pending_lane=NULL, next_attempt_at=NULL, claim=NULL "
        "WHERE id=%s",
        rows,
    )


def _retry(result: Result, now: datetime) -> None:
    """Schedule the next rung, or end the climb."""
    delivery, outcome = result.claimed.delivery, result.outcome
    lane = Lane.objects.select_for_update().get(pk=delivery.lane_id)
    changes: dict[str, Any] = {
        "claim": None,
        "trigger": Trigger.AUTO,
        "error_class": outcome.error_class,
        "progress": dict(outcome.progress or delivery.progress),
    }
    asked = outcome.retry_after
    if asked is not None and outcome.error_class in NOT_CLIMBING:
        _update(delivery, next_attempt_at=now + timedelta(seconds=asked), **changes)
        return
    failures = delivery.failures + 1
    destination = result.claimed.destination
    delay = destination.ladder.delay_after(failures) if destination else None
    changes["failures"] = failures
    _lane_failed(lane, now)
    if delay is not None:
        wait = max(delay, asked or 0)
        _update(delivery, next_attempt_at=now + timedelta(seconds=wait), **changes)
        if lane.state == Lane.State.FAILING:
            _leave_one_probe(lane, now)
    elif destination is None or destination.ladder.top is Top.FAIL:
        _fail(delivery, outcome.error_class, now, changes)
    elif lane.succeeded_at and lane.succeeded_at > _climb_began(delivery, failures):
        # The destination took others meanwhile: it is this delivery that it cannot take.
        _fail(delivery, "exhausted", now, changes)
    else:
        _update(delivery, next_attempt_at=None, **changes)
        logger.warning(
            "delivery %s: %s attempts failed, %s is unreachable", delivery.pk, failures, lane.label
        )
        hold(lane.pk)
        destination.give_up()


def _update(delivery: Delivery, **changes: Any) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(**changes)


def _fail(delivery: Delivery, error_class: str, now: datetime, changes: dict[str, Any]) -> None:
    changes |= {
        "status": Delivery.Status.FAILED,
        "completed_at": now,
        "error_class": error_class,
        "pending_lane": None,
        "next_attempt_at": None,
    }
    _update(delivery, **changes)
    _release_next([delivery.pk], now)
    logger.warning("delivery %s failed: %s", delivery.pk, error_class)


def _climb_began(delivery: Delivery, failures: int) -> datetime:
    """Return when the first attempt of the present climb started."""
    first = max(1, delivery.attempt_count - failures + 1)
    attempt = Attempt.objects.filter(delivery_id=delivery.pk, number__gte=first)
    return attempt.order_by("number").values_list("started_at", flat=True)[0]


def _lane_failed(lane: Lane, now: datetime) -> None:
    """Count a failure; a lane that was just released, or has failed a few times, only probes."""
    lane.failures += 1
    lane.failed_at = now
    easing = lane.state == Lane.State.FLUSHING and lane.ease > 0
    if lane.state != Lane.State.HELD and (easing or lane.failures >= FAILING_AFTER):
        lane.state = Lane.State.FAILING
    lane.save(update_fields=["failures", "failed_at", "state"])


def _leave_one_probe(lane: Lane, now: datetime) -> None:
    """Park everything of a failing lane but the delivery that has climbed highest."""
    scheduled = Delivery.objects.filter(
        pending_lane=lane.pk, claim__isnull=True, next_attempt_at__isnull=False
    )
    probe = scheduled.order_by("-failures", "id").values_list("pk", flat=True).first()
    scheduled.exclude(pk=probe).update(next_attempt_at=None)


def _lanes_alive(results: Sequence[Result], now: datetime) -> None:
    """Note which lanes answered; a failing one starts to flush what waited."""
    accepted = {
        result.claimed.delivery.lane_id
        for result in results
        if result.outcome.verdict == Verdict.DELIVERED
    }
    answered = accepted | {
        result.claimed.delivery.lane_id for result in results if result.outcome.status
    }
    if answered:
        lanes = Lane.objects.filter(pk__in=answered)
        lanes.filter(Q(failures__gt=0) | Q(state=Lane.State.FAILING)).update(failures=0)
        lanes.filter(state=Lane.State.FAILING).update(state=Lane.State.FLUSHING, ease=1)
        lanes.filter(ease__gt=0).update(ease=F("ease") - 1)
    if accepted:
        Lane.objects.filter(pk__in=accepted).update(succeeded_at=now)


def _release_conversations(results: Iterable[Result], now: datetime) -> None:
    ids = [r.claimed.delivery.pk for r in results if r.claimed.delivery.conversation_id]
    if ids:
        _release_next(ids, now)


def _release_next(ids: Sequence[Any], now: datetime) -> None:
    """Let what comes next in the conversations of these completed deliveries be due.

    A lane that may not send parks it again.
    """
    following = (
        Delivery.objects.filter(
            conversation_id=OuterRef("conversation_id"),
            lane_id=OuterRef("lane_id"),
            pending_lane__isnull=False,
        )
        .order_by("id")
        .values("id")[:1]
    )
    done = Delivery.objects.filter(pk__in=ids, conversation_id__isnull=False)
    heads = [pk for pk in done.values_list(Subquery(following), flat=True) if pk]
    if heads:
        Delivery.objects.filter(pk__in=heads, next_attempt_at__isnull=True).update(
            next_attempt_at=now
        )


def _executemany(sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)
