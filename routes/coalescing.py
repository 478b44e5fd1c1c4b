"""Coalescing: of many events of one thing in a short while, the agent gets the latest.

Every event is stored as always. Its delivery is held back for a window, and one that comes
meanwhile under the same key takes its place. What waits is a row, so it survives any crash.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from deliveries import bulk
from deliveries.models import Delivery
from deliveries.record import NewDelivery
from deliveries.results import release_next
from deliveries.transactions import engine_transaction

from .conversation_keys import conversation_key
from .models import CoalesceWindow
from .templating import Template, compile_template

#: Seconds (facts/hermes-agent.md §12).
WINDOW: Final = 30
MAX_WAIT: Final = 300
LONGEST_WINDOW: Final = 3600
#: What waits longer than a day would expire where the agent is away.
LONGEST_WAIT: Final = 86_400

#: The error class of a delivery that a newer event replaced.
SUPERSEDED: Final = "superseded"

#: What hermes-agent also has under ``coalesce``: an agent here acknowledges before it works.
WITHOUT_EFFECT: Final = frozenset({"single_flight", "in_flight_max_seconds"})

PURGE_BATCH = 500


@dataclass(frozen=True, slots=True)
class Coalesce:
    """How a route coalesces; compiled once, see `compile_coalesce`."""

    key: Template
    window: timedelta
    max_wait: timedelta

    def key_of(self, route: str, payload: object, event: str) -> bytes | None:
        """Return 16 bytes over the route and the key of an event; None: it has none.

        An event without a key is not held back.
        """
        key = conversation_key(self.key, payload, event)
        if key is None:
            return None
        scoped = f"{route}\0{key}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(scoped, digest_size=16).digest()


def compile_coalesce(data: Mapping[str, Any]) -> Coalesce | None:
    """Return how a route with ``Route.coalesce`` coalesces; None: it does not.

    A key without braces is a field of the payload, as in hermes-agent. Raises ValidationError as
    `validate_coalesce` does.
    """
    validate_coalesce(data)
    if not data:
        return None
    key = str(data["key"]).strip()
    window = data.get("window_seconds", WINDOW)
    return Coalesce(
        key=compile_template(key if "{" in key else f"{{{key}}}"),
        window=timedelta(seconds=window),
        max_wait=timedelta(seconds=data.get("max_wait_seconds", max(MAX_WAIT, window))),
    )


def validate_coalesce(data: object, *, deliver_only: bool = False) -> None:
    """Raise ValidationError, naming the part at fault, unless a route can coalesce so.

    ``data`` is empty or ``{"key": template, "window_seconds": 30, "max_wait_seconds": 300}``, the
    last two optional. ``deliver_only`` routes coalesce nothing: their sender waits for the answer.
    """
    if not data and (data is None or isinstance(data, Mapping)):
        return
    if not isinstance(data, Mapping):
        raise ValidationError(_("It must be a mapping with a key."))
    if deliver_only:
        raise ValidationError(_("A route that only delivers can't hold events back."))
    unknown = [str(name) for name in data if name not in _PARTS | WITHOUT_EFFECT]
    if unknown:
        raise ValidationError(
            _("%(names)s: not known. There are key, window_seconds and max_wait_seconds."),
            params={"names": ", ".join(unknown)},
        )
    _check_key(data.get("key"))
    window = _seconds(data, "window_seconds", WINDOW, 1, LONGEST_WINDOW)
    _seconds(data, "max_wait_seconds", max(MAX_WAIT, window), window, LONGEST_WAIT)


_PARTS = frozenset({"key", "window_seconds", "max_wait_seconds"})


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key.strip():
        raise ValidationError(
            _("key: name what belongs together, as in {repository.full_name}#{number}.")
        )
    if "{" in key and not compile_template(key).placeholders:
        raise ValidationError(
            _("key: %(key)s has no placeholder, so all events would replace each other."),
            params={"key": key},
        )
    if "{" not in key and not compile_template(f"{{{key.strip()}}}").placeholders:
        raise ValidationError(_("key: %(key)s is no field of a payload."), params={"key": key})


def _seconds(
    data: Mapping[str, Any], name: str, default: float, least: float, most: float
) -> float:
    value = data.get(name, default)
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    if not usable or not math.isfinite(value) or not least <= value <= most:
        raise ValidationError(
            _("%(name)s: a number of seconds from %(least)g to %(most)g."),
            params={"name": name, "least": least, "most": most},
        )
    return float(value)


@dataclass(frozen=True, slots=True)
class Held:
    """A delivery that is about to be recorded and may wait, under the key of `Coalesce.key_of`."""

    key: bytes
    coalesce: Coalesce
    delivery: NewDelivery


@dataclass(slots=True)
class _Window:
    """Since when events of a key have been held back, how many were replaced, which one waits."""

    opened_at: datetime
    superseded: int = 0
    latest: UUID | None = None


def hold_back(held: Sequence[Held], now: datetime) -> list[NewDelivery]:
    """Return these deliveries as they are to be recorded, in the same order.

    Runs inside the transaction that records them, before it does; if that is rolled back, so is
    all of this, and what came in is unchanged and can be tried again.

    1. Nobody else claims, parks or supersedes until the transaction ends.
    2. A delivery of the key that still waits for its first attempt is superseded; one that is
       being sent, was sent or is gone is left alone, and the window starts anew.
    3. The new one is due at the end of its window, and no later than the longest wait since the
       window was opened.
    """
    with engine_transaction():
        windows = _open_windows({one.key for one in held}, now)
        replaced: dict[UUID, UUID] = {}
        ready = []
        for one in held:
            window = windows.setdefault(one.key, _Window(now))
            if window.latest is not None:
                replaced[window.latest] = one.delivery.id
                window.superseded += 1
            window.latest = one.delivery.id
            ready.append(_waiting(one, window, now))
        _supersede(replaced, now)
        _write_windows(windows)
    return [_superseded(new, replaced[new.id]) if new.id in replaced else new for new in ready]


def _open_windows(keys: Iterable[bytes], now: datetime) -> dict[bytes, _Window]:
    """Return the windows of these keys whose delivery still waits for its first attempt."""
    rows = list(
        CoalesceWindow.objects.filter(pk__in=list(keys)).values_list(
            "key", "delivery_id", "opened_at", "superseded"
        )
    )
    waiting = set(
        # What a person asked for is sent, whatever comes after it.
        Delivery.objects.filter(
            pk__in=[delivery_id for _key, delivery_id, _opened_at, _superseded in rows],
            pending_lane__isnull=False,
            claim__isnull=True,
            attempt_count=0,
            redelivered_at__isnull=True,
        ).values_list("pk", flat=True)
    )
    return {
        # Opened in the future: the clock was set back, and nothing shall wait until then.
        bytes(key): _Window(min(opened_at, now), superseded, delivery_id)
        for key, delivery_id, opened_at, superseded in rows
        if delivery_id in waiting
    }


def _waiting(one: Held, window: _Window, now: datetime) -> NewDelivery:
    due_at = min(now + one.coalesce.window, window.opened_at + one.coalesce.max_wait)
    if not window.superseded:
        return replace(one.delivery, due_at=due_at)
    payload = one.delivery.payload
    return replace(
        one.delivery,
        due_at=due_at,
        metadata={**one.delivery.metadata, "superseded": window.superseded},
        payload={**payload, "text": f"{payload['text']}\n\n{_note(window.superseded)}"},
    )


def _note(count: int) -> str:
    return (
        "1 earlier event with the same key was replaced by this one."
        if count == 1
        else f"{count} earlier events with the same key were replaced by this one."
    )


def _superseded(new: NewDelivery, by: UUID) -> NewDelivery:
    """Return a delivery that was replaced within its own batch."""
    return replace(new, skipped=SUPERSEDED, metadata={**new.metadata, "replaced_by": str(by)})


def _supersede(replaced: Mapping[UUID, UUID], now: datetime) -> None:
    """Close the recorded ones of these deliveries; what waited behind them may go."""
    rows = list(Delivery.objects.filter(pk__in=list(replaced)).only("metadata", "conversation_id"))
    if not rows:
        return
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
        status=Delivery.Status.SKIPPED,
        error_class=SUPERSEDED,
        completed_at=now,
        pending_lane=None,
        next_attempt_at=None,
    )
    for row in rows:
        row.metadata = {**row.metadata, "replaced_by": str(replaced[row.pk])}
    Delivery.objects.bulk_update(rows, ["metadata"])
    release_next(rows, now)


def _write_windows(windows: Mapping[bytes, _Window]) -> None:
    at = bulk.time_adapter()
    bulk.upsert(
        CoalesceWindow,
        ("key", "delivery_id", "opened_at", "superseded"),
        [
            (key, window.latest.hex, at(window.opened_at), window.superseded)
            for key, window in sorted(windows.items())
            if window.latest is not None
        ],
        "ON CONFLICT (key) DO UPDATE SET delivery_id = excluded.delivery_id, "
        "opened_at = excluded.opened_at, superseded = excluded.superseded",
    )


def purge_coalesce_windows(now: datetime) -> int:
    """Forget the windows of which nothing waits any more; return how many."""
    waits = Delivery.objects.filter(pk=OuterRef("delivery_id"), pending_lane__isnull=False)
    over = CoalesceWindow.objects.filter(~Exists(waits))
    total = 0
    while over.exists():  # asked outside the transaction: mostly there is nothing
        total += _purge_batch(over)
    return total


def _purge_batch(over: QuerySet[CoalesceWindow]) -> int:
    # Not beside `hold_back`, which may be about to point one of them at another delivery.
    with engine_transaction():
        keys = list(over.values_list("pk", flat=True)[:PURGE_BATCH])
        return CoalesceWindow.objects.filter(pk__in=keys).delete()[0]
