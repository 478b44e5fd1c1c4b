"""Intake: accepted requests into the ledger, many in one transaction (group commit).

Requests append what they accepted and wait; one thread writes whatever has gathered in one
transaction and then releases every answer. There is no lingering: a batch is what arrived while
the last one was being synced to disk (facts/performance.md A4.1).
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from agents.models import Conversation
from deliveries import bulk, wake
from deliveries.models import DedupeKey
from deliveries.record import NewDelivery, NewEvent, dump, write
from deliveries.transactions import reconnecting, write_transaction

from .models import RateWindow

logger = logging.getLogger(__name__)

MAX_BATCH = 256
WINDOW_SECONDS = 60


@dataclass(slots=True)
class Accepted:
    """A request that passed every check: what is to be written, under which key and limit."""

    event: NewEvent
    delivery: NewDelivery
    key: bytes  # 16 bytes over route and the sender's id
    digest: bytes  # 16 bytes over the body
    rate_limit: int
    conversation: "NewConversation | None" = None


@dataclass(slots=True)
class NewConversation:
    """Where the answer to an accepted request will go."""

    agent_id: UUID
    key: str
    channel_id: int | None
    target: dict[str, Any]
    sender_id: str


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
        self._writer: asyncio.Task[None] | None = None

    async def store(self, accepted: Accepted) -> Result:
        """Return once the request is durable, or why it was not kept.

        Raises NotStored when it cannot be written; then nothing was stored.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((accepted, future))
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())
        return await future

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._write(batch)
        finally:
            self._writer = None

    async def _write(self, batch: list[tuple[Accepted, asyncio.Future[Result]]]) -> None:
        try:
            results: Sequence[Result | Exception] = await sync_to_async(write_batch)(
                [accepted for accepted, _ in batch]
            )
        except Exception as error:
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


def write_batch(batch: Sequence[Accepted]) -> list[Result | Exception]:
    """Write a batch in one transaction; on a fault, each request in one of its own.

    So one request that cannot be written does not take its neighbours with it. A database that is
    away, locked or full is nobody's fault in here: asked again for each, it would keep every
    sender waiting as many times as long.
    """
    try:
        with reconnecting():
            return list(_write_together(batch))
    except (OperationalError, InterfaceError) as error:
        logger.exception("%s requests could not be stored", len(batch))
        return [error] * len(batch)
    except Exception as error:
        if len(batch) > 1:
            return [write_batch([one])[0] for one in batch]
        logger.exception("route %s: a request could not be stored", batch[0].event.route)
        return [error]


def _write_together(batch: Sequence[Accepted]) -> list[Result]:
    """Decide each request and write those that stay.

    1. What the limited routes have spent, and which keys are new, is asked in one go.
    2. Keys tell news from repeats, inside the batch and in the database.
    3. What is left spends its route's limit; the rest gives its key back.
    4. Conversations, events and deliveries are written.
    """
    results: dict[int, Result] = {}
    second = int(time.time())
    first: dict[bytes, int] = {}
    for index, one in enumerate(batch):
        first.setdefault(one.key, index)
    with write_transaction():
        with bulk.pipelined():
            windows = _open_windows(batch, second)
            taken = _take_keys(batch, first)
        old = {}
        if sum(cursor.rowcount for cursor in taken) < len(first):
            old = _holders(batch, first)
        news = _sort_out(batch, first, old, results)
        with bulk.pipelined():
            news = _spend(batch, news, windows, second, results)
            stored = [batch[index] for index in news]
            _write_conversations(stored)
            write([one.event for one in stored], [one.delivery for one in stored])
        if any(one.delivery.claim is None for one in stored):
            wake.notify()
    return [results.get(index, Stored()) for index in range(len(batch))]


_SPENT = "SELECT SUM(accepted), MIN(second) FROM routes_ratewindow WHERE route = %s AND second > %s"
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(%s::integer, hashtext(%s))"
_LIMITS = 0x4C696D69  # any constant; this one spells "Limi"


def _open_windows(batch: Sequence[Accepted], second: int) -> dict[str, Any]:
    """Ask what each limited route accepted in its sliding minute.

    On PostgreSQL no other process counts these routes until the transaction ends, and all take
    them in one order; SQLite has one writer anyway. By hand: the ORM takes as long to build this
    query as the batch takes to write.
    """
    windows = {}
    for route in sorted({one.event.route for one in batch if one.rate_limit}):
        if connection.vendor == "postgresql":
            bulk.ask(_TAKE_TURNS, [_LIMITS, route])
        windows[route] = bulk.ask(_SPENT, [route, second - WINDOW_SECONDS])
    return windows


def _take_keys(batch: Sequence[Accepted], first: Mapping[bytes, int]) -> list[Any]:
    """Take the keys that are free; the cursors' row counts say how many were."""
    at = bulk.time_adapter()(timezone.now())
    rows = [
        (key, batch[index].event.id.hex, batch[index].digest, at)
        # In one order everywhere: two processes with the same keys would wait in a circle.
        for key, index in sorted(first.items())
    ]
    columns = ("key", "event_id", "digest", "at")
    return bulk.upsert(DedupeKey, columns, rows, _take_over_expired())


def _holders(batch: Sequence[Accepted], first: Mapping[bytes, int]) -> dict[bytes, bytes]:
    """Return the keys that somebody else holds, with the digest of the body that took them."""
    rows = DedupeKey.objects.filter(pk__in=list(first)).values_list("key", "event_id", "digest")
    return {
        bytes(key): bytes(digest)
        for key, event_id, digest in rows
        if event_id != batch[first[bytes(key)]].event.id
    }


def _sort_out(
    batch: Sequence[Accepted],
    first: Mapping[bytes, int],
    old: Mapping[bytes, bytes],
    results: dict[int, Result],
) -> list[int]:
    """Return the indexes of requests whose key is new; note what the others are."""
    news = []
    for index, one in enumerate(batch):
        if one.key not in old and first[one.key] == index:
            news.append(index)
            continue
        digest = old.get(one.key) or batch[first[one.key]].digest
        results[index] = Duplicate() if digest == one.digest else Conflict()
    return news


def _spend(
    batch: Sequence[Accepted],
    news: list[int],
    windows: Mapping[str, Any],
    second: int,
    results: dict[int, Result],
) -> list[int]:
    """Return the indexes that their route's sliding minute still has room for."""
    by_route: dict[str, list[int]] = {}
    for index in news:
        if batch[index].rate_limit:
            by_route.setdefault(batch[index].event.route, []).append(index)
    over: list[int] = []
    for route, indexes in by_route.items():
        spent, oldest = windows[route].fetchone()
        room = max(0, batch[indexes[0]].rate_limit - int(spent or 0))
        wait = Limited(max(1, int(oldest or second) + WINDOW_SECONDS - second))
        results |= dict.fromkeys(indexes[room:], wait)
        over += indexes[room:]
        if room:
            bulk.upsert(
                RateWindow,
                ("route", "second", "accepted"),
                [(route, second, min(room, len(indexes)))],
                "ON CONFLICT (route, second) DO UPDATE SET "
                "accepted = routes_ratewindow.accepted + excluded.accepted",
            )
    if over:
        refused = {batch[index].key: results[index] for index in over}
        DedupeKey.objects.filter(pk__in=list(refused)).delete()
        # What came beside one of them under its id repeats nothing that was kept.
        results |= {i: refused[one.key] for i, one in enumerate(batch) if one.key in refused}
        news = [index for index in news if index not in results]
    return news


def _take_over_expired() -> str:
    """Return the clause by which a key past its window is free again, whether or not the purge
    has been round. The same text every time: it stays prepared."""
    window = f"-{int(settings.IDEMPOTENCY_SECONDS)} seconds"
    before = (
        f"strftime('%Y-%m-%d %H:%M:%f', excluded.at, '{window}')"
        if connection.vendor == "sqlite"
        else f"excluded.at + interval '{window}'"
    )
    return (
        "ON CONFLICT (key) DO UPDATE SET event_id = excluded.event_id, digest = excluded.digest, "
        f"at = excluded.at WHERE deliveries_dedupekey.at <= {before}"
    )


def _write_conversations(stored: Sequence[Accepted]) -> None:
    at = bulk.time_adapter()
    rows = [
        (
            one.event.id.hex,  # see `receive`: one event, one conversation, one id
            one.conversation.agent_id.hex,
            one.conversation.key,
            one.conversation.channel_id,
            dump(one.conversation.target),
            one.conversation.sender_id,
            at(one.event.received_at),
        )
        for one in stored
        if one.conversation is not None
    ]
    bulk.insert(
        Conversation,
        ("id", "agent_id", "key", "channel_id", "target", "sender_id", "created_at"),
        rows,
    )


def release_key(key: bytes, event_id: Any) -> None:
    """Give a key back: its direct delivery failed, and the sender's repeat is a second chance."""
    DedupeKey.objects.filter(pk=key, event_id=event_id).delete()


def purge_rate_windows(now: datetime) -> int:
    """Forget minutes that no limit looks at any more; return how many seconds of them."""
    before = int(now.timestamp()) - 2 * WINDOW_SECONDS
    return RateWindow.objects.filter(second__lt=before).delete()[0]
