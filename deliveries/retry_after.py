"""The wait that the other side asks for: Retry-After, read and bounded (facts/channels.md §0.2)."""

import math
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

SHORTEST_WAIT, LONGEST_WAIT = 1.0, 3600.0  # seconds; what is asked for outside is bounded


def asked_wait(value: str) -> float | None:
    """Return a Retry-After (seconds or HTTP date) in seconds within bounds; None if unreadable."""
    try:
        return bounded(float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return bounded(moment.timestamp() - time.time())


def bounded(seconds: float) -> float | None:
    """Return a wait inside the bounds; None for what is no number."""
    if math.isnan(seconds):
        return None
    return min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)
