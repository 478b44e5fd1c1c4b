"""Receiving: from a request to a durable event, and the honest answer (spec 001)."""

import logging
import time
from typing import Any

from django.conf import settings
from django.db import Error

from deliveries.outcomes import Verdict

from . import direct, refusals
from .accepting import prepare
from .greeting import greeted
from .inbound import Answer, Headers, Inbound, Read, ReadFailed, TooLarge
from .intake import Conflict, Duplicate, Limited, NotStored, intake
from .matching import matches
from .parsing import TooLong, Unparseable, inflate, parse_body
from .presets import CUSTOM, Preset
from .signatures import POSTED, Address, Refused, Verified, delivery_id, event_type, unrecognised
from .table import Entry, current

logger = logging.getLogger(__name__)


async def handle(request: Inbound) -> Answer:
    """Take one request to ``/webhooks/<name>`` through every check and store it.

    The order is that of facts/hermes-agent.md §2: route, enabled, method, size, body, signature,
    parse, event, filters, then duplicate, limit and storage in one transaction. Refusals are
    written down.
    """
    answer = await _handle(request)
    if answer.status >= 400:
        await refusals.flush_when_due()
    return answer


async def _handle(request: Inbound) -> Answer:
    try:
        table = await current()
    except Exception:
        logger.exception("the routes cannot be read")
        return _unavailable()
    if not table.effective.enabled:
        return Answer(404, {"error": "Webhooks are switched off: set WEBHOOK_ENABLED=true"})
    route = table.entries.get(request.name)
    if route is None:
        # Half characters can't be said in JSON.
        shown = request.name.encode("utf-8", "replace").decode()
        return _refuse(request, None, 404, "unknown_route", f"Unknown route: {shown}")
    if not route.enabled:
        return _refuse(request, route, 403, "disabled_route", f"Route disabled: {route.name}")
    if request.method != "POST":
        return await _greet(request, route, None) or NOT_ALLOWED
    try:
        body = await _read(route, request.headers, request.read)
    except (TooLarge, TooLong):
        return _refuse(request, route, 413, "too_large", "Payload too large")
    except Unparseable as error:
        return _refuse(request, route, 415, "encoding", "Cannot decode body", str(error))
    except ReadFailed:
        return _refuse(request, route, 400, "bad_request", "Bad request")
    if answer := await _greet(request, route, None, body):
        return answer
    found = _authenticate(route, request, body)
    if isinstance(found, Refused):
        return _refuse_stranger(request, route, found, body)
    if found is not None:
        if answer := await _greet(request, route, found, body):
            return answer
        body = body if found.body is None else found.body
    return await _take(request, route, found.preset if found else None, body)


async def _take(request: Inbound, route: Entry, preset: Preset | None, body: bytes) -> Answer:
    """Answer a genuine request: does the route want it, where does it go, is it new?"""
    xml = preset is not None and preset.xml
    try:
        payload = parse_body(body, request.headers.get("content-type", ""), xml=xml)
    except Unparseable:
        return _refuse(request, route, 400, "unparseable", "Cannot parse body", body=body)
    event = event_type(preset, request.headers, payload)
    greeting = preset is not None and event in preset.greetings and event not in route.events
    if greeting or not matches(route.events, event, request.headers, payload):
        return Answer(200, {"status": "ignored", "event": event})
    if not route.filters.match(payload, event, request.headers):
        return Answer(200, {"status": "ignored", "reason": "filter", "route": route.name})
    if (not route.places) if route.deliver_only else route.agent_lane is None:
        where = f"the channel “{route.deliver}”" if route.deliver_only else "an agent"
        reason = f"Route {route.name} has no place to deliver to: {where} does not exist."
        return _refuse(
            request, route, 503, "no_destination", "Route has no destination", reason, body,
            wait=60,
        )  # fmt: skip
    if not route.direct:
        return await _store(request, route, preset, event, body, payload)
    with direct.sending_slot() as free:
        if free:
            return await _store(request, route, preset, event, body, payload)
    reason = "Too many direct deliveries are under way."
    return _refuse(request, route, 503, "busy", reason, reason, body, wait=10)


async def _read(route: Entry, headers: Headers, read: Read) -> bytes:
    length = headers.get("content-length", "")
    # int() refuses thousands of digits; no length that we take has nineteen.
    if length.isascii() and length.isdigit() and int(length[:19]) > route.max_body_bytes:
        raise TooLarge
    body = await read(route.max_body_bytes)
    # What is signed is the body before it was compressed, as in the reference (facts §4).
    encoding = headers.get("content-encoding")
    return inflate(body, encoding, route.max_body_bytes) if encoding else body


async def _greet(
    request: Inbound, route: Entry, verified: Verified | None, body: bytes = b""
) -> Answer | None:
    """Answer what only sets the route up at its source; None for anything else."""
    preset = verified.preset if verified else route.preset
    if preset is not None and preset.handshake is None:
        return None
    found = await greeted(request, route, verified, body)
    if not isinstance(found, Refused):
        return found
    if found.reason == "rate_limited":
        error = "Rate limit exceeded"
        return _refuse(request, route, 429, found.reason, error, found.explanation, wait=60)
    # What it says is a secret, or a word to be compared with one.
    return _refuse_stranger(request, route, found, b"")


def _refuse_stranger(request: Inbound, route: Entry, found: Refused, body: bytes) -> Answer:
    if found.reason == "missing_secret":
        return _refuse(request, route, 403, found.reason, found.explanation)
    if route.preset is not None and route.preset.secret_in_body:
        body = b""
    error = "Invalid signature"
    return _refuse(request, route, 401, found.reason, error, found.explanation, body)


def _authenticate(route: Entry, request: Inbound, body: bytes) -> Verified | Refused | None:
    """Return who sent it, or why it is refused.

    None where the route takes unsigned requests and this one looks like nobody's.
    """
    if route.insecure:
        preset = route.recognised(request.headers)
        return Verified(preset) if preset else None
    if not route.secrets:
        return Refused("missing_secret", "Webhook route is missing an HMAC secret")
    verifier = route.verifier(request.headers)
    if verifier is None:
        return unrecognised(request.headers)
    at = POSTED
    if request.query or verifier.preset.signs_address:
        at = _address(request)
    return verifier.verify(request.headers, body, time.time(), at)


def _address(request: Inbound) -> Address:
    query = f"?{request.query}" if request.query else ""
    url = f"{settings.PUBLIC_URL}/webhooks/{request.name}{query}"
    return Address(request.method, url, request.query)


async def _store(
    request: Inbound, route: Entry, preset: Preset | None, event: str, body: bytes, payload: Any
) -> Answer:
    foreign = delivery_id(preset, request.headers, payload)
    try:
        accepted = prepare(route, preset, event, foreign, request.headers, body, payload)
    except RecursionError:
        return _refuse(request, route, 400, "unparseable", "Cannot parse body", body=body)
    shown = foreign or str(accepted.event.id)
    try:
        stored = await intake().store(accepted)
    except NotStored:
        return _unavailable()
    match stored:
        case Duplicate():
            return Answer(200, {"status": "duplicate", "delivery_id": shown})
        case Conflict():
            error = "Delivery id was used with another body"
            reason = f"The id {shown} came within the hour with another body."
            return _refuse(request, route, 409, "id_conflict", error, reason, body)
        case Limited(wait):
            return _refuse(request, route, 429, "rate_limited", "Rate limit exceeded", wait=wait)
    if route.direct:
        return await _deliver(route, accepted, shown)
    return Answer(
        202,
        {"status": "accepted", "route": route.name, "event": event, "delivery_id": shown},
    )


async def _deliver(route: Entry, accepted: Any, shown: str) -> Answer:
    """Send a stored direct delivery while its sender waits; 200 or 502 (spec 001)."""
    try:
        outcome = await direct.deliver(accepted, accepted.deliveries[0].claim)
    except Error:
        logger.exception("delivery %s: its outcome could not be written", accepted.deliveries[0].id)
        return _unavailable()
    if outcome.verdict == Verdict.DELIVERED:
        return Answer(
            200,
            {
                "status": "delivered",
                "route": route.name,
                "target": route.places[0].kind,
                "delivery_id": shown,
            },
        )
    # Nothing of the platform's own words leaves the house.
    return Answer(502, {"status": "error", "error": "Delivery failed", "delivery_id": shown})


NOT_ALLOWED = Answer(405, b"", {"Allow": "POST"}, "text/plain")


def _refuse(
    request: Inbound,
    route: Entry | None,
    status: int,
    reason: str,
    error: str,
    explanation: str = "",
    body: bytes = b"",
    wait: int = 0,
) -> Answer:
    """Note a refusal and return its answer; ``explanation`` is for the operator alone."""
    refusals.note(
        request.name,
        status,
        reason,
        explanation or error,
        request.headers,
        body,
        request.client,
        route.secrets if route else (),
        _credentials(route),
    )
    return Answer(status, {"error": error}, {"Retry-After": str(wait)} if wait else {})


def _credentials(route: Entry | None) -> tuple[str, ...]:
    """Return the headers in which a scheme of the operator's own carries a signature or secret."""
    preset = route.preset if route else None
    if preset is None or preset.name != CUSTOM:
        return ()
    return (preset.header, *preset.other_headers)


def _unavailable() -> Answer:
    """Return the answer for a database that is not to be had; senders repeat a 503."""
    return Answer(503, {"error": "Storage unavailable, nothing was kept"}, {"Retry-After": "5"})
