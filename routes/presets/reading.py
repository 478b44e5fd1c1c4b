"""What a request says of itself: the event's name, the sender's id of the delivery."""

import hashlib
from collections.abc import Mapping

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
    if preset.id_path:
        found = walk(payload, parse_path(preset.id_path))
        if found is not MISSING and isinstance(found, str | int) and found != "":
            return _bounded(str(found))
    for header in ANY_ID:
        if value := headers.get(header):
            return _bounded(value)
    return None


def _name(rule: EventName, headers: Mapping[str, str], payload: object) -> str:
    header = ""
    if rule.header:
        header = headers.get(rule.header, "")
        if not header:
            return ""
    if rule.body and isinstance(payload, dict):
        name = payload.get(rule.body)
        if isinstance(name, str) and name:
            return name
    return rule.spellings.get(header, header)


def _presentable(name: str) -> str:
    # Lone surrogates and NUL can't be stored, line breaks would forge lines of the log.
    if not name.isprintable():
        name = "".join(c if c.isprintable() else "\ufffd" for c in name[:MAX_EVENT_CHARACTERS])
    return name[:MAX_EVENT_CHARACTERS]


def _bounded(value: str) -> str:
    if len(value) <= MAX_ID_CHARACTERS and value.isprintable():
        return value
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
