"""Turns: whoever would run into a platform's rate limit is told when to come back.

The buckets are this process's own (facts/channels.md §0.7): with several runners each keeps the
pace for itself, and the platform's own 429 is the net below.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from hashlib import blake2b

from django.utils.translation import gettext as _

from deliveries.outcomes import Outcome

MOST_BUCKETS = 4096  # the one that was asked longest ago goes first
MOST_TURNS = 4096  # of one bucket
SHORTEST_WAIT = 0.05  # seconds


@dataclass(frozen=True, slots=True)
class Rate:
    """So many messages a second in the long run, and so many at once after a pause."""

    per_second: float
    burst: int


@dataclass(slots=True)
class _Bucket:
    full_at: float = 0.0  # when all its tokens are back, in time.monotonic() seconds
    closed_until: float = 0.0
    turns: OrderedDict[Hashable, float] = field(default_factory=OrderedDict)  # given, not taken


_buckets: OrderedDict[str, _Bucket] = OrderedDict()
_lock = threading.Lock()


def put_off(key: str, turn: Hashable, rate: Rate | None = None) -> Outcome | None:
    """Return the outcome that sends a message back to wait; None if it may go now.

    ``key`` is the bucket (see `key_of`), ``turn`` the message, or a part of one: who comes back
    at the time named finds its turn kept. Without a rate only `close` makes anyone wait.
    """
    wait = _wait(key, turn, rate)
    if not wait:
        return None
    # This class of waits climbs no ladder.
    return Outcome.retry(
        "local_rate_limit",
        _("The rate limit of the platform would be passed; it goes out in %(seconds)s s.")
        % {"seconds": round(wait, 1)},
        retry_after=wait,
    )


def close(key: str, seconds: float) -> None:
    """Let nobody go for so many seconds: the platform has said that its limit is reached."""
    with _lock:
        bucket = _bucket(key)
        bucket.closed_until = max(bucket.closed_until, time.monotonic() + seconds)


def key_of(*parts: str) -> str:
    """Return the name of a bucket: platform, credential, place. Nothing can be read from it."""
    return blake2b("\0".join(parts).encode(errors="replace"), digest_size=16).hexdigest()


def forget() -> None:
    """Empty every bucket of this process."""
    with _lock:
        _buckets.clear()


def _wait(key: str, turn: Hashable, rate: Rate | None) -> float:
    """Return the seconds until this turn; 0 if it is now, and then it is taken."""
    with _lock:
        bucket = _bucket(key)
        now = time.monotonic()
        if now < bucket.closed_until:
            return max(bucket.closed_until - now, SHORTEST_WAIT)
        if rate is None:
            return 0.0
        at = bucket.turns.get(turn)
        if at is None:
            interval = 1 / rate.per_second
            at = max(bucket.full_at - (rate.burst - 1) * interval, now)
            bucket.full_at = max(bucket.full_at, now) + interval
        if at > now:
            bucket.turns[turn] = at
            if len(bucket.turns) > MOST_TURNS:
                bucket.turns.popitem(last=False)
            return max(at - now, SHORTEST_WAIT)
        bucket.turns.pop(turn, None)
        return 0.0


def _bucket(key: str) -> _Bucket:
    bucket = _buckets.setdefault(key, _Bucket())
    _buckets.move_to_end(key)
    if len(_buckets) > MOST_BUCKETS:
        _buckets.popitem(last=False)
    return bucket
