"""Storing: a batch of accepted requests in one transaction, each durable or told why not."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from agents.models import Conversation
from deliveries import bulk, wake
from deliveries.models import DedupeKey
from deliveries.record import NewDelivery, dump, write
from deliveries.transactions import reconnecting, write_transaction

from .coalescing import Held, hold_back
from .intake import MAX_BATCH, Accepted, Conflict, Duplicate, Limited, Result, Stored
from .models import RateWindow

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
# So much may be under way in other batches, which count the same minute at the same time.
MARGIN = 32 * MAX_BATCH


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


class _NotAllNews(Exception):
    """Some of the batch came before, or is over a limit; nothing of it was written."""


def _write_together(batch: Sequence[Accepted]) -> Sequence[Result]:
    """Write as if all of the batch were news, and decide each request only if that was wrong.

    Mostly it is right, and then everything went to the database at once. What may replace an
    earlier event asks about that one anyway.
    """
    first = _first_of_each_key(batch)
    if len(first) == len(batch) and not any(one.holding for one in batch):
        try:
            with write_transaction():
                _write_as_news(batch, first)
                _wake(batch)
        except _NotAllNews:
            pass
        else:
            return [Stored()] * len(batch)
    return _decide_and_write(batch, first)


def _first_of_each_key(batch: Sequence[Accepted]) -> dict[bytes, int]:
    first: dict[bytes, int] = {}
    for index, one in enumerate(batch):
        first.setdefault(one.key, index)
    return first


def _write_as_news(batch: Sequence[Accepted], first: Mapping[bytes, int]) -> None:
    second = int(time.time())
    counts = _counts(batch)
    limits = {one.event.route: one.rate_limit for one in batch if one.rate_limit}
    # A wide limit needs no turns: far from it, what others count meanwhile fits as well.
    narrow = [route for route, limit in limits.items() if limit < 2 * MARGIN]
    with bulk.pipelined():
        _take_turns(narrow)
        windows = _ask_windows(limits, second)
        taken = _take_keys(batch, first)
        _spend(counts, second)
        _write_rows(batch, [delivery for one in batch for delivery in one.deliveries])
    if sum(cursor.rowcount for cursor in taken) < len(first):
        raise _NotAllNews
    for route, limit in limits.items():
        spent, _oldest = windows[route].fetchone()
        if int(spent or 0) + counts[route] > (limit if route in narrow else limit - MARGIN):
            raise _NotAllNews


def _decide_and_write(batch: Sequence[Accepted], first: Mapping[bytes, int]) -> list[Result]:
    """Decide each request and write those that stay.

    1. What the limited routes have spent, and which keys are new, is asked in one go.
    2. Keys tell news from repeats, inside the batch and in the database.
    3. What is left spends its route's limit; the rest gives its key back.
    4. Conversations, events and deliveries are written.
    """
    results: dict[int, Result] = {}
    second = int(time.time())
    limited = {one.event.route for one in batch if one.rate_limit}
    with write_transaction():
        with bulk.pipelined():
            _take_turns(limited)
            windows = _ask_windows(limited, second)
            taken = _take_keys(batch, first)
        old = {}
        if sum(cursor.rowcount for cursor in taken) < len(first):
            old = _holders(batch, first)
        news = _sort_out(batch, first, old, results)
        news = _within_limits(batch, news, windows, second, results)
        stored = [batch[index] for index in news]
        counts = _counts(stored)
        deliveries = _deliveries(stored)
        with bulk.pipelined():
            _spend(counts, second)
            _write_rows(stored, deliveries)
        _wake(stored)
    return [results.get(index, Stored()) for index in range(len(batch))]


_SPENT = "SELECT SUM(accepted), MIN(second) FROM routes_ratewindow WHERE route = %s AND second > %s"
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(%s::integer, hashtext(%s))"
_LIMITS = 0x4C696D69  # any constant; this one spells "Limi"


def _take_turns(routes: Sequence[str] | set[str]) -> None:
    """Let nobody else count these routes until the transaction ends.

    All take them in one order, before anything else; SQLite has one writer anyway.
    """
    if connection.vendor == "postgresql":
        for route in sorted(routes):
            bulk.ask(_TAKE_TURNS, [_LIMITS, route])


def _ask_windows(routes: Mapping[str, int] | set[str], second: int) -> dict[str, Any]:
    """Ask what each limited route accepted in its sliding minute.

    By hand: the ORM takes as long to build this query as the batch takes to write.
    """
    return {route: bulk.ask(_SPENT, [route, second - WINDOW_SECONDS]) for route in routes}


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


def _within_limits(
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
    if not over:
        return news
    refused = {batch[index].key: results[index] for index in over}
    DedupeKey.objects.filter(pk__in=list(refused)).delete()
    # What came beside one of them under its id repeats nothing that was kept.
    results |= {i: refused[one.key] for i, one in enumerate(batch) if one.key in refused}
    return [index for index in news if index not in results]


def _counts(batch: Sequence[Accepted]) -> Counter[str]:
    """Return how much each limited route accepts of a batch."""
    return Counter(one.event.route for one in batch if one.rate_limit)


def _spend(counts: Mapping[str, int], second: int) -> None:
    """Count what is accepted; each thread on a row of its own, so that none waits for another."""
    writer = threading.get_native_id()
    bulk.upsert(
        RateWindow,
        ("route", "second", "writer", "accepted"),
        [(route, second, writer, count) for route, count in sorted(counts.items())],
        "ON CONFLICT (route, second, writer) DO UPDATE SET "
        "accepted = routes_ratewindow.accepted + excluded.accepted",
    )


def _write_rows(stored: Sequence[Accepted], deliveries: Sequence[NewDelivery]) -> None:
    _write_conversations(stored)
    write([one.event for one in stored], deliveries)


def _deliveries(stored: Sequence[Accepted]) -> list[NewDelivery]:
    """Return what is to be sent; where a route coalesces, as `hold_back` would have it."""
    new = [delivery for one in stored for delivery in one.deliveries]
    held = [
        Held(*one.holding, delivery)
        for one in stored
        if one.holding is not None
        for delivery in one.deliveries
    ]
    if not held:
        return new
    ready = {delivery.id: delivery for delivery in hold_back(held, timezone.now())}
    return [ready.get(delivery.id, delivery) for delivery in new]


def _write_conversations(stored: Sequence[Accepted]) -> None:
    """Write where answers go; a conversation that goes on has its place from its latest event."""
    at = bulk.time_adapter()
    rows = {
        one.conversation.id: (
            one.conversation.id.hex,
            one.conversation.agent_id.hex,
            one.conversation.key,
            one.conversation.channel_id,
            dump(one.conversation.target),
            orjson.dumps(one.conversation.fan_out).decode(),
            one.conversation.sender_id,
            at(one.event.received_at),
        )
        for one in stored
        if one.conversation is not None
    }
    columns = (
        "id", "agent_id", "key", "channel_id", "target", "fan_out", "sender_id", "created_at",
    )  # fmt: skip
    bulk.upsert(
        Conversation,
        columns,
        # In one order everywhere, as the keys.
        [rows[one] for one in sorted(rows)],
        "ON CONFLICT (id) DO UPDATE SET channel_id = excluded.channel_id, "
        "target = excluded.target, fan_out = excluded.fan_out, created_at = excluded.created_at",
    )


def _wake(stored: Sequence[Accepted]) -> None:
    if any(one.claim is None for accepted in stored for one in accepted.deliveries):
        wake.notify()


def release_key(key: bytes, event_id: Any) -> None:
    """Give a key back: its direct delivery failed, and the sender's repeat is a second chance."""
    DedupeKey.objects.filter(pk=key, event_id=event_id).delete()


def purge_rate_windows(now: datetime) -> int:
    """Forget minutes that no limit looks at any more; return how many seconds of them."""
    before = int(now.timestamp()) - 2 * WINDOW_SECONDS
    return RateWindow.objects.filter(second__lt=before).delete()[0]
