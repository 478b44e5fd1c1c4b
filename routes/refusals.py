"""Refusals: requests that were turned away, kept so that a person can see why.

Turning away must stay cheap under a flood: notes gather in memory, bounded per route, and are
written together at most twice a second. What is kept is bounded as well: rows per route, one
bucket for all names that no route has, bytes per row, and rows in all.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from functools import cache

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error
from django.db.models import QuerySet
from django.utils import timezone

from deliveries.transactions import reconnecting, write_transaction
from vault.redaction import MASK, redact, redact_headers

from .models import Refusal
from .presets import presets

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
ANSWER_SECONDS = 0.25
BODY_LIMIT = 4096
NAME_LIMIT = 64
HEADER_LIMIT = 500
# So many headers of a row, and so many bytes of their names and values; the rest is left out,
# and said to be.
HEADERS = 40
HEADERS_LIMIT = 4096
EXPLANATION_LIMIT = 2000
# Whatever the number of routes; at 15 kB a row at the very most, 30 MB.
ROWS = 2000
DELETED_AT_ONCE = 1000
# So many notes of one route wait for a flush; the rest is counted in the log only.
WAITING_PER_ROUTE = 20
WAITING = 500
UNKNOWN_ROUTE = "unknown_route"

_waiting: list[Refusal] = []
_per_route: Counter[str] = Counter()
_dropped = 0
_flushed = 0.0
_later: asyncio.Task[None] | None = None


def note(
    route: str,
    status: int,
    reason: str,
    explanation: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    client: str = "",
    secrets: Sequence[str] = (),
    masked: Container[str] = (),
) -> None:
    """Keep a refusal for the next flush, redacted and cut to size.

    ``masked`` are further headers, in lower case, that carry credentials: those of a scheme that
    an operator described. Those of the known sources are masked anyway.
    """
    global _dropped
    group = reason if reason == UNKNOWN_ROUTE else route
    if _per_route[group] >= WAITING_PER_ROUTE or len(_waiting) >= WAITING:
        _dropped += 1
        return
    _per_route[group] += 1
    name = _printable(route)[:NAME_LIMIT]
    explanation = redact(_printable(explanation), secrets)[:EXPLANATION_LIMIT]
    # Spec 001, troubleshooting: these words are what to look for in the log.
    what = "Invalid signature" if status == 401 else reason
    logger.warning("route %s: %s: %s", name, what, explanation)
    _waiting.append(
        Refusal(
            route=name,
            at=timezone.now(),
            status=status,
            reason=reason,
            explanation=explanation,
            headers=_shown_headers(headers, secrets, masked),
            body=_excerpt(body, secrets),
            client=client[:64],
        )
    )


async def flush_when_due() -> None:
    """Write what waits, unless it was done a moment ago; then see that it is done later."""
    global _later
    if not _waiting:
        return
    if time.monotonic() - _flushed >= FLUSH_SECONDS:
        _later = asyncio.get_running_loop().create_task(sync_to_async(_flush)())
        # A database that is slow or away does not keep a refused sender waiting.
        await asyncio.wait([_later], timeout=ANSWER_SECONDS)
    elif _later is None or _later.done():
        _later = asyncio.get_running_loop().create_task(_flush_later())


async def _flush_later() -> None:
    await asyncio.sleep(FLUSH_SECONDS)
    await sync_to_async(_flush)()


def _flush() -> None:
    global _dropped, _flushed
    _flushed = time.monotonic()
    rows, dropped = list(_waiting), _dropped
    _waiting.clear()
    _per_route.clear()
    _dropped = 0
    if dropped:
        logger.warning("%s further refusals in this moment were not kept", dropped)
    try:
        with reconnecting(), write_transaction():
            Refusal.objects.bulk_create(rows)
            for group in {row.reason if row.reason == UNKNOWN_ROUTE else row.route for row in rows}:
                _cap(group)
            _cap_all()
    except Error:
        # The sender has its answer; the note is lost, and the log says so.
        logger.exception("%s refusals could not be kept", len(rows))


def _cap(group: str) -> None:
    """Keep the newest refusals of a route (or of all unknown names) and no more."""
    mine = {"reason": UNKNOWN_ROUTE} if group == UNKNOWN_ROUTE else {"route": group}
    _delete_beyond(Refusal.objects.filter(**mine), settings.REFUSALS_PER_ROUTE)


def _cap_all() -> None:
    """Keep the newest refusals of all routes together and no more."""
    _delete_beyond(Refusal.objects.all(), max(ROWS, settings.REFUSALS_PER_ROUTE))


def _delete_beyond(rows: QuerySet[Refusal], kept: int) -> None:
    newest = rows.order_by("-id").values_list("pk", flat=True)
    surplus = list(newest[kept : kept + DELETED_AT_ONCE])
    if surplus:
        Refusal.objects.filter(pk__in=surplus).delete()


def _shown_headers(
    headers: Mapping[str, str], secrets: Sequence[str], masked: Container[str]
) -> dict[str, str]:
    shown: dict[str, str] = {}
    room = HEADERS_LIMIT
    for name, value in redact_headers(headers).items():
        # An empty one stays so: that is often the whole fault.
        bare = bool(value) and value == headers[name]
        if bare and (name in masked or name in _credential_headers()):
            value = MASK
        key = _printable(name)[:NAME_LIMIT]
        text = redact(_printable(value), secrets)[:HEADER_LIMIT]
        room -= len(key.encode()) + len(text.encode())
        if room < 0 or len(shown) >= HEADERS - 1:
            shown["…"] = f"{len(headers) - len(shown)} more were left out"
            break
        shown[key] = text
    return shown


@cache
def _credential_headers() -> frozenset[str]:
    """Return the headers in which a known source carries a signature or a secret."""
    known = presets().values()
    return frozenset(name for one in known for name in (one.header, *one.other_headers) if name)


def _excerpt(body: bytes, secrets: Sequence[str]) -> bytes:
    # Redacted before it is cut: half a secret would not be found.
    text = body[: 2 * BODY_LIMIT].decode(errors="surrogateescape")
    return redact(text, secrets).encode(errors="surrogateescape")[:BODY_LIMIT]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
