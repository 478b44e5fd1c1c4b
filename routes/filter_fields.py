"""What a condition of a filter looks at: a field of the body, the event's name, a header."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .paths import MISSING, parse_path, walk
from .rendering import dump

# Of a value that is shown to a person; characters.
SHOWN: Final = 80


class Subject(NamedTuple):
    """What is judged: the body as data, the event's name, headers with lower-case names."""

    payload: object
    event: str
    headers: Mapping[str, str]


class Fault(ValueError):
    """A part of a condition can't be used; ``reason`` says why."""

    def __init__(self, reason: str | Promise) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Field:
    """A place to look at. ``find`` returns what is there, or MISSING, and raises nothing."""

    name: str
    find: Callable[[Subject], object]
    # The value of a header may be a credential.
    is_header: bool = False

    def shown(self, subject: Subject) -> str:
        """Return what is there, in a few words."""
        value = self.find(subject)
        if value is MISSING:
            return str(_("it is missing"))
        if self.is_header:
            return str(_("it is there"))
        match value:
            case dict():
                return str(_("it is an object"))
            case list():
                return _("it is a list of %(count)s") % {"count": len(value)}
        return _("it is %(value)s") % {"value": dump(value, SHOWN)}

    def __str__(self) -> str:
        return self.name


def field(text: object) -> Field:
    """Return the field of a dotted name; raise Fault.

    ``event`` and ``event_type`` alone are the event's name, ``headers.<name>`` is a header in any
    case. ``payload`` is the body, or what the body has under that name. All else is a path into
    the body, list items by position. Dots with nothing between count as one.
    """
    if not isinstance(text, str):
        raise Fault(_("must be there, as text: action, or issue.labels.0.name"))
    parts = [part for part in text.strip().split(".") if part]
    match parts:
        case []:
            raise Fault(_("is empty"))
        case ["event" | "event_type"]:
            return Field(text, lambda subject: subject.event)
        case ["headers"]:
            raise Fault(_("names no header; write headers.x-github-event"))
        case ["headers", *names]:
            name = ".".join(names).lower()
            return Field(text, lambda subject: subject.headers.get(name, MISSING), is_header=True)
        case ["payload"]:
            return Field(text, lambda subject: _payload(subject.payload))
        case ["payload", *rest]:
            path = parse_path(".".join(rest))
            return Field(text, lambda subject: walk(_payload(subject.payload), path))
    path = parse_path(".".join(parts))
    return Field(text, lambda subject: walk(subject.payload, path))


def _payload(body: object) -> object:
    return body["payload"] if isinstance(body, dict) and "payload" in body else body
