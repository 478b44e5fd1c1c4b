"""What a request says of itself: the event's name, the sender's id of the delivery."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache

from routes.paths import MISSING, parse_path, walk

from .code_hosts import GITHUB_EVENT, GITLAB_EVENT
from .record import EventName, Preset

UNKNOWN_EVENT = "unknown"

# As wide as the columns of the ledger.
MAX_EVENT_CHARACTERS = 200
MAX_ID_CHARACTERS = 255

# Where any sender may name its event, after the places of its own preset.
ANY_EVENT = (GITHUB_EVENT, GITLAB_EVENT, EventName(body="event_type"), EventName(body="type"))

# Ids that belong to no family of signatures.
ANY_ID = ("webhook-id", "x-request-id")
# Where nothing was verified there is no family to mistake, and every id is as good.
UNVERIFIED_IDS = ("x-github-delivery", "idempotency-key", "x-gitlab-event-uuid", *ANY_ID)

# The paths of the records, a few dozen, are taken apart once.
_path = lru_cache(maxsize=512)(parse_path)


def event_type(preset: Preset | None, headers: Mapping[str, str], payload: object) -> str:
    """Return the name of the event, "unknown" where the request has none; 200 characters at most.

    Empty headers and whatever in the body is not text count as absent.
    """
    if preset is not None:
        for rule in preset.event:
            if name := _name(rule, headers, payload):
                return _presentable(name)
    for rule in ANY_EVENT:
        if name := _name(rule, headers, payload):
            return _presentable(name)
    return UNKNOWN_EVENT


def delivery_id(preset: Preset | None, headers: Mapping[str, str], payload: object) -> str | None:
    """Return the sender's id of this delivery, of the verified family only; None without one.

    One that is too long or unprintable comes back as its hash, the same for the same id.
    """
    for header in UNVERIFIED_IDS if preset is None else preset.id_headers:
        if value := headers.get(header):
            return _bounded(value)
    if preset is None:
        return None
    if value := text_at(payload, preset.id_paths):
        return _bounded(value)
    for header in ANY_ID:
        if value := headers.get(header):
            return _bounded(value)
    return None


def text_at(payload: object, paths: tuple[str, ...]) -> str:
    """Return the first text or whole number at one of the dotted paths; "" where there is none."""
    for path in paths:
        found = walk(payload, _path(path))
        if isinstance(found, str) and found:
            return found
        if isinstance(found, int) and not isinstance(found, bool):
            return _digits(found)
    return ""


def _digits(number: int) -> str:
    # Python refuses to write out numbers of thousands of digits; these have no business here.
    return str(number) if number.bit_length() < 1024 else ""


def _name(rule: EventName, headers: Mapping[str, str], payload: object) -> str:
    name = ""
    if rule.header:
        name = headers.get(rule.header, "")
        if not name:
            return ""
    if rule.body:
        name = _named_at(payload, rule.body, rule.spellings) or name
    elif rule.keys and isinstance(payload, dict):
        name = next((key for key in rule.keys if key in payload), name)
    if not name:
        return ""
    name = rule.spellings.get(name, name)
    for path in rule.joined:
        found = walk(payload, _path(path))
        if isinstance(found, str) and found:
            name = f"{name}.{found}"
    return name


def _named_at(payload: object, path: str, spellings: Mapping[str, str]) -> str:
    found = walk(payload, _path(path))
    if found is MISSING:
        return ""
    if isinstance(found, str):
        return found
    # A number names an event only where the record says which.
    if isinstance(found, int) and not isinstance(found, bool):
        digits = _digits(found)
        return digits if digits in spellings else ""
    return ""


def _presentable(name: str) -> str:
    # Lone surrogates and NUL can't be stored, line breaks would forge lines of the log.
    if not name.isprintable():
        name = "".join(c if c.isprintable() else "\ufffd" for c in name[:MAX_EVENT_CHARACTERS])
    return name[:MAX_EVENT_CHARACTERS]


def _bounded(value: str) -> str:
    if len(value) <= MAX_ID_CHARACTERS and value.isprintable():
        return value
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
