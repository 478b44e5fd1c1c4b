"""One route as config.yaml describes it (spec 001, route properties), read and checked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from .models import Route
from .presets import AUTO
from .templating import storable

#: In place of a secret: take unsigned requests (spec 001; loopback only).
INSECURE_NO_AUTH = "INSECURE_NO_AUTH"

_DEFAULTS: Mapping[str, Any] = {
    "enabled": True,
    "description": "",
    "preset": AUTO,
    "events": [],
    "prompt": "",
    "skills": [],
    "deliver": "log",
    "deliver_extra": {},
    "deliver_only": False,
    "rate_limit": None,
    "max_body_bytes": None,
}
_NAMES_OF_TYPES = {str: "text (put it in quotes)", bool: "true or false", dict: "a mapping"}


class BrokenEntry(ValueError):
    """The entry can't be a route; the text says why, and quotes no secret."""


class EmptySecret(BrokenEntry):
    """The entry has a secret, and it is empty: no fallback to the global one (facts §4)."""


@dataclass(frozen=True, slots=True)
class FileRoute:
    """One good entry: the fields of its row, and its secret (None: the global one, or none)."""

    name: str
    fields: Mapping[str, Any]
    secret: str | None
    unknown_keys: tuple[str, ...]


def read_entry(name: object, raw: object) -> FileRoute:
    """Return the route an entry of config.yaml describes; raise BrokenEntry."""
    if not isinstance(name, str):
        raise BrokenEntry("its name must be text (put it in quotes)")
    if not isinstance(raw, dict):
        raise BrokenEntry("it must be a mapping of properties")
    for key, value in raw.items():
        if not _is_storable(value):
            raise BrokenEntry(f"{key} holds something that can't be stored as text or JSON")
    fields = {key: _value(key, raw.get(key), default) for key, default in _DEFAULTS.items()}
    secret = _secret(raw)
    fields["insecure_no_auth"] = secret == INSECURE_NO_AUTH
    _validate(name, fields)
    known = {*_DEFAULTS, "secret"}
    return FileRoute(
        name=name,
        fields=fields,
        secret=None if fields["insecure_no_auth"] else secret,
        unknown_keys=tuple(str(key) for key in raw if key not in known),
    )


def _value(key: str, value: object, default: object) -> object:
    if value is None:
        return default
    match default:
        case bool() | str() | dict():
            if not isinstance(value, type(default)):
                raise BrokenEntry(f"{key} must be {_NAMES_OF_TYPES[type(default)]}")
            return value
        case list():
            # One event without the brackets is one event.
            items = [value] if isinstance(value, str) else value
            if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
                raise BrokenEntry(f"{key} must be a list of texts (put them in quotes)")
            return items
        case _:
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise BrokenEntry(f"{key} must be a whole number")
            return value


def _is_storable(value: object) -> bool:
    """Return whether every database takes it: no NUL, half characters, NaN or endless numbers."""
    match value:
        case str():
            return storable(value) == value
        case bool():
            return True
        case int():
            return -(2**63) <= value < 2**63
        case float():
            return math.isfinite(value)
        case dict():
            return all(_is_storable(key) and _is_storable(item) for key, item in value.items())
        case list():
            return all(map(_is_storable, value))
    return True


def _secret(raw: Mapping[object, object]) -> str | None:
    if "secret" not in raw:
        return None
    secret = raw["secret"]
    if secret is None or (isinstance(secret, str) and not secret.strip()):
        raise EmptySecret("its secret is empty; set one, or remove the line to use the global one")
    if not isinstance(secret, str):
        raise BrokenEntry("its secret must be text (put it in quotes)")
    return secret


def _validate(name: str, fields: Mapping[str, Any]) -> None:
    try:
        Route(name=name, **fields).clean_fields()
    except ValidationError as error:
        faults = (f"{key}: {' '.join(texts)}" for key, texts in error.message_dict.items())
        raise BrokenEntry("; ".join(faults)) from None
