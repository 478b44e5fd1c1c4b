"""Refusals: requests that were turned away, kept so that a person can see why.

Turning away must stay cheap under a flood: notes gather in memory, bounded per route, and are
written together at most twice a second.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error
from django.utils import timezone

from deliveries.transactions import reconnecting, write_transaction
from vault.redaction import redact, redact_headers

from .models import Refusal

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
ANSWER_SECONDS = 0.25
BODY_LIMIT = 4096
NAME_LIMIT = 64
HEADER_LIMIT = 500
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
) -> None:
    """Keep a refusal for the next flush, redacted and cut to size."""
    global _dropped
    group = reason if reason == UNKNOWN_ROUTE else route
    if _per_route[group] >= WAITING_PER_ROUTE or len(_waiting) >= WAITING:
        _dropped += 1
        return
    _per_route[group] += 1
    name, explanation = _printable(route)[:NAME_LIMIT], redact(_printable(explanation), secrets)
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
            headers={
                _printable(name)[:NAME_LIMIT]: redact(_printable(value), secrets)[:HEADER_LIMIT]
                for name, value in list(redact_headers(headers).items())[:40]
            },
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
    except Error:
        # The sender has its answer; the note is lost, and the log says so.
        logger.exception("%s refusals could not be kept", len(rows))


def _cap(group: str) -> None:
    """Keep the newest refusals of a route (or of all unknown names) and no more."""
    mine = {"reason": UNKNOWN_ROUTE} if group == UNKNOWN_ROUTE else {"route": group}
    rows: Any = Refusal.objects.filter(**mine).order_by("-id")
    surplus = list(rows.values_list("pk", flat=True)[settings.REFUSALS_PER_ROUTE :][:1000])
    if surplus:
        Refusal.objects.filter(pk__in=surplus).delete()


def _excerpt(body: bytes, secrets: Sequence[str]) -> bytes:
    # Redacted before it is cut: half a secret would not be found.
    text = body[: 2 * BODY_LIMIT].decode(errors="surrogateescape")
    return redact(text, secrets).encode(errors="surrogateescape")[:BODY_LIMIT]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
