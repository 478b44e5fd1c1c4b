"""From an accepted request to the rows that are to be written: event, deliveries, conversation."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from agents.services import conversation_id
from deliveries.record import NewDelivery, NewEvent

from .conversation_keys import bounded, conversation_key
from .inbound import Headers
from .intake import Accepted, NewConversation
from .presets import Preset, presets
from .table import Entry, Place, sender_of
from .templating import render_target, storable

# A direct delivery is tried while the sender waits; ten seconds and the time to write it down.
DIRECT_LEASE = timedelta(seconds=15)

# In the place of a body's digest: an id of a sender that rewrites its repeats is the same whatever
# came with it.
ANY_BODY = bytes(16)


def _kept_headers() -> frozenset[str]:
    """Return what of a request's headers is worth keeping with the event.

    Names, ids and types, and nothing that a source signs with or that carries a secret.
    """
    records = presets().values()
    said = {name for preset in records for name in preset.id_headers}
    said |= {rule.header for preset in records for rule in preset.event if rule.header}
    secret = {name for preset in records for name in (preset.header, *preset.other_headers)}
    always = {"content-type", "user-agent", "x-github-hook-id", "x-gitlab-instance"}
    return frozenset((said | always) - secret - {"authorization", "cookie"})


KEPT_HEADERS = _kept_headers()


def prepare(
    route: Entry, preset: Preset | None, event: str, foreign: str | None, headers: Headers,
    body: bytes, payload: Any,
) -> Accepted:  # fmt: skip
    """Render what is to be sent, and lay out the rows.

    ``foreign`` is the sender's id of the delivery. Raises RecursionError for a payload that is
    nested too deep to be rendered.
    """
    accepted = _laid_out(route, preset, event, foreign or "", headers, body, payload)
    accepted.digest = _digest(preset, foreign, body)
    scope = f"{route.name}\0{preset.name if preset and foreign else ''}\0".encode()
    named = foreign.encode("utf-8", "surrogatepass") if foreign else b"\0" + accepted.digest
    accepted.key = hashlib.blake2b(scope + named, digest_size=16).digest()
    return accepted


def _digest(preset: Preset | None, foreign: str | None, body: bytes) -> bytes:
    """Return 16 bytes that are the same for what counts as the same body."""
    if not foreign:
        # It is the key itself, and must be worth it.
        return hashlib.sha256(body).digest()[:16]
    if preset is not None and preset.rewrites_retries:
        return ANY_BODY
    return zlib.crc32(body).to_bytes(8, "big") + len(body).to_bytes(8, "big")


def _laid_out(
    route: Entry, preset: Preset | None, event: str, foreign: str, headers: Headers,
    body: bytes, payload: Any,
) -> Accepted:  # fmt: skip
    text = route.template.render(payload, event, route.name, route.fence_of(preset))
    new = NewEvent(
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
        deliveries = [_to_place(place, new, message, payload) for place in route.places]
        if route.direct:
            deliveries[0].claim = uuid4()
            deliveries[0].lease_until = timezone.now() + DIRECT_LEASE
        return Accepted(new, deliveries, b"", b"", route.rate_limit)
    conversation = _conversation(route, new, payload)
    new.conversation_id = conversation.id
    delivery = NewDelivery(
        event=new,
        lane_id=route.agent_lane or 0,
        event_type="message.new",
        payload=message,
        conversation_id=conversation.id,
        metadata=_metadata(conversation, route.skills),
        skipped=route.blocked,
    )
    accepted = Accepted(new, [delivery], b"", b"", route.rate_limit, conversation)
    if route.blocked:
        return accepted
    if route.coalesce is not None and (key := route.coalesce.key_of(route.name, payload, event)):
        accepted.holding = (key, route.coalesce)
    return accepted


def _to_place(
    place: Place, event: NewEvent, message: Mapping[str, Any], payload: Any
) -> NewDelivery:
    return NewDelivery(
        event=event,
        lane_id=place.lane,
        event_type=event.type,
        payload=message,
        target=render_target(place.extra, payload, event.type),
    )


def _conversation(route: Entry, event: NewEvent, payload: Any) -> NewConversation:
    sender = sender_of(route.name)
    key = None
    if route.conversation_key is not None:
        key = conversation_key(route.conversation_key, payload, event.type)
    first, *others = route.places or (None,)
    # An event of its own shares its id with its conversation, as in the reference; a key is told
    # from such an id by its mark.
    named = bounded(f"{sender}#{key}") if key else f"{sender}:{event.id}"
    return NewConversation(
        id=conversation_id(route.agent_id, named) if key else event.id,
        agent_id=route.agent_id,
        key=named,
        channel_id=first.channel_id if first else None,
        target=render_target(first.extra, payload, event.type) if first else {},
        sender_id=sender,
        fan_out=[
            {
                "channel_id": other.channel_id,
                "target": render_target(other.extra, payload, event.type),
            }
            for other in others
        ],
    )


def _metadata(conversation: NewConversation, skills: tuple[str, ...]) -> dict[str, Any]:
    said: dict[str, Any] = {"sender_id": conversation.sender_id}
    return said | {"skills": skills} if skills else said
