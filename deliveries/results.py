"""Results: what an attempt came to, written to the ledger, to the lane and to the destination."""

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import F, OuterRef, Q, Subquery

from .claims import Claimed
from .ladder import Ladder, Top
from .lanes import hold
from .models import Attempt, Delivery, Lane
from .outcomes import Outcome, Trigger, Verdict
from .record import dump
from .transactions import engine_transaction

logger = logging.getLogger(__name__)

# So many temporary failures in a row, of whichever deliveries, and a lane is only probed.
FAILING_AFTER = 3
RESPONSE_LIMIT = 4096
# Waits that a destination asks for are not failures of the destination: they climb no ladder.
NOT_CLIMBING = frozenset({"rate_limited", "local_rate_limit"})
# A wait that was asked for ends up to this share later, in seconds at most that late, so that not
# all who were told the same come back in the same moment (facts/channels.md §0.2).
JITTER = 0.1
LONGEST_WAIT = 86_400.0
# What PostgreSQL's integer holds: 24 days.
LONGEST_LATENCY = 2**31 - 1


@dataclass(slots=True)
class Result:
    """A finished attempt; ``took`` is in seconds."""

    claimed: Claimed
    outcome: Outcome
    took: float


def record_results(results: Sequence[Result], now: datetime) -> None:
    """Write finished attempts inside the caller's `engine_transaction`.

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
        if (delivery.pk, delivery.attempt_count) not in ours:
            logger.warning("delivery %s: its lease ran out before the outcome", delivery.pk)
        elif result.outcome.verdict == Verdict.RETRY:
            _retry(result, now)
        else:
            done.append(result)
    _complete(done, now)
    _lanes_alive(done, now)
    release_next([result.claimed.delivery for result in done], now)


def record_singly(results: Sequence[Result], now: datetime) -> None:
    """Write finished attempts, each in a transaction of its own, after they failed together.

    One that can't be written as it is is written bare; one that can't be written at all is left
    to its lease, and goes out again. Raises when it is the database that fails.
    """
    for result in results:
        for attempt in (result, _bare(result)):
            try:
                with engine_transaction():
                    record_results([attempt], now)
                break
            except Exception as error:
                if attempt is not result and isinstance(error, OperationalError):
                    raise
                logger.exception("delivery %s: recording failed", result.claimed.delivery.pk)


def _bare(result: Result) -> Result:
    verdict = result.outcome.verdict
    outcome = Outcome(
        verdict,
        "" if verdict == Verdict.DELIVERED else "unrecordable",
        "The outcome could not be written as it was; the log says why.",
    )
    return Result(result.claimed, outcome, result.took)


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
        f'UPDATE "{Attempt._meta.db_table}" SET duration_ms=%s, request=%s, status=%s, '  # noqa: S608
        "response=%s, verdict=%s, error_class=%s, error=%s, provider_ids=%s "
        "WHERE delivery_id=%s AND number=%s",
        rows,
    )


def _still_ours(results: Iterable[Result]) -> set[tuple[UUID, int]]:
    """Return id and attempt of the deliveries whose claim still stands."""
    tokens = {result.claimed.token for result in results}
    rows = Delivery.objects.filter(claim__in=tokens, pending_lane__isnull=False)
    return set(rows.values_list("pk", "attempt_count"))


def _complete(results: Iterable[Result], now: datetime) -> None:
    """Close deliveries that were delivered or have failed for good."""
    rows = []
    for result in results:
        delivery, outcome = result.claimed.delivery, result.outcome
        delivered = outcome.verdict == Verdict.DELIVERED
        status = Delivery.Status.DELIVERED if delivered else Delivery.Status.FAILED
        rows.append(
            (
                status.value,
                connection.ops.adapt_datetimefield_value(now),
                _latency(delivery, now) if delivered else None,
                outcome.error_class,
                dump(outcome.progress or delivery.progress),
                delivery.pk.hex,
            )
        )
        if not delivered:
            logger.warning(
                "delivery %s to %s failed: %s %s",
                delivery.pk,
                delivery.lane_id,
                outcome.error_class,
                outcome.error,
            )
        _tell_destination(result)
    _executemany(
        f'UPDATE "{Delivery._meta.db_table}" SET status=%s, completed_at=%s, latency_ms=%s, '  # noqa: S608
        "error_class=%s, progress=%s, pending_lane=NULL, next_attempt_at=NULL, claim=NULL "
        "WHERE id=%s",
        rows,
    )


def _latency(delivery: Delivery, now: datetime) -> int:
    """Return the milliseconds from when it was asked for, by whatever clock, to its arrival."""
    waited = now - (delivery.redelivered_at or delivery.created_at)
    return min(max(0, round(waited.total_seconds() * 1000)), LONGEST_LATENCY)


def _tell_destination(result: Result) -> None:
    destination, outcome = result.claimed.destination, result.outcome
    message = result.claimed.message
    if destination is None or message is None:
        return
    if outcome.faults_channel:
        _tell(result, partial(destination.faulted, outcome))
    if outcome.verdict == Verdict.DELIVERED and outcome.answer is not None:
        _tell(result, partial(destination.answered, result.claimed.delivery, message, outcome))


def _tell(result: Result, hook: Callable[[], None]) -> None:
    """Call a destination; what it raises must not undo what the others came to."""
    try:
        with transaction.atomic():
            hook()
    except OperationalError:
        raise  # the database's fault, and worth another try
    except Exception as error:
        delivery = result.claimed.delivery
        logger.exception("delivery %s: its destination could not take the outcome", delivery.pk)
        Attempt.objects.filter(delivery=delivery, number=delivery.attempt_count).update(
            error=f"What came back could not be taken over: {type(error).__name__}."
        )


def _retry(result: Result, now: datetime) -> None:
    """Schedule the next rung, or end the climb."""
    claimed, outcome = result.claimed, result.outcome
    delivery, destination = claimed.delivery, claimed.destination
    lane = Lane.objects.get(pk=delivery.lane_id)
    changes: dict[str, Any] = {
        "claim": None,
        "trigger": Trigger.AUTO,
        "error_class": outcome.error_class,
        "progress": dict(outcome.progress or delivery.progress),
    }
    if lane.version != claimed.version:
        # Switched, recovered, given another secret meanwhile: the failure was the old one's.
        _update(delivery, next_attempt_at=now, failures=0, **changes)
        return
    asked = None if outcome.retry_after is None else _wait_asked(outcome.retry_after)
    if asked is not None and outcome.error_class in NOT_CLIMBING:
        _update(delivery, next_attempt_at=now + timedelta(seconds=asked), **changes)
        return
    ladder = destination.ladder if destination else Ladder((), Top.FAIL)
    failures = delivery.failures + 1
    delay = ladder.delay_after(failures)
    changes["failures"] = failures
    _lane_failed(lane, now)
    if delay is not None:
        wait = max(delay, asked or 0)
        _update(delivery, next_attempt_at=now + timedelta(seconds=wait), **changes)
        if lane.state == Lane.State.FAILING:
            _leave_one_probe(lane)
    elif ladder.top is Top.FAIL:
        _fail(delivery, outcome.error_class, now, changes)
    elif lane.succeeded_at and lane.succeeded_at > _climb_began(delivery, failures):
        # The destination took others meanwhile: it is this delivery that it cannot take.
        _fail(delivery, "exhausted", now, changes)
    else:
        _update(delivery, next_attempt_at=None, **changes)
        logger.warning(
            "delivery %s: %s attempts failed, %s is unreachable", delivery.pk, failures, lane.label
        )
        _tell(result, partial(_give_up, result))


def _give_up(result: Result) -> None:
    hold(result.claimed.delivery.lane_id)
    if result.claimed.destination is not None:
        result.claimed.destination.give_up()


def _wait_asked(seconds: float) -> float:
    """Return what a destination asked for within bounds, and a little more."""
    within = min(max(0.0, seconds), LONGEST_WAIT)
    return within * (1 + random.uniform(0, JITTER))  # noqa: S311  no secret


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
    release_next([delivery], now)
    logger.warning("delivery %s failed: %s", delivery.pk, error_class)


def _climb_began(delivery: Delivery, failures: int) -> datetime:
    """Return when the first attempt of the present climb started."""
    first = max(1, delivery.attempt_count - failures + 1)
    attempts = Attempt.objects.filter(delivery_id=delivery.pk, number__gte=first)
    began = attempts.order_by("number").values_list("started_at", flat=True).first()
    return began or delivery.created_at


def _lane_failed(lane: Lane, now: datetime) -> None:
    """Count a failure; a lane that was just released, or has failed a few times, only probes."""
    lane.failures += 1
    row = Lane.objects.filter(pk=lane.pk)
    row.update(failures=lane.failures, failed_at=now)
    easing = lane.state == Lane.State.FLUSHING and lane.ease > 0
    # Held meanwhile, it stays held.
    if (easing or lane.failures >= FAILING_AFTER) and row.exclude(state=Lane.State.HELD).update(
        state=Lane.State.FAILING
    ):
        lane.state = Lane.State.FAILING


def _leave_one_probe(lane: Lane) -> None:
    """Park everything of a failing lane but the delivery that has climbed highest."""
    scheduled = Delivery.objects.filter(
        pending_lane=lane.pk, claim__isnull=True, next_attempt_at__isnull=False
    )
    probe = scheduled.order_by("-failures", "id").first()
    if probe is not None:
        scheduled.exclude(pk=probe.pk).update(next_attempt_at=None)


def _lanes_alive(results: Sequence[Result], now: datetime) -> None:
    """Note which lanes answered; a failing one starts to flush what waited."""
    accepted = {
        result.claimed.delivery.lane_id
        for result in results
        if result.outcome.verdict == Verdict.DELIVERED
    }
    answered = accepted | {
        result.claimed.delivery.lane_id
        for result in results
        if result.outcome.status and result.outcome.status < 500
    }
    if answered:
        lanes = Lane.objects.filter(pk__in=answered)
        lanes.filter(Q(failures__gt=0) | Q(state=Lane.State.FAILING)).update(failures=0)
        lanes.filter(state=Lane.State.FAILING).update(state=Lane.State.FLUSHING, ease=1)
        lanes.filter(ease__gt=0).update(ease=F("ease") - 1)
    if accepted:
        Lane.objects.filter(pk__in=accepted).update(succeeded_at=now)


def release_next(completed: Iterable[Delivery], now: datetime) -> None:
    """Let what comes next in the conversations of these deliveries be due.

    A lane that may not send parks it again.
    """
    ids = [delivery.pk for delivery in completed if delivery.conversation_id]
    if not ids:
        return
    following = (
        Delivery.objects.filter(
            conversation_id=OuterRef("conversation_id"),
            lane_id=OuterRef("lane_id"),
            pending_lane__isnull=False,
        )
        .order_by("id")
        .values("id")[:1]
    )
    done = Delivery.objects.filter(pk__in=ids)
    heads = {pk for pk in done.values_list(Subquery(following), flat=True) if pk is not None}
    Delivery.objects.filter(pk__in=heads, next_attempt_at__isnull=True).update(next_attempt_at=now)


def _executemany(sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)
