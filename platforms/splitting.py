"""Cutting a long text into messages that a platform takes (facts/channels.md §0.4)."""

import re
import unicodedata
from enum import Enum

from django.utils.translation import gettext as _

MAX_PARTS = 10  # more would be noise, and run into every platform's rate limit
# Room kept free in each part: for "\n(10/10)", and for closing a fence, "\n" and eight marks.
NUMBER_ROOM = 8
CLOSING_ROOM = 9

# The opening or closing line of a fenced block. A longer one is text, else reopening it in
# each part could leave no room for anything else.
FENCE = re.compile(r"^ {0,3}(`{3,8}|~{3,8})[ \t]*([^`\n]{0,60})$", re.MULTILINE)

# Where to cut, best first: after a blank line, a line, a sentence, a word.
BOUNDARIES = (
    re.compile(r"\n[ \t]*\n"),
    re.compile(r"\n"),
    re.compile(r"[.!?…]['\")\]]*[ \t]|[。！？；]['”’」）]*"),
    re.compile(r"[ \t]"),
)
JOINER = "\u200d"  # holds emoji together


class Unit(Enum):
    """What a platform counts when it limits the length of a message."""

    CODE_POINTS = "code points"
    UTF16 = "UTF-16 units"
    BYTES = "bytes"

    def size(self, text: str) -> int:
        """Return how long a text is in this unit."""
        match self:
            case Unit.CODE_POINTS:
                return len(text)
            case Unit.UTF16:
                return len(text.encode("utf-16-le")) // 2
            case Unit.BYTES:
                return len(text.encode())

    def head(self, text: str, room: int) -> str:
        """Return the longest beginning of a text that fits, no character cut in half."""
        text = text[: max(room, 0)]  # no character is shorter than one unit
        match self:
            case Unit.CODE_POINTS:
                return text
            case Unit.UTF16:
                return text.encode("utf-16-le")[: room * 2].decode("utf-16-le", "ignore")
            case Unit.BYTES:
                return text.encode()[:room].decode("utf-8", "ignore")


def sendable(text: str) -> str:
    """Return the text as valid Unicode without NUL, which JSON and databases take alike.

    JSON can spell half a surrogate pair, and no encoding takes that.
    """
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\x00", "")


def split(
    text: str, limit: int, unit: Unit = Unit.CODE_POINTS, *, most: int = MAX_PARTS
) -> list[str]:
    """Return the text in parts of at most ``limit``, numbered if there is more than one.

    Always the same parts for the same text, so that a retry can go on where it stopped. A
    fenced block that is cut is closed, and opened again in the next part. After ``most`` parts,
    at most ten, the rest is left out, and the text says so.
    """
    rest = sendable(text).replace("\r\n", "\n").strip("\n")
    if unit.size(rest) <= limit:
        return [rest] if rest.strip() else []
    parts: list[str] = []
    fence = ""
    while rest.strip():
        opening = f"{fence}\n" if fence else ""
        room = limit - NUMBER_ROOM - unit.size(opening)
        if len(parts) == most - 1:
            parts.append(opening + _last(rest, room, unit, fence))
            break
        head = unit.head(rest, room)
        if len(head) == len(rest):
            parts.append(opening + head)
            break
        head = _cut(rest, unit.head(rest, room - CLOSING_ROOM))
        rest = rest[len(head) :].lstrip("\n")
        fence = open_fence(head, fence)
        parts.append(_closed(opening + head.rstrip(), fence))
    if len(parts) == 1:
        return parts
    return [f"{part}\n({number}/{len(parts)})" for number, part in enumerate(parts, start=1)]


def open_fence(text: str, fence: str = "") -> str:
    """Return the opening line of the fenced block that the end of a text is in; empty if none.

    ``fence`` is the one that its beginning is in.
    """
    for found in FENCE.finditer(text):
        marks, info = found[1], found[2].strip()
        if not fence:
            fence = marks + info
        elif not info and marks.startswith(_marks(fence)):
            fence = ""
    return fence


def _marks(fence: str) -> str:
    return fence[: len(fence) - len(fence.lstrip(fence[0]))]


def _closed(part: str, fence: str) -> str:
    return f"{part}\n{_marks(fence)}" if fence else part


def _cut(text: str, head: str) -> str:
    """Return a beginning of the text, at most ``head``, that ends at the best place to cut."""
    # A boundary in the first half would make many short parts of few long ones.
    half = len(head) // 2
    for boundary in BOUNDARIES:
        ends = [found.end() for found in boundary.finditer(head, half)]
        if ends:
            return head[: ends[-1]]
    end = len(head)
    while end > half and _is_inside_character(text, end):
        end -= 1
    return head[: end if end > half else len(head)]


def _is_inside_character(text: str, position: int) -> bool:
    """Whether a cut here would go through what a person sees as one character."""
    before, after = text[position - 1], text[position]
    return JOINER in (before, after) or unicodedata.category(after) in ("Mn", "Me", "Mc", "Sk")


def _last(rest: str, room: int, unit: Unit, fence: str) -> str:
    """Return the last part that is allowed: all of the rest, or what fits and a notice."""
    if unit.size(rest) <= room:
        return rest
    notice = "\n" + _("… the rest was left out: the message is too long.")
    head = _cut(rest, unit.head(rest, room - CLOSING_ROOM - unit.size(notice))).rstrip()
    return _closed(head, open_fence(head, fence)) + notice
