"""What the modes have in common in which the agent fetches: a delivery's body, its outcomes."""

import logging

from django.utils.translation import gettext as _

from agents import wire
from agents.storage import StorageFailed
from deliveries.claims import Claimed
from deliveries.outcomes import Outcome
from deliveries.retry_after import bounded

from .destination import AgentDestination

logger = logging.getLogger(__name__)

REASON_LIMIT = 500  # characters kept of what the agent says

ACKNOWLEDGED = Outcome.delivered()


def refused(reason: str, retry: bool | float = False) -> Outcome:
    """Return the outcome of a delivery that the agent did not take, for the reason it gave.

    ``retry`` is how many seconds to wait (held between 1 second and 1 hour, and like a 429 no
    failure), True for the next rung of the ladder, False for the end.
    """
    # PostgreSQL keeps no NUL in a text, and nobody a lone surrogate.
    said = reason.replace("\0", "�").encode(errors="replace").decode()[:REASON_LIMIT]
    wait = None if isinstance(retry, bool) else bounded(retry)
    if wait is not None:
        return Outcome.retry(
            "rate_limited", said or _("The agent asked to wait."), retry_after=wait
        )
    if retry is True:
        return Outcome.retry("deferred", said or _("The agent wants it again."))
    return Outcome.failed("refused", said or _("The agent refused it."))


def unacknowledged(seconds: float) -> Outcome:
    """Return the outcome of a delivery that was sent and not acknowledged for so many seconds."""
    return Outcome.retry(
        "timeout",
        _("The agent did not acknowledge it within %(seconds)d seconds.") % {"seconds": seconds},
        ambiguous=True,
    )


def body_of(item: Claimed) -> bytes | Outcome:
    """Return the body of a delivery that was fetched, or what comes of one that has none.

    Asks the database and the storage for large ones.
    """
    if item.message is None or not isinstance(item.destination, AgentDestination):
        return Outcome.failed("no_payload", _("What was to be sent is gone or unreadable."))
    try:
        return wire.body_for(item.message, item.destination.agent)
    except StorageFailed as error:
        return Outcome.retry(
            "storage",
            _("The message is above 1 MB, and the storage %(fault)s.") % {"fault": error},
        )
    except Exception as error:
        # A fault of ours: keep the delivery, and its trace in the log. The error's text may hold
        # what was to be sent, so the ledger gets its kind only.
        logger.exception("delivery %s: its body could not be made", item.delivery.pk)
        return Outcome.retry("internal", f"Hermes itself failed: {type(error).__name__}.")
