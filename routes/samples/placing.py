"""Where a payload says its event's name, written instead of read."""

from collections.abc import Mapping

from routes.paths import MISSING, parse_path, walk
from routes.presets import EventName, Preset, event_type

# For sources that say nothing of their own: where Hermes looks next (`routes.presets.reading`).
ANY_EVENT = (EventName(body="event_type"),)
# Where a source that is known by its body gets what makes a sample unlike the one before.
MARK = "sample"


def place_event(preset: Preset, payload: object, event: str) -> object:
    """Return the payload with this event's name, where its source says one in the body.

    A payload that has it already comes back as it is.
    """
    rules = [rule for rule in preset.event or ANY_EVENT if rule.keys or rule.body]
    if not rules or event_type(preset, {}, payload) == event:
        return payload
    there = (rule for rule in rules if rule.keys or _has(payload, rule.body))
    rule = next(there, rules[0])
    if rule.keys and isinstance(payload, dict):
        return {event if key in rule.keys else key: value for key, value in payload.items()}
    name, *joined = event.split(".", len(rule.joined))
    _put(payload, rule.body, _unspelled(rule.spellings, name))
    for path, part in zip(rule.joined, joined, strict=False):
        _put(payload, path, part)
    return payload


def mark(preset: Preset, payload: object, new: str) -> None:
    """Make a payload of a source without ids, which is known by its body, unlike any other."""
    first = payload[0] if isinstance(payload, list) and payload else payload
    if isinstance(first, dict) and not preset.id_headers and not preset.id_paths:
        first[MARK] = new


def _has(payload: object, path: str) -> bool:
    return walk(payload, parse_path(path)) is not MISSING


def _put(payload: object, path: str, value: object) -> None:
    *way, (key, _index) = parse_path(path)
    here = payload
    for step, index in way:
        if isinstance(here, dict):
            here = here.setdefault(step, {})
        elif isinstance(here, list) and index is not None and index < len(here):
            here = here[index]
    if isinstance(here, dict):
        here[key] = value


def _unspelled(spellings: Mapping[str, str], event: str) -> str | int:
    name = next((spelled for spelled, name in spellings.items() if name == event), event)
    return int(name) if name.isdecimal() and name != event else name
