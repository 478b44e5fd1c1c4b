"""The drain of one socket: what waits on the agent's lane goes out, what comes back is written."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from agents.connections.fetched import body_of, unacknowledged
from agents.services.presence import Seat, may_fetch
from deliveries import fetching
from deliveries.claims import Claimed
from deliveries.outcomes import Outcome
from deliveries.transactions import engine_transaction

from . import frames
from .threads import run

logger = logging.getLogger(__name__)

# What is not acknowledged within so many seconds counts as a timeout and comes again.
ACKNOWLEDGE_WITHIN = 60
# Beyond that a lease has time for a slow reader and for writing the timeout; only what a killed
# server had out waits for its end.
LEASE = ACKNOWLEDGE_WITHIN + 45
# Fetched at a time, each of up to 1 MB: what an agent may have out in all can be much more.
BATCH = 8
# After a fault of the database, in seconds.
PATIENCE = 1.0


class Drain:
    """Fetches for a seat whenever there is room, and hands each delivery to ``say`` as a frame.

    Lives on the event loop. At most the agent's ``concurrency`` are out and not acknowledged: who
    is slow is sent nothing more.
    """

    def __init__(self, seat: Seat, say: Callable[[str], Awaitable[None]]) -> None:
        self._seat = seat
        self._say = say
        # When each that is out has to be acknowledged, on the monotonic clock.
        self._out: dict[UUID, float] = {}
        self._unwritten: dict[UUID, Outcome] = {}
        self._news = asyncio.Event()
        self._news.set()
        self._idle = False

    @property
    def unwritten(self) -> Mapping[UUID, Outcome]:
        """What came of deliveries and may not be written yet."""
        return self._unwritten

    def wants(self) -> bool:
        """Return whether it would fetch if there was something; also for other threads."""
        return self._idle and self._room > 0

    def look(self) -> None:
        """Look whether there is something to fetch."""
        self._news.set()

    def settle(self, delivery_id: UUID, outcome: Outcome) -> bool:
        """Note what came of a delivery; False when it is not out to this socket."""
        if self._out.pop(delivery_id, None) is None:
            return False
        self._unwritten[delivery_id] = outcome
        self._news.set()
        return True

    async def run(self) -> None:
        """Go on until cancelled, or until ``say`` raises."""
        while True:
            await self._wait()
            self._lapse()
            self._news.clear()
            outcomes, room = dict(self._unwritten), self._room
            try:
                claimed = await run(exchange, self._seat, outcomes, min(room, BATCH))
            except Exception:
                # Nothing is lost: outcomes are kept, and what was claimed comes due again.
                logger.exception("Agent %s: its socket can't reach the ledger", self._seat.agent_id)
                await asyncio.sleep(PATIENCE)
                self._news.set()
                continue
            for delivery_id, outcome in outcomes.items():
                if self._unwritten.get(delivery_id) is outcome:
                    del self._unwritten[delivery_id]
            if room > BATCH and len(claimed) == BATCH:
                self._news.set()
            for item in claimed:
                await self._send(item)

    @property
    def _room(self) -> int:
        return self._seat.cap - len(self._out)

    async def _wait(self) -> None:
        """Sleep until there is news, or until something should have been acknowledged."""
        wait = min(self._out.values()) - time.monotonic() if self._out else None
        self._idle = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._news.wait()
        self._idle = False

    def _lapse(self) -> None:
        now = time.monotonic()
        for delivery_id in [pk for pk, deadline in self._out.items() if deadline <= now]:
            self.settle(delivery_id, unacknowledged(ACKNOWLEDGE_WITHIN))

    async def _send(self, item: Claimed) -> None:
        delivery_id = item.delivery.pk
        body = await run(body_of, item)
        self._out[delivery_id] = time.monotonic() + ACKNOWLEDGE_WITHIN
        if isinstance(body, Outcome):
            self.settle(delivery_id, body)
        else:
            await self._say(frames.event(body, delivery_id))


def exchange(seat: Seat, outcomes: Mapping[UUID, Outcome], room: int) -> list[Claimed]:
    """Write what came back and fetch up to ``room`` more, in one transaction.

    A socket that has to go fetches nothing; what came of its deliveries still counts.
    """
    with engine_transaction():
        fetching.settle(seat.lane_id, outcomes, seat.token)
        if room <= 0 or not may_fetch(seat):
            return []
        return fetching.fetch(seat.lane_id, room, LEASE, seat.token)
