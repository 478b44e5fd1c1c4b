"""Counters for `/metrics`, told from the ledger after the fact.

The engine and the receive path count nothing: each of their transactions would rewrite the same
rows. Whoever asks for metrics, and the clockwork every minute, counts what the ledger has got since
the last time, in ranges of its keys, and adds that to a few rows. So the counters hold for all
processes and machines, survive a restart, and are right whatever was killed; they are late by
`LAG`, and by what does not fit into one step.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Case, Count, F, FloatField, Func, Max, QuerySet, Sum, Value, When

from deliveries.models import Attempt, Event
from deliveries.outcomes import Verdict
from deliveries.selectors import first_id_of
from deliveries.transactions import write_transaction
from routes.models import Refusal

from .models import Counted, Tally

# What began earlier may be committed later: what is younger than this is left to the next time.
LAG = timedelta(seconds=10)
# So many attempts, and so much of the events, one step counts: about 20 ms.
STEP = 5_000
STEP_TIME = timedelta(seconds=60)
# Attempts under way that are remembered; there are as many as sends in flight.
UNDER_WAY = 2_000
# How long the clockwork may catch up, each minute.
SECONDS = 2.0

#: Upper bounds in seconds; a last bucket has what is beyond.
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0)

#: How much each counter has grown: by its name and its labels.
Growth = Counter[tuple[str, tuple[str, ...]]]

ATTEMPTS = "attempts"  # kind, verdict, error class
DURATION = "duration"  # kind, number of the bucket
DURATION_SUM = "duration_sum"  # kind
WAIT = "wait"
WAIT_SUM = "wait_sum"
REFUSALS = "refusals"  # status, reason
EVENTS = "events"


@dataclass(slots=True)
class Step:
    """What one step found: how far it went, and what the counters grow by."""

    before: Counted
    mark: Counted
    growth: Growth = field(default_factory=Counter)
    more: bool = False


def count(now: datetime) -> bool:
    """Count one step of what is new; return whether there is more.

    Reads outside the transaction that adds: what it takes to read keeps no writer waiting.
    """
    before = _mark(now)
    step = _look(before, now)
    if step.mark.step != before.step:
        _add(step)
    return step.more


def catch_up(now: datetime) -> int:
    """Count all that is new, as far as it goes in some seconds; return how many steps."""
    deadline = time.monotonic() + SECONDS
    steps = 1
    while count(now) and time.monotonic() < deadline:
        steps += 1
    return steps


def tallies() -> Mapping[str, Mapping[tuple[str, ...], float]]:
    """Return every counter by its name and its labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for name, labels, value in Tally.objects.values_list("name", "labels", "value"):
        found.setdefault(name, {})[tuple(json.loads(labels))] = value
    return found


def _mark(now: datetime) -> Counted:
    """Return up to where it was counted; the first time, from now on."""
    mark = Counted.objects.filter(pk=Counted.ONLY).first()
    if mark is not None:
        return mark
    newest = {
        "attempt": Attempt.objects.aggregate(newest=Max("pk"))["newest"] or 0,
        "refusal": Refusal.objects.aggregate(newest=Max("pk"))["newest"] or 0,
        "events_until": now - LAG,
    }
    return Counted.objects.get_or_create(pk=Counted.ONLY, defaults=newest)[0]


def _look(before: Counted, now: datetime) -> Step:
    mark = Counted(
        step=before.step,
        attempt=before.attempt,
        under_way=before.under_way,
        refusal=before.refusal,
        events_until=before.events_until,
    )
    step = Step(before, mark)
    _count_attempts(step, now)
    _count_refusals(step, now)
    _count_events(step, now)
    if step.growth or mark.attempt != before.attempt or mark.under_way != before.under_way:
        mark.step += 1
    return step


def _count_attempts(step: Step, now: datetime) -> None:
    """Count attempts that are over; those under way are noted and looked at again."""
    mark = step.mark
    new = Attempt.objects.filter(pk__gt=mark.attempt).order_by("pk")
    settled = new.filter(started_at__lte=now - LAG)
    pks = settled.values_list("pk", flat=True)
    last = pks[STEP - 1 : STEP].first()
    step.more = last is not None
    last = last or settled.order_by("-pk").values_list("pk", flat=True).first()
    before = Attempt.objects.filter(pk__in=mark.under_way, verdict=Verdict.SENDING)
    still = set(before.values_list("pk", flat=True))
    _tally(step.growth, Attempt.objects.filter(pk__in=set(mark.under_way) - still))
    if last is not None:
        reached = new.filter(pk__lte=last)
        sending = set(reached.filter(verdict=Verdict.SENDING).values_list("pk", flat=True))
        _tally(step.growth, reached.exclude(pk__in=sending))
        still |= sending
        mark.attempt = last
    mark.under_way = sorted(still)[-UNDER_WAY:]


def _tally(growth: Growth, attempts: QuerySet[Attempt]) -> None:
    rows: Any = (
        attempts.order_by()
        .annotate(waited=_seconds_between("started_at", "delivery__created_at"))
        .annotate(
            bucket=_bucket("duration_ms", [bound * 1000 for bound in DURATIONS]),
            wait=Case(When(number=1, then=_bucket("waited", WAITS)), default=Value(-1)),
        )
        .values_list("delivery__lane__kind", "verdict", "error_class", "bucket", "wait")
        .annotate(count=Count("pk"), took=Sum("duration_ms"), waited_for=Sum("waited"))
    )
    for kind, verdict, error_class, bucket, wait, number, took, waited in rows:
        growth[ATTEMPTS, (kind, verdict, error_class)] += number
        if took is not None:
            growth[DURATION, (kind, str(bucket))] += number
            growth[DURATION_SUM, (kind,)] += took / 1000
        if wait >= 0:
            growth[WAIT, (kind, str(wait))] += number
            growth[WAIT_SUM, (kind,)] += max(0.0, waited)


def _count_refusals(step: Step, now: datetime) -> None:
    new: Any = Refusal.objects.filter(pk__gt=step.mark.refusal)  # never many: they are capped
    last = new.filter(at__lte=now - LAG).aggregate(last=Max("pk"))["last"]
    if last is None:
        return
    rows = new.filter(pk__lte=last).values_list("status", "reason").annotate(count=Count("pk"))
    for status, reason, number in rows.order_by():
        step.growth[REFUSALS, (str(status), reason)] += number
    step.mark.refusal = last


def _count_events(step: Step, now: datetime) -> None:
    """Count events by the time in their ids, which the index alone answers."""
    ids = Event.objects.order_by("pk").values_list("pk", flat=True)
    settled = now - LAG
    first = ids.filter(pk__gte=first_id_of(step.mark.events_until)).first()
    if first is None or moment_of(first) >= settled:
        return
    until = min(settled, moment_of(first) + STEP_TIME)
    step.growth[EVENTS, ()] += ids.filter(pk__gte=first, pk__lt=first_id_of(until)).count()
    step.mark.events_until = until
    step.more = step.more or until < settled


def moment_of(id_: UUID) -> datetime:
    """Return when a UUIDv7 was made, to the millisecond."""
    return datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)


def _add(step: Step) -> None:
    """Write what was found, unless somebody else has counted the same meanwhile."""
    mark = step.mark
    with write_transaction(), transaction.atomic():
        ours = Counted.objects.filter(pk=Counted.ONLY, step=step.before.step).update(
            step=mark.step,
            attempt=mark.attempt,
            under_way=mark.under_way,
            refusal=mark.refusal,
            events_until=mark.events_until,
        )
        if not ours:
            return
        names = {key: (key[0], json.dumps(key[1])) for key in step.growth}
        _make_missing(names.values())
        for key, (name, labels) in names.items():
            row = Tally.objects.filter(name=name, labels=labels)
            row.update(value=F("value") + step.growth[key])


def _make_missing(names: Iterable[tuple[str, str]]) -> None:
    wanted = set(names)
    missing = wanted - set(Tally.objects.values_list("name", "labels"))
    Tally.objects.bulk_create(
        [Tally(name=name, labels=labels) for name, labels in sorted(missing)], ignore_conflicts=True
    )


def _bucket(name: str, bounds: Iterable[float]) -> Case:
    """Return the number of the first bound that a column is not above."""
    edges = list(bounds)
    whens = (
        When(**{f"{name}__lte": bound}, then=Value(number)) for number, bound in enumerate(edges)
    )
    return Case(*whens, default=Value(len(edges)))


def _seconds_between(later: str, earlier: str) -> Func:
    """Return the difference of two times; Django's own calls Python for every row on SQLite."""
    if connection.vendor == "sqlite":
        return Func(
            Func(later, function="julianday"),
            Func(earlier, function="julianday"),
            template="((%(expressions)s) * 86400.0)",
            arg_joiner=" - ",
            output_field=FloatField(),
        )
    return Func(
        F(later),
        F(earlier),
        template="CAST(EXTRACT(EPOCH FROM (%(expressions)s)) AS double precision)",
        arg_joiner=" - ",
        output_field=FloatField(),
    )
