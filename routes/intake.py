"""Intake: accepted requests into the ledger, many in one transaction (group commit).

Requests append what they accepted and wait; one thread writes whatever has gathered in one
transaction and then releases every answer. There is no lingering: a batch is what arrived while
the last one was being synced to disk (facts/performance.md A4.1).
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.utils import timezone

from agents.models import Conversation
from deliveries import bulk, wake
from deliveries.models import DedupeKey
from deliveries.record import NewDelivery, NewEvent, dump, write
from deliveries.transactions import write_transaction

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


class Intake:
    """Collects accepted requests of one event loop and writes them in batches."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Accepted, asyncio.Future[Result]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def store(self, accepted: Accepted) -> Result:
        """Return once the request is durable, or why it was not kept.

        Raises DatabaseError when the database is not to be had; then nothing was stored.
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
                future.set_exception(result)
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

    So one request that the database refuses does not take its neighbours with it.
    """
    try:
        results: list[Result | Exception] = list(_write_together(batch))
    except DatabaseError as error:
        if not connection.in_atomic_block:
            connections["default"].close_if_unusable_or_obsolete()
        if len(batch) == 1:
            logger.exception("a request could not be stored")
            return [error]
        results = [write_batch([one])[0] for one in batch]
    return results


def _write_together(batch: Sequence[Accepted]) -> list[Result]:
    """Decide each request and write those that stay.

    1. Keys tell news from repeats, inside the batch and in the database.
    2. What is left spends its route's limit; the rest gives its key back.
    3. Conversations, events and deliveries are written.
    """
    results: dict[int, Result] = {}
    with write_transaction():
        news = _claim_keys(batch, results)
        news = _spend_limits(batch, news, results)
        stored = [batch[index] for index in news]
        with bulk.pipelined():
            _write_conversations(stored)
            write([one.event for one in stored], [one.delivery for one in stored])
        if any(one.delivery.claim is None for one in stored):
            wake.notify()
    return [results.get(index, Stored()) for index in range(len(batch))]


def _claim_keys(batch: Sequence[Accepted], results: dict[int, Result]) -> list[int]:
    """Return the indexes of requests whose key is new; note what the others are."""
    first: dict[bytes, int] = {}
    for index, one in enumerate(batch):
        first.setdefault(one.key, index)
    now = timezone.now()
    at = bulk.time_adapter()
    rows = [
        (key, batch[index].event.id.hex, batch[index].digest, at(now))
        for key, index in first.items()
    ]
    table = DedupeKey._meta.db_table
    cutoff = now - timedelta(seconds=settings.IDEMPOTENCY_SECONDS)
    zone = "" if connection.vendor == "sqlite" else "+00"
    written = bulk.upsert(
        DedupeKey,
        ("key", "event_id", "digest", "at"),
        rows,
        # A key past its window is free again, whether or not the purge has been round.
        "ON CONFLICT (key) DO UPDATE SET event_id = excluded.event_id, digest = excluded.digest, "
        f"at = excluded.at WHERE {table}.at <= '{cutoff:%Y-%m-%d %H:%M:%S.%f}{zone}'",
    )
    old: dict[bytes, bytes] = {}
    if written < len(rows):
        holders = DedupeKey.objects.filter(pk__in=list(first))
        for key, event_id, digest in holders.values_list("key", "event_id", "digest"):
            if event_id != batch[first[bytes(key)]].event.id:
                old[bytes(key)] = bytes(digest)
    news = []
    for index, one in enumerate(batch):
        if one.key not in old and first[one.key] == index:
            news.append(index)
            continue
        digest = old.get(one.key) or batch[first[one.key]].digest
        results[index] = Duplicate() if digest == one.digest else Conflict()
    return news


def _spend_limits(
    batch: Sequence[Accepted], news: list[int], results: dict[int, Result]
) -> list[int]:
    """Return the indexes that their route's sliding minute still has room for."""
    by_route: dict[str, list[int]] = {}
    for index in news:
        if batch[index].rate_limit:
            by_route.setdefault(batch[index].event.route, []).append(index)
    if not by_route:
        return news
    second = int(time.time())
    over: list[int] = []
    for route, indexes in by_route.items():
        spent, oldest = _spent(route, second)
        room = max(0, batch[indexes[0]].rate_limit - spent)
        if len(indexes) > room:
            wait = Limited(max(1, oldest + WINDOW_SECONDS - second))
            for index in indexes[room:]:
                results[index] = wait
            over += indexes[room:]
        if room:
            bulk.upsert(
                RateWindow,
                ("route", "second", "accepted"),
                [(route, second, min(room, len(indexes)))],
                "ON CONFLICT (route, second) DO UPDATE SET "
                f"accepted = {RateWindow._meta.db_table}.accepted + excluded.accepted",
            )
    if over:
        DedupeKey.objects.filter(pk__in=[batch[index].key for index in over]).delete()
        gone = set(over)
        news = [index for index in news if index not in gone]
    return news


def _spent(route: str, second: int) -> tuple[int, int]:
    """Return what a route accepted in the last minute, and in which second that minute begins."""
    with connection.cursor() as cursor:
        # By hand: the ORM takes as long to build this query as the batch takes to write.
        cursor.execute(
            f"SELECT SUM(accepted), MIN(second) FROM {RateWindow._meta.db_table} "
            "WHERE route = %s AND second > %s",
            [route, second - WINDOW_SECONDS],
        )
        total, first = cursor.fetchone()
    return int(total or 0), int(first or second)


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


def purge_rate_windows() -> None:
    """Forget minutes that no limit looks at any more."""
    RateWindow.objects.filter(second__lt=int(time.time()) - 2 * WINDOW_SECONDS).delete()
