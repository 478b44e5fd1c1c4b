"""Receiving: from a request to a durable event, and the honest answer (spec 001)."""

import hashlib
import json
import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async
from django.db import Error
from django.utils import timezone

from deliveries.outcomes import Outcome, Verdict
from deliveries.record import NewDelivery, NewEvent
from deliveries.services import send_direct
from deliveries.transactions import reconnecting

from . import refusals
from .intake import (
    Accepted,
    Conflict,
    Duplicate,
    Limited,
    NewConversation,
    NotStored,
    intake,
    release_key,
)
from .matching import matches
from .parsing import Unparseable, parse_body
from .signatures import Refused, Verified, delivery_id, event_type, unrecognised
from .table import Entry, current
from .templating import render_target, storable

logger = logging.getLogger(__name__)

# A direct delivery is tried while the sender waits; ten seconds and the time to write it down.
DIRECT_LEASE = timedelta(seconds=15)
# What of a request's headers is worth keeping with the event; none of these is a credential.
KEPT_HEADERS = frozenset(
    {
        "content-type",
        "idempotency-key",
        "user-agent",
        "webhook-id",
        "x-github-delivery",
        "x-github-event",
        "x-github-hook-id",
        "x-gitlab-event",
        "x-gitlab-event-uuid",
        "x-gitlab-instance",
        "x-request-id",
    }
)

Headers = Mapping[str, str]
Read = Callable[[int], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class TooLarge(Exception):
    """The body is over the limit."""


class ReadFailed(Exception):
    """The body did not arrive whole, or not in time."""


async def accept(name: str, headers: Headers, read: Read, client: str = "") -> Answer:
    """Take one request to ``/webhooks/<name>`` through every check and store it.

    See `_accept`; this adds only that refusals are written down.
    """
    answer = await _accept(name, headers, read, client)
    if answer.status >= 400:
        await refusals.flush_when_due()
    return answer


async def _accept(name: str, headers: Headers, read: Read, client: str) -> Answer:
    """Return the answer to one request.

    ``headers`` have lower-case names. ``read(limit)`` returns the body's bytes; it raises
    `TooLarge` or `ReadFailed`.

    Order (facts/hermes-agent.md §2): route, enabled, size, body, signature, parse, event, then
    duplicate, limit and storage in one transaction.
    """
    try:
        table = await current()
    except Exception:
        logger.exception("the routes cannot be read")
        return _unavailable()
    if not table.effective.enabled:
        return Answer(404, {"error": "Webhooks are switched off: set WEBHOOK_ENABLED=true"})
    route = table.entries.get(name)
    if route is None:
        return _refuse(404, "unknown_route", f"Unknown route: {name}", name, headers, client)
    if not route.enabled:
        error = f"Route disabled: {name}"
        return _refuse(403, "disabled_route", error, name, headers, client, route=route)
    try:
        body = await _read(route, headers, read)
    except TooLarge:
        return _refuse(413, "too_large", "Payload too large", name, headers, client, route=route)
    except ReadFailed:
        return _refuse(400, "bad_request", "Bad request", name, headers, client, route=route)

    refused = _authenticate(route, headers, body)
    if refused is not None:
        reason, explanation, answer = refused
        refusals.note(
            name, answer.status, reason, explanation, headers, body, client, route.secrets
        )
        return answer
    try:
        payload = parse_body(body, headers.get("content-type", ""))
    except Unparseable:
        return _refuse(400, "unparseable", "Cannot parse body", name, headers, client, body, route)

    preset = route.preset or _recognised(route, headers)
    event = event_type(preset, headers, payload)
    greeting = preset is not None and event in preset.greetings and event not in route.events
    if greeting or not matches(route.events, event, headers, payload):
        return Answer(200, {"status": "ignored", "event": event})
    if (route.channel_lane if route.deliver_only else route.agent_lane) is None:
        where = f"the channel “{route.channel_kind}”" if route.deliver_only else "an agent"
        reason = f"Route {name} has no place to deliver to: {where} does not exist."
        refusals.note(name, 503, "no_destination", reason, headers, body, client, route.secrets)
        return Answer(503, {"error": "Route has no destination"}, {"Retry-After": "60"})
    if not route.deliver_only:
        return await _store(route, preset, event, headers, body, payload, client)
    with _sending_slot() as free:
        if free:
            return await _store(route, preset, event, headers, body, payload, client)
    reason = "Too many direct deliveries are under way."
    refusals.note(name, 503, "busy", reason, headers, body, client, route.secrets)
    return Answer(503, {"error": reason}, {"Retry-After": "10"})


async def _read(route: Entry, headers: Headers, read: Read) -> bytes:
    length = headers.get("content-length", "")
    # int() refuses thousands of digits; no length that we take has nineteen.
    if length.isascii() and length.isdigit() and int(length[:19]) > route.max_body_bytes:
        raise TooLarge
    return await read(route.max_body_bytes)


def _authenticate(route: Entry, headers: Headers, body: bytes) -> tuple[str, str, Answer] | None:
    """Return why the request is refused: reason, explanation, answer; None when it is genuine."""
    if route.insecure:
        return None
    if not route.secrets:
        error = "Webhook route is missing an HMAC secret"
        return "missing_secret", error, Answer(403, {"error": error})
    verifier = route.verifier(headers)
    if verifier is None:
        found: Verified | Refused = unrecognised(headers)
    else:
        found = verifier.verify(headers, body, time.time())
    if isinstance(found, Verified):
        return None
    return found.reason, str(found.explanation), Answer(401, {"error": "Invalid signature"})


def _recognised(route: Entry, headers: Headers) -> Any:
    verifier = route.verifier(headers)
    return verifier.preset if verifier else None


async def _store(
    route: Entry,
    preset: Any,
    event: str,
    headers: Headers,
    body: bytes,
    payload: Any,
    client: str,
) -> Answer:
    foreign = delivery_id(preset, headers, payload)
    # Under an id of the sender's it only tells a repeat from another body; without one it is the
    # key, and must be worth it.
    digest = _checksum(body) if foreign else hashlib.sha256(body).digest()[:16]
    scope = f"{route.name}\0{preset.name if preset and foreign else ''}\0".encode()
    named = foreign.encode("utf-8", "surrogatepass") if foreign else b"\0" + digest
    try:
        accepted = _prepare(route, event, foreign or "", headers, body, payload)
    except RecursionError:
        return _refuse(
            400, "unparseable", "Cannot parse body", route.name, headers, client, body, route
        )
    accepted.key = hashlib.blake2b(scope + named, digest_size=16).digest()
    accepted.digest = digest
    shown = foreign or str(accepted.event.id)
    try:
        stored = await intake().store(accepted)
    except NotStored:
        return _unavailable()
    match stored:
        case Duplicate():
            return Answer(200, {"status": "duplicate", "delivery_id": shown})
        case Conflict():
            explanation = f"The id {shown} came within the hour with another body."
            refusals.note(
                route.name, 409, "id_conflict", explanation, headers, body, client, route.secrets
            )
            return Answer(409, {"error": "Delivery id was used with another body"})
        case Limited(wait):
            refusals.note(
                route.name, 429, "rate_limited", "Rate limit exceeded", headers, b"", client,
                route.secrets,
            )  # fmt: skip
            return Answer(429, {"error": "Rate limit exceeded"}, {"Retry-After": str(wait)})
    if accepted.delivery.claim is not None:
        return await _deliver(route, accepted, accepted.delivery.claim, shown)
    return Answer(
        202,
        {"status": "accepted", "route": route.name, "event": event, "delivery_id": shown},
    )


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(8, "big") + len(body).to_bytes(8, "big")


def _prepare(
    route: Entry, event: str, foreign: str, headers: Headers, body: bytes, payload: Any
) -> Accepted:
    """Render what is to be sent, and lay out the rows."""
    text = route.template.render(payload, event, route.name)
    target = render_target(route.deliver_extra, payload, event)
    new_event = NewEvent(
        source="route",
        type=event[:200],
        # What came as a form is kept as the JSON it was read as.
        body=body if body.lstrip()[:1] in (b"{", b"[") else json.dumps(payload).encode(),
        route=route.name,
        dedupe_key=foreign,
        headers={name: storable(headers[name][:255]) for name in KEPT_HEADERS & headers.keys()},
    )
    message = {"type": "text", "text": text}
    if route.deliver_only:
        delivery = NewDelivery(
            event=new_event,
            lane_id=route.channel_lane or 0,
            event_type=new_event.type,
            payload=message,
            target=target,
            claim=uuid4(),
            lease_until=timezone.now() + DIRECT_LEASE,
        )
        return Accepted(new_event, delivery, b"", b"", route.rate_limit)
    # One event, one conversation, as the reference does, and under one id.
    conversation_id = new_event.conversation_id = new_event.id
    sender = f"webhook:{route.name}"
    delivery = NewDelivery(
        event=new_event,
        lane_id=route.agent_lane or 0,
        event_type="message.new",
        payload=message,
        conversation_id=conversation_id,
        metadata={"sender_id": sender, **({"skills": route.skills} if route.skills else {})},
    )
    conversation = NewConversation(
        agent_id=route.agent_id,
        key=f"{sender}:{conversation_id}",
        channel_id=route.channel_id,
        target=target,
        sender_id=sender,
    )
    return Accepted(new_event, delivery, b"", b"", route.rate_limit, conversation)


# So many direct deliveries are sent side by side. One that had to wait for its turn would be
# answered too late, and its lease would run out meanwhile.
DIRECT_THREADS = 32
_direct = ThreadPoolExecutor(DIRECT_THREADS, thread_name_prefix="direct")
_sending = 0


@contextmanager
def _sending_slot() -> Iterator[bool]:
    global _sending
    if _sending >= DIRECT_THREADS:
        yield False
        return
    _sending += 1
    try:
        yield True
    finally:
        _sending -= 1


async def _deliver(route: Entry, accepted: Accepted, claim: UUID, shown: str) -> Answer:
    """Send a stored direct delivery while its sender waits; 200 or 502 (spec 001)."""
    try:
        send = sync_to_async(_send_direct, thread_sensitive=False, executor=_direct)
        outcome = await send(accepted, claim)
    except Error:
        logger.exception("delivery %s: its outcome could not be written", accepted.delivery.id)
        return _unavailable()
    if outcome.verdict == Verdict.DELIVERED:
        return Answer(
            200,
            {
                "status": "delivered",
                "route": route.name,
                "target": route.channel_kind,
                "delivery_id": shown,
            },
        )
    # Nothing of the platform's own words leaves the house.
    return Answer(502, {"status": "error", "error": "Delivery failed", "delivery_id": shown})


@reconnecting()
def _send_direct(accepted: Accepted, claim: UUID) -> Outcome:
    # The sender will post the id of a failure again, and that must be a second chance, not a
    # duplicate.
    give_back = partial(release_key, accepted.key, accepted.event.id)
    return send_direct(accepted.delivery.id, claim, on_failure=give_back)


def _refuse(
    status: int,
    reason: str,
    error: str,
    name: str,
    headers: Headers,
    client: str,
    body: bytes = b"",
    route: Entry | None = None,
) -> Answer:
    secrets = route.secrets if route else ()
    refusals.note(name, status, reason, error, headers, body, client, secrets)
    return Answer(status, {"error": error})


def _unavailable() -> Answer:
    """Return the answer for a database that is not to be had; senders repeat a 503."""
    return Answer(503, {"error": "Storage unavailable, nothing was kept"}, {"Retry-After": "5"})
