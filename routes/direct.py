"""Direct delivery: sent while its sender waits for the answer (spec 001, direct delivery mode)."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from asgiref.sync import sync_to_async

from deliveries.outcomes import Outcome
from deliveries.services import send_direct
from deliveries.transactions import reconnecting

from .intake import Accepted
from .storing import release_key

logger = logging.getLogger(__name__)

# So many direct deliveries are sent side by side. One that had to wait for its turn would be
# answered too late, and its lease would run out meanwhile.
THREADS = 32
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="direct")
_sending = 0


@contextmanager
def sending_slot() -> Iterator[bool]:
    """Take one of the places for direct deliveries until the block ends; False: none is free."""
    global _sending
    if _sending >= THREADS:
        yield False
        return
    _sending += 1
    try:
        yield True
    finally:
        _sending -= 1


async def deliver(accepted: Accepted, claim: UUID) -> Outcome:
    """Send a stored direct delivery once, and write down what came of it.

    Raises django.db.Error where that could not be written.
    """
    send = sync_to_async(_send, thread_sensitive=False, executor=_threads)
    return await send(accepted, claim)


@reconnecting()
def _send(accepted: Accepted, claim: UUID) -> Outcome:
    # The sender will post the id of a failure again, and that must be a second chance, not a
    # duplicate.
    give_back = partial(release_key, accepted.key, accepted.event.id)
    return send_direct(accepted.deliveries[0].id, claim, on_failure=give_back)
