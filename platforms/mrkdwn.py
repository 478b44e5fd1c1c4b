"""Markdown, as agents write it, in Slack's own markup.

https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from html import escape

from .markup import BULLET, CODE, HEADING, LINK, SPANS, STASHED, ZERO_WIDTH_SPACE

# Marks of Slack's stand under these until the rest is converted; else *bold*, once made, would
# pass for Markdown's italics.
MARKS = {"b": ("\ue002", "*"), "i": ("\ue003", "_"), "s": ("\ue004", "~")}
PRIVATE = re.compile("[\ue000-\ue004]")
# <!channel>, <@U…>, <#C…>: what calls people or names places.
CONTROL = re.compile(r"<(?=[!@#])")


def to_slack(text: str) -> str:
    """Return Markdown as Slack's mrkdwn; what is no markup is escaped, so it calls nobody."""
    stash: list[str] = []

    def aside(piece: str) -> str:
        stash.append(piece)
        return f"\ue000{len(stash) - 1}\ue001"

    text = PRIVATE.sub("", text)
    text = CODE.sub(lambda code: aside(_code(code)), text)
    text = _escaped(text)
    text = LINK.sub(lambda link: aside(f"<{link[2].replace('|', '%7C')}|{link[1]}>"), text)
    text = BULLET.sub(r"\1• ", text)
    text = HEADING.sub(_heading, text)
    for pattern, tag in SPANS:
        mark = MARKS[tag][0]
        text = pattern.sub(rf"{mark}\1{mark}", text)
    text = re.sub(r"^&gt;", ">", text, flags=re.MULTILINE)
    for mark, slacks in MARKS.values():
        text = text.replace(mark, slacks)
    for _round in range(2):  # a link's text may hold code
        text = STASHED.sub(lambda found: stash[int(found[1])], text)
    return text


def defuse_controls(text: str) -> str:
    """Return Markdown for Slack in which no <!channel> or <@U…> calls anybody."""
    return CONTROL.sub("<" + ZERO_WIDTH_SPACE, text)


def _escaped(text: str) -> str:
    return escape(text, quote=False)


def _code(code: re.Match[str]) -> str:
    span = code["double"] or code["single"]
    if span:
        return f"`{_escaped(span)}`"
    block = _escaped(code["block"].rstrip("\n"))
    return f"```\n{block}\n```" if block else ""


def _heading(heading: re.Match[str]) -> str:
    title = heading[1].rstrip("# \t").replace("**", "")
    mark = MARKS["b"][0]
    return f"{mark}{title}{mark}" if title else heading[0]
