"""Markdown as plain text, for platforms that know no markup."""

import re

from .markup import CODE, HEADING, LINK, SPANS, STASHED

PRIVATE = re.compile("[\ue000\ue001]")
RULE = re.compile(r"^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$", re.MULTILINE)
BULLET = re.compile(r"^([ \t]*)[*+][ \t]+", re.MULTILINE)


def to_plain(text: str) -> str:
    """Return Markdown without its marks; a link becomes its text and address, code stays as it is.

    What is no markup keeps its characters: ``2 * 3 * 4`` and ``snake_case_name`` stay.
    """
    stash: list[str] = []

    def aside(piece: str) -> str:
        stash.append(piece)
        return f"\ue000{len(stash) - 1}\ue001"

    text = PRIVATE.sub("", text)
    text = CODE.sub(lambda code: aside(_code(code)), text)
    text = LINK.sub(lambda link: aside(_link(link)), text)
    text = RULE.sub("———", text)
    text = BULLET.sub(r"\1- ", text)
    text = HEADING.sub(lambda heading: heading[1].rstrip("# \t") or heading[0], text)
    for pattern, _tag in SPANS:
        text = pattern.sub(r"\1", text)
    for _round in range(2):  # a link's text may hold code
        text = STASHED.sub(lambda found: stash[int(found[1])], text)
    return text


def _code(code: re.Match[str]) -> str:
    return code["double"] or code["single"] or code["block"].rstrip("\n")


def _link(link: re.Match[str]) -> str:
    label, address = link[1], link[2]
    return address if label == address else f"{label} ({address})"
