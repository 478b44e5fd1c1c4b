"""Prompt templates and templates of targets (spec 001, prompt templates).

``{a.b.0}`` takes a field of the payload, ``{__raw__}`` all of it, ``{event_type}`` the name of
the event. What is put in is never read as a template again.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from .paths import MISSING, Path, parse_path, walk
from .rendering import as_text, dump

# Characters (spec 001, prompt templates).
RAW_LIMIT = 4000
VALUE_LIMIT = 2000

RAW = "__raw__"
EVENT_TYPE = "event_type"

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z0-9_.]+)\}")

# Before each placeholder comes a text; the last text has none.
_Part = tuple[str, str, Path | None]


class Template:
    """A template taken apart once, to be rendered often."""

    __slots__ = ("_parts", "_tail", "placeholders")

    def __init__(self, literals: list[str], names: list[str]) -> None:
        """Take the texts and the names of the placeholders between them, one fewer."""
        self.placeholders = tuple(names)
        self._tail = literals[-1]
        self._parts: tuple[_Part, ...] = tuple(
            (literal, name, None if name in (RAW, EVENT_TYPE) else parse_path(name))
            for literal, name in zip(literals, names, strict=False)
        )

    def render(self, payload: object, event_type: str, route: str = "") -> str:
        """Return the text; what the payload lacks stays as ``{name}``.

        The empty template stands for the whole payload, with a word on where it came from; a
        single space is not empty.
        """
        if not self._parts and not self._tail:
            dumped = dump(payload, RAW_LIMIT)
            return storable(
                f"Webhook event '{event_type}' on route '{route}':\n\n```json\n{dumped}\n```"
            )
        return self._filled(payload, event_type)[0]

    def resolve(self, payload: object, event_type: str) -> str | None:
        """Return the text, or None where the payload lacks something that is named."""
        text, whole = self._filled(payload, event_type)
        return text if whole else None

    def _filled(self, payload: object, event_type: str) -> tuple[str, bool]:
        whole = True
        out: list[str] = []
        for literal, name, path in self._parts:
            out.append(literal)
            if path is None:
                out.append(event_type if name == EVENT_TYPE else dump(payload, RAW_LIMIT))
                continue
            value = walk(payload, path)
            if isinstance(value, str):
                out.append(value)
            elif value is MISSING:
                whole = False
                out.append(f"{{{name}}}")
            else:
                out.append(as_text(value, VALUE_LIMIT))
        out.append(self._tail)
        return storable("".join(out)), whole


def compile_template(text: str) -> Template:
    """Return the template; anything but ``{`` letters, digits, ``_``, ``.`` ``}`` is itself."""
    pieces = _PLACEHOLDER.split(text)
    return Template(pieces[::2], pieces[1::2])


def render_target(extra: Mapping[str, Any], payload: object, event_type: str) -> dict[str, Any]:
    """Return where to deliver to, with the texts of ``extra`` rendered and the rest as it is.

    A value that is empty, or names what the payload lacks, is left out: the home of the channel
    then takes its place, and never a chat that is called ``{chat_id}``.
    """
    target: dict[str, Any] = {}
    for key, value in extra.items():
        if isinstance(value, str):
            text = _cached(value).resolve(payload, event_type)
            if text is not None and text.strip():
                target[key] = text
        elif value is not None:
            target[key] = value
    return target


_cached = lru_cache(maxsize=1024)(compile_template)


def storable(text: str) -> str:
    """Return the text without what no database or JSON text takes: NUL, lone surrogates."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
