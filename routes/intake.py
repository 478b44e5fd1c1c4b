"""Intake: accepted requests into the ledger, many in one transaction (group commit).

Requests append what they accepted and wait; a thread writes whatever has gathered in one
transaction and then releases every answer. There is no lingering: a batch is what arrived while
the last one was being synced to disk (facts/performance.md A4.1). Where the database takes several
writers, a second batch is under way while the first waits for its disk.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.conf import settings

from deliveries.record import NewDelivery, NewEvent

from .coalescing import Coalesce

logger = logging.getLogger(__name__)

MAX_BATCH = 256
# A second writer for fewer than these would only make the batches small.
SECOND_WRITER_FROM = 8


@dataclass(slots=True)
class NewConversation:
    """Where the answer to an accepted request will go; the same id again is the same thread."""

    id: UUID
    agent_id: UUID
    key: str
    channel_id: int | None
    target: dict[str, Any]
    sender_id: str
    fan_out: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Accepted:
    """A request that passed every check: what is to be written, under which key and limit."""

    event: NewEvent
    deliveries: list[NewDelivery]
    key: bytes  # 16 bytes over route and the sender's id
    digest: bytes  # 16 bytes over the body
    rate_limit: int
    conversation: NewConversation | None = None
    holding: tuple[bytes, Coalesce] | None = None  # under this key a newer event replaces it


@dataclass(frozen=True, slots=True)
class Stored:
    """The request is durable."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same id and body came before."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The same id came before with another body."""


@dataclass(frozen=True, slots=True)
class Limited:
    """The route's minute is used up; ``retry_after`` in seconds."""

    retry_after: int


Result = Stored | Duplicate | Conflict | Limited


class NotStored(Exception):
    """The request could not be written, and nothing of it was; the log says why."""


class Intake:
    """Collects accepted requests of one event loop and writes them in batches."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Accepted, asyncio.Future[Result]]] = []
        self._writers: set[asyncio.Task[None]] = set()

    async def store(self, accepted: Accepted) -> Result:
        """Return once the request is durable, or why it was not kept.

        Raises NotStored when it cannot be written; then nothing was stored.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((accepted, future))
        if not self._writers or (
            len(self._waiting) >= SECOND_WRITER_FROM
            and len(self._writers) < settings.INTAKE_WRITERS
        ):
            writer = asyncio.get_running_loop().create_task(self._write_all())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await future

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            await self._write(batch)

    async def _write(self, batch: list[tuple[Accepted, asyncio.Future[Result]]]) -> None:
        try:
            results = await _in_a_thread([accepted for accepted, _ in batch])
        except Exception as error:
            logger.exception("%s requests could not be handed over", len(batch))
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # the caller has gone away
                continue
            if isinstance(result, Exception):
                future.set_exception(NotStored())
            else:
                future.set_result(result)


_intakes: WeakKeyDictionary[asyncio.AbstractEventLoop, Intake] = WeakKeyDictionary()


def intake() -> Intake:
    """Return the intake of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _intakes.get(loop)
    if found is None:
        found = _intakes[loop] = Intake()
    return found


async def _in_a_thread(batch: Sequence[Accepted]) -> Sequence[Result | Exception]:
    # Here, not above: it needs what is defined here.
    from .storing import write_batch

    if not settings.INTAKE_WRITERS:
        return await sync_to_async(write_batch)(batch)
    return await asyncio.get_running_loop().run_in_executor(_threads(), write_batch, batch)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.INTAKE_WRITERS, thread_name_prefix="intake")
