"""Markdown, as agents write it, in the markup that platforms take."""

import re
from collections.abc import Callable
from functools import partial
from html import escape

# A fenced block, up to its closing line or the end of the text; or a span of code in a line.
CODE = re.compile(
    r"^ {0,3}(?P<marks>`{3,8}|~{3,8})[ \t]*(?P<info>[^`\n]{0,60})\n(?P<block>.*?)"
    r"(?:^ {0,3}(?P=marks)[`~]*[ \t]*$|\Z)"
    r"|``(?P<double>[^\n]+?)``|`(?P<single>[^`\n]+)`",
    re.MULTILINE | re.DOTALL,
)
MENTION = re.compile(r"(?<![\w`/.+-])@(?=[A-Za-z0-9])")
ZERO_WIDTH_SPACE = "\u200b"

# On text that is escaped already. Each excludes its own mark inside, so that none has to look
# back: time is linear in the length of the text.
LINK = re.compile(r"\[([^\[\]\n]+)\]\((https?://[^\s()<>]+(?:\([^\s()]*\)[^\s()<>]*)*)\)")
HEADING = re.compile(r"^#{1,6}[ \t]+([^\n]+)$", re.MULTILINE)
BULLET = re.compile(r"^([ \t]*)[-*+][ \t]+", re.MULTILINE)
QUOTE = re.compile(r"(?:^&gt;[ \t]?[^\n]*(?:\n|\Z))+", re.MULTILINE)
SPANS = (
    (re.compile(r"\*\*(?=\S)([^*\n]+)(?<=\S)\*\*"), "b"),
    (re.compile(r"(?<!\w)__(?=\S)([^_\n]+)(?<=\S)__(?!\w)"), "b"),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+)(?<=\S)\*(?![\w*])"), "i"),
    (re.compile(r"(?<![\w_])_(?=\S)([^_\n]+)(?<=\S)_(?![\w_])"), "i"),
    (re.compile(r"~~(?=\S)([^~\n]+)(?<=\S)~~"), "s"),
)
TAG = re.compile(r"<(/?)(\w+)[^>]*>")
# Finished pieces stand aside under these while the rest is converted; text has them never.
STASHED = re.compile("\ue000(\\d+)\ue001")


def defuse_mentions(text: str) -> str:
    """Return Markdown in which no @name calls a person or a team; code is left as it is."""
    return _outside_code(text, lambda prose: MENTION.sub("@" + ZERO_WIDTH_SPACE, prose))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    pieces: list[str] = []
    position = 0
    for code in CODE.finditer(text):
        pieces += [change(text[position : code.start()]), code[0]]
        position = code.end()
    return "".join([*pieces, change(text[position:])])


def to_telegram_html(text: str) -> str:
    """Return Markdown as the HTML that Telegram knows; what is no markup is escaped.

    https://core.telegram.org/bots/api#html-style
    """
    stash: list[str] = []

    def aside(piece: str) -> str:
        stash.append(piece)
        return f"\ue000{len(stash) - 1}\ue001"

    text = text.replace("\ue000", "").replace("\ue001", "")
    text = CODE.sub(lambda code: aside(_telegram_code(code)), text)
    text = escape(text, quote=False)
    text = LINK.sub(lambda link: aside(_anchor(link)), text)
    text = BULLET.sub(r"\1• ", text)
    text = HEADING.sub(_heading, text)
    for pattern, tag in SPANS:
        text = pattern.sub(partial(_wrapped, tag=tag), text)
    text = QUOTE.sub(_blockquote, text)
    for _round in range(2):  # a link's text may hold code
        text = STASHED.sub(lambda found: stash[int(found[1])], text)
    return text


def _telegram_code(code: re.Match[str]) -> str:
    span = code["double"] or code["single"]
    if span:
        return f"<code>{escape(span, quote=False)}</code>"
    block = escape(code["block"].rstrip("\n"), quote=False)
    language = re.match(r"[\w+#.-]+", code["info"])
    if not block:
        return ""
    if not language:
        return f"<pre>{block}</pre>"
    return f'<pre><code class="language-{language[0]}">{block}</code></pre>'


def _heading(heading: re.Match[str]) -> str:
    title = heading[1].rstrip("# \t").replace("**", "")
    return f"<b>{title}</b>" if title else heading[0]


def _anchor(link: re.Match[str]) -> str:
    address = link[2].replace('"', "&quot;")
    return f'<a href="{address}">{link[1]}</a>'


def _wrapped(span: re.Match[str], tag: str) -> str:
    """Return the span in its tag, or as it was if that would cut through another tag."""
    return f"<{tag}>{span[1]}</{tag}>" if _is_nested(span[1]) else span[0]


def _is_nested(markup: str) -> bool:
    """Whether every tag that a piece opens is closed in it, and in order."""
    opened: list[str] = []
    for tag in TAG.finditer(markup):
        if not tag[1]:
            opened.append(tag[2])
        elif not opened or opened.pop() != tag[2]:
            return False
    return not opened


def _blockquote(quote: re.Match[str]) -> str:
    lines = [re.sub(r"^&gt;[ \t]?", "", line) for line in quote[0].splitlines()]
    end = "\n" if quote[0].endswith("\n") else ""
    body = "\n".join(lines)
    return f"<blockquote>{body}</blockquote>{end}" if body.strip() else quote[0]
