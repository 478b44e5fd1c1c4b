"""Prompt templates and templates of targets (spec 001, prompt templates).

``{a.b.0}`` takes a field of the payload, ``{__raw__}`` all of it, ``{event_type}`` the name of
the event. What is put in is never read as a template again.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from .fencing import OPEN, Fence, between, fenced, harmless, harmless_json
from .paths import MISSING, Path, parse_path, walk
from .rendering import as_text, dump

# Characters (spec 001, prompt templates).
RAW_LIMIT = 4000
VALUE_LIMIT = 2000

RAW = "__raw__"
EVENT_TYPE = "event_type"

#: A placeholder; anything else in braces is itself.
PLACEHOLDER: Final = re.compile(r"\{([A-Za-z0-9_.]+)\}")

# The text before a placeholder, its name, and its path; None for those that are none.
Part = tuple[str, str, Path | None]


class Template:
    """A template taken apart once, to be rendered often."""

    __slots__ = ("has_own_fence", "parts", "placeholders", "tail")

    def __init__(self, literals: list[str], names: list[str]) -> None:
        """Take the texts and the names of the placeholders between them, one fewer."""
        self.placeholders = tuple(names)
        self.tail = literals[-1]
        self.parts: tuple[Part, ...] = tuple(
            (literal, name, None if name in (RAW, EVENT_TYPE) else parse_path(name))
            for literal, name in zip(literals, names, strict=False)
        )
        self.has_own_fence = any(OPEN in literal for literal in literals)

    def render(
        self, payload: object, event_type: str, route: str = "", fence: Fence | None = None
    ) -> str:
        """Return the text; what the payload lacks stays as ``{name}``.

        The empty template stands for the whole payload, with a word on where it came from; a
        single space is not empty. With a ``fence``, what the payload puts in is told apart from
        the template's own words (see `fencing`).
        """
        if not self.parts and not self.tail:
            return storable(_default(payload, event_type, route, fence))
        if fence is None:
            return self._filled(payload, event_type)[0]
        text = self._fenced(payload, event_type)
        if OPEN in text and not self.has_own_fence:
            text = f"{fence.notice(event_type, route)}\n\n{text}"
        return storable(text)

    def resolve(self, payload: object, event_type: str) -> str | None:
        """Return the text, or None where the payload lacks something that is named."""
        text, whole = self._filled(payload, event_type)
        return text if whole else None

    def _filled(self, payload: object, event_type: str) -> tuple[str, bool]:
        whole = True
        out: list[str] = []
        for literal, name, path in self.parts:
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
        out.append(self.tail)
        return storable("".join(out)), whole

    def _fenced(self, payload: object, event_type: str) -> str:
        # A template that sets the marks itself gets the values without; they can't close its
        # fence either.
        mark = str if self.has_own_fence else between
        out: list[str] = []
        for literal, name, path in self.parts:
            out.append(literal)
            if path is None:
                value, limit = (event_type if name == EVENT_TYPE else payload), RAW_LIMIT
            else:
                value, limit = walk(payload, path), VALUE_LIMIT
            if isinstance(value, str) and name != RAW:
                out.append(mark(harmless(value)))
            elif value is MISSING:
                out.append(f"{{{name}}}")
            elif isinstance(value, dict | list) or name == RAW:
                out.append(mark(harmless_json(value, limit)))
            else:
                out.append(as_text(value, limit))
        out.append(self.tail)
        return "".join(out)


def _default(payload: object, event_type: str, route: str, fence: Fence | None) -> str:
    if fence is None:
        dumped = dump(payload, RAW_LIMIT)
        return f"Webhook event '{event_type}' on route '{route}':\n\n```json\n{dumped}\n```"
    dumped = between(harmless_json(payload, RAW_LIMIT))
    return (
        f"{fence.notice(event_type, route)}\n\n"
        f"Webhook event {fenced(event_type)} on route '{route}':\n\n{dumped}"
    )


def compile_template(text: str) -> Template:
    """Return the template; anything but ``{`` letters, digits, ``_``, ``.`` ``}`` is itself."""
    pieces = PLACEHOLDER.split(text)
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
