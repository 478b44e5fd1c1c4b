"""JSON that is valid however little room there is: what does not fit is left out and said so."""

import math
from collections.abc import Callable
from itertools import islice
from json.encoder import encode_basestring as quoted
from typing import Final, NamedTuple

from .rendering import CUT

Escape = Callable[[str], str]

# The one control character that JSON does not escape.
DELETE: Final = "\x7f"


class _Caps(NamedTuple):
    """What a value may have at most."""

    characters: int  # of a text, of a key, of a number
    items: int  # of a list, of an object
    depth: int  # objects and lists inside one another


_WHOLE: Final = _Caps(10**9, 10**9, 10**9)

# From mild to harsh: long texts are shortened first, then lists, then what lies deep. The last
# fits into any limit that is used: two keys and two texts of twenty characters.
_STEPS: Final = (
    _Caps(1000, 100, 16),
    _Caps(400, 50, 7),
    _Caps(200, 30, 5),
    _Caps(140, 30, 3),
    _Caps(100, 20, 3),
    _Caps(100, 20, 2),
    _Caps(60, 12, 2),
    _Caps(60, 12, 1),
    _Caps(20, 2, 1),
)


def dump_whole(value: object, limit: int, escape: Escape) -> str:
    """Return the value as indented JSON of at most ``limit`` characters.

    What is too long comes as ``{"truncated": true, "value": …}``: its long texts end in "…", and
    where items were left out stands how many. Below 1200 characters there may be no room for that,
    and it is null; so are numbers that JSON has no word for. ``escape`` writes what JSON text is
    not to hold as it is. The time this takes depends on the limit, not on the value.
    """
    text = _attempt(value, limit, escape, _WHOLE)
    return text if text is not None else _pruned(value, limit, escape)


def _pruned(value: object, limit: int, escape: Escape) -> str:
    # The first step that fits, by halves: each attempt costs as much as what is kept.
    low, high = 0, len(_STEPS) - 1
    best = ""
    while low < high:
        middle = (low + high) // 2
        text = _attempt(value, limit, escape, _STEPS[middle], wrapped=True)
        if text is None:
            low = middle + 1
        else:
            best, high = text, middle
    return best or _attempt(value, limit, escape, _STEPS[low], wrapped=True) or "null"


def _attempt(
    value: object, limit: int, escape: Escape, caps: _Caps, *, wrapped: bool = False
) -> str | None:
    writer = _Writer(limit, escape, caps)
    try:
        if wrapped:
            writer.put('{\n  "truncated": true,\n  "value": ')
            writer.write(value, "\n  ", 0)
            writer.put("\n}")
        else:
            writer.write(value, "\n", 0)
    except _Full:
        return None
    return writer.text


class _Full(Exception):
    """There is no more room."""


class _Writer:
    """Writes within a number of characters, and stops at the first that is too many.

    Each level is indented and written from the outside in, so the room ends long before the stack
    does.
    """

    __slots__ = ("_caps", "_escape", "_parts", "_room")

    def __init__(self, room: int, escape: Escape, caps: _Caps) -> None:
        self._room = room
        self._escape = escape
        self._caps = caps
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def put(self, text: str) -> None:
        if not text.isascii() or DELETE in text:
            text = self._escape(text)
        self._room -= len(text)
        if self._room < 0:
            raise _Full
        self._parts.append(text)

    def write(self, value: object, line: str, depth: int) -> None:
        """Write a value; ``line`` is a line break and the indent of this level."""
        if isinstance(value, str):
            self.put(self._short(value))
        elif isinstance(value, dict):
            self._object(value, line, depth)
        elif isinstance(value, list):
            self._list(value, line, depth)
        else:
            self.put(self._scalar(value))

    def _object(self, value: dict[str, object], line: str, depth: int) -> None:
        if not value or depth >= self._caps.depth:
            self.put(f'"{{{CUT}}}"' if value else "{}")
            return
        inner = line + "  "
        lead = "{" + inner
        left = self._caps.items
        for key, item in value.items():
            if not left:
                self.put(f'{lead}"{CUT}": "{len(value) - self._caps.items} more"')
                break
            left -= 1
            text = f"{lead}{self._short(key)}: "
            if isinstance(item, str):  # most are; this spares a third of the time
                self.put(text + self._short(item))
            else:
                self.put(text)
                self.write(item, inner, depth + 1)
            lead = "," + inner
        self.put(line + "}")

    def _list(self, value: list[object], line: str, depth: int) -> None:
        if not value or depth >= self._caps.depth:
            self.put(f'"[{CUT}]"' if value else "[]")
            return
        inner = line + "  "
        lead = "[" + inner
        for item in islice(value, self._caps.items):
            self.put(lead)
            self.write(item, inner, depth + 1)
            lead = "," + inner
        if len(value) > self._caps.items:
            self.put(f'{lead}"{CUT} {len(value) - self._caps.items} more"')
        self.put(line + "]")

    def _short(self, text: str) -> str:
        if len(text) > self._caps.characters:
            return quoted(text[: self._caps.characters] + CUT)
        # No more is quoted than there is room for.
        return quoted(text[: self._room + 1])

    def _scalar(self, value: object) -> str:
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        text = str(value)
        return text if len(text) <= max(self._caps.characters, 25) else self._short(text)
