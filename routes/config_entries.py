"""One route as a file of a Hermes home describes it (spec 001, route properties)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ValidationError

from .env_file import references, resolved
from .models import Route
from .presets import AUTO, tells_secret
from .rules import CUSTOM, faults
from .targets import Target, fan_out_of
from .templating import storable

#: In place of a secret: take unsigned requests (spec 001; loopback only).
INSECURE_NO_AUTH = "INSECURE_NO_AUTH"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1", "ip6-localhost", "ip6-loopback"})

#: What hermes-agent knows and this gateway does not (facts/hermes-agent.md §8, §12), and why the
#: route does without.
UNSUPPORTED: Final[Mapping[str, str]] = {
    "toolsets": "an agent chooses its own tools",
    "cron_job": "the event goes to the agent as any other",
    "mirror_to_session": "what is delivered is in the ledger",
    "profile": "agent names who is to answer",
    "retry_on_script_failure": "there are no scripts",
}

# Read as they stand.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "enabled": True,
    "description": "",
    "preset": AUTO,
    "custom_scheme": {},
    "events": [],
    "prompt": "",
    "fence": True,
    "skills": [],
    "conversation_key": "",
    "coalesce": {},
    "deliver_only": False,
    "answer_at_once": False,
    "rate_limit": None,
    "max_body_bytes": None,
}
_USED: Final = frozenset({*_DEFAULTS, "secret", "filters", "deliver", "deliver_extra", "agent"})
# `created_at` is hermes-agent's own note; a script is refused before.
_SILENT: Final = frozenset({"created_at", "script"})
DEEPEST: Final = 50
_NAMES_OF_TYPES = {str: "text (put it in quotes)", bool: "true or false", dict: "a mapping"}


class BrokenEntry(ValueError):
    """The entry can't be a route; the text says why, and quotes no secret.

    ``check`` is the id of the system check that refuses a start over it; empty: none does.
    """

    check = ""


class EmptySecret(BrokenEntry):
    """The entry has a secret, and it is empty: no fallback to the global one (facts §4)."""

    check = "routes.E001"


class BadFilters(BrokenEntry):
    """Without its filters the route would wake the agent for what they were to hold back."""

    check = "routes.E006"


class ScriptedEntry(BrokenEntry):
    """The entry relies on a script that may veto; not even what it used to be may live on."""


@dataclass(frozen=True, slots=True)
class FileRoute:
    """One good entry.

    ``fields`` are those of its row, ``secret`` its own (None: the global one, or none), ``agent``
    a name (empty: the default agent). ``notes`` say what of the entry has no effect.
    """

    name: str
    fields: Mapping[str, Any]
    secret: str | None
    agent: str
    notes: tuple[str, ...]

    @property
    def tells_secret(self) -> bool:
        """Return whether its source tells the secret when it is set up."""
        return tells_secret(self.fields["preset"])


def read_entry(name: object, raw: object, variables: Mapping[str, str] | None = None) -> FileRoute:
    """Return the route an entry describes; raise BrokenEntry.

    ``variables`` are what ``${NAME}`` in a secret may refer to.
    """
    if not isinstance(name, str):
        raise BrokenEntry("its name must be text (put it in quotes)")
    if not isinstance(raw, dict):
        raise BrokenEntry("it must be a mapping of properties")
    if raw.get("script"):
        raise ScriptedEntry(
            "it has a script, which Hermes does not run; say the condition in filters "
            "and remove the script"
        )
    for key, value in raw.items():
        if key in _USED and not _is_storable(value, DEEPEST):
            raise BrokenEntry(f"{key} holds something that can't be stored as text or JSON")
    fields = {key: _value(key, raw.get(key), default) for key, default in _DEFAULTS.items()}
    if fields["custom_scheme"] and "preset" not in raw:
        fields["preset"] = CUSTOM
    fields["filters"] = _filters(raw.get("filters"))
    first, *more = _targets(raw)
    fields |= {"deliver": first.deliver, "deliver_extra": first.extra, "fan_out": fan_out_of(more)}
    secret = _secret(raw, variables or {})
    fields["insecure_no_auth"] = secret == INSECURE_NO_AUTH
    _validate(name, fields)
    return FileRoute(
        name=name,
        fields=fields,
        secret=None if fields["insecure_no_auth"] else secret,
        agent=_value("agent", raw.get("agent"), "").strip(),
        notes=tuple(_notes(raw)),
    )


def is_loopback(host: str) -> bool:
    """Return whether a gateway listening there can be reached from this machine only."""
    return host.strip().lower() in _LOOPBACK


def _value(key: str, value: object, default: Any) -> Any:
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


def _filters(value: object) -> object:
    if value is None:
        return []
    if not isinstance(value, dict | list):
        raise BadFilters("filters must be a mapping or a list of them")
    return value


def _targets(raw: Mapping[object, object]) -> list[Target]:
    """Return where an entry delivers to, the first first; ``deliver_extra`` is the first's."""
    extra = _value("deliver_extra", raw.get("deliver_extra"), {})
    value = raw.get("deliver")
    if not isinstance(value, list):
        return [Target(_value("deliver", value, "log"), extra)]
    if not value:
        raise BrokenEntry("deliver is an empty list; name a target, or remove the line")
    first, *more = [_target(f"deliver[{index}]", item) for index, item in enumerate(value)]
    return [Target(first.deliver, first.extra or extra), *more]


def _target(place: str, item: object) -> Target:
    if isinstance(item, str):
        return Target(item, {})
    if not isinstance(item, dict) or not isinstance(item.get("deliver"), str):
        raise BrokenEntry(f"{place} must be a name, or a mapping with deliver and deliver_extra")
    extra = _value(f"{place}.deliver_extra", item.get("deliver_extra"), {})
    return Target(item["deliver"], extra)


def _is_storable(value: object, depth: int) -> bool:
    """Return whether every database takes it: no NUL, half characters, NaN or endless numbers.

    YAML can hold itself, so there is an end to the ``depth``.
    """
    if depth < 0:
        return False
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
            return all(
                isinstance(key, str) and _is_storable(key, 0) and _is_storable(item, depth - 1)
                for key, item in value.items()
            )
        case list():
            return all(_is_storable(item, depth - 1) for item in value)
    # YAML also knows dates.
    return value is None


def _secret(raw: Mapping[object, object], variables: Mapping[str, str]) -> str | None:
    if "secret" not in raw:
        return None
    secret = raw["secret"]
    if secret is None or (isinstance(secret, str) and not secret.strip()):
        raise EmptySecret("its secret is empty; set one, or remove the line to use the global one")
    if not isinstance(secret, str):
        raise BrokenEntry("its secret must be text (put it in quotes)")
    # Left as it stands it would be a key that everyone can guess.
    if unset := sorted(name for name in references(secret) if not variables.get(name)):
        raise EmptySecret(f"its secret refers to {', '.join(unset)}, which is not set")
    return resolved(secret, variables)


def _validate(name: str, fields: Mapping[str, Any]) -> None:
    route = Route(name=name, **fields)
    try:
        route.clean_fields()
    except ValidationError as error:
        raise BrokenEntry(
            "; ".join(f"{key}: {' '.join(texts)}" for key, texts in error.message_dict.items())
        ) from None
    found = faults(route)
    if "filters" in found:
        raise BadFilters(found["filters"])
    if found:
        raise BrokenEntry("; ".join(found.values()))


def _notes(raw: Mapping[object, object]) -> list[str]:
    notes = [f"{key} is not supported: {why}" for key, why in UNSUPPORTED.items() if raw.get(key)]
    unknown = [str(key) for key in raw if key not in _USED | _SILENT | UNSUPPORTED.keys()]
    return notes + ([f"has no effect here: {', '.join(unknown)}"] if unknown else [])
