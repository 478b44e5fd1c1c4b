"""Sending one claimed delivery; the edge where nothing may escape."""

import logging
import time

from .claims import Claimed
from .outcomes import Outcome
from .results import Result

logger = logging.getLogger(__name__)


def send(claimed: Claimed) -> Result:
    """Send once and return what came of it; never raises. Runs outside any transaction."""
    started = time.monotonic()
    try:
        outcome = _send(claimed)
    except Exception as error:
        # A fault of ours, not of the other side: keep the delivery, and its trace in the log. The
        # error's text may hold what was sent, so the ledger gets its kind only.
        logger.exception("delivery %s: sending raised", claimed.delivery.pk)
        outcome = Outcome.retry("internal", f"Hermes itself failed: {type(error).__name__}.")
    return Result(claimed, outcome, time.monotonic() - started)


def _send(claimed: Claimed) -> Outcome:
    if claimed.destination is None:
        return Outcome.failed("no_destination", "The agent or channel no longer exists.")
    if claimed.message is None:
        return Outcome.failed("no_payload", "What was to be sent is gone or unreadable.")
    return claimed.destination.send(claimed.message)
