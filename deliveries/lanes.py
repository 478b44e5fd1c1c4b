"""Lanes: how a destination tells the engine to hold, to open, to reload."""

from django.db.models import F

from . import wake
from .models import Delivery, Lane
from .transactions import engine_transaction

# A lane that was released sends its first deliveries one by one, then at its full width.
EASE = 16


def sync_lane(lane_id: int | None, *, kind: str, label: str, cap: int) -> int:
    """Create or update the lane of a destination that is being saved; return its id.

    Counts the version up, so that every runner loads the destination anew before its next send.
    """
    cap = max(1, cap)  # a cap of 0 would hold the lane without saying so
    if lane_id is None:
        return Lane.objects.create(kind=kind, label=label, cap=cap).pk
    Lane.objects.filter(pk=lane_id).update(label=label, cap=cap, version=F("version") + 1)
    return lane_id


def touch(lane_id: int) -> None:
    """Let every runner load this destination anew (a secret was rotated …)."""
    Lane.objects.filter(pk=lane_id).update(version=F("version") + 1)


def hold(lane_id: int) -> None:
    """Let nothing go out on this lane; what is pending or comes in waits, until `release`."""
    Lane.objects.filter(pk=lane_id).update(state=Lane.State.HELD, version=F("version") + 1)


def release(lane_id: int) -> int:
    """Open a held or failing lane and send what waited, oldest first; return how many wait.

    The ladder of everything that waits starts again.
    """
    with engine_transaction():
        changed = (
            Lane.objects.filter(pk=lane_id)
            .exclude(state=Lane.State.OPEN)
            .update(state=Lane.State.FLUSHING, failures=0, ease=EASE, version=F("version") + 1)
        )
        waiting = Delivery.objects.filter(pending_lane=lane_id)
        if changed:
            # What is in flight keeps its lease; the rest comes due through the flush.
            waiting.filter(claim__isnull=True).update(failures=0, next_attempt_at=None)
        count = waiting.count()
        wake.notify()
    return count
