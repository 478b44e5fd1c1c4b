"""Markdown as DingTalk shows it, and the title that goes with it.

https://open.dingtalk.com/document/orgapp/message-types-and-data-format
"""

import re

from platforms.markup import CODE
from platforms.plain import to_plain

TITLE_LENGTH = 50
# All but newline and tab: JSON spells each with six bytes, and they show as nothing.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]")


def to_markdown(text: str) -> str:
    """Return Markdown with what DingTalk needs to show it: lists set off, fences at the margin."""
    text = CONTROL.sub("", text.replace("\r\n", "\n"))
    pieces: list[str] = []
    position = 0
    for code in CODE.finditer(text):
        pieces += [_lists_set_off(text[position : code.start()]), _at_margin(code)]
        position = code.end()
    return "".join([*pieces, _lists_set_off(text[position:])])


def title_of(text: str) -> str:
    """Return the first line without its marks, which the list of chats shows."""
    first = next((line for line in to_plain(text[:2000]).splitlines() if line.strip("`~ \t")), "")
    return first.strip()[:TITLE_LENGTH] or "…"


def _lists_set_off(text: str) -> str:
    """Put an empty line before each list: below a line of text it is taken for more of that."""
    lines: list[str] = []
    for line in text.split("\n"):
        above = lines[-1] if lines else ""
        is_item = ITEM.match(line) is not None
        if (
            is_item
            and above.strip()
            and not above.startswith((" ", "\t"))
            and not ITEM.match(above)
        ):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def _at_margin(code: re.Match[str]) -> str:
    if code["marks"] is None:
        return code[0]
    indent = len(code[0]) - len(code[0].lstrip(" "))
    if not indent:
        return code[0]
    lines = code[0].split("\n")
    return "\n".join(line[min(indent, len(line) - len(line.lstrip(" "))) :] for line in lines)
