import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platforms.markup import defuse_mentions, to_telegram_html


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("**bold** __too__", "<b>bold</b> <b>too</b>"),
        ("*it* _too_", "<i>it</i> <i>too</i>"),
        ("~~gone~~", "<s>gone</s>"),
        ("snake_case_name and 2*3*4", "snake_case_name and 2*3*4"),
        ("`a < *b*`", "<code>a &lt; *b*</code>"),
        ("``a ` b``", "<code>a ` b</code>"),
        ("```py\nx < **y**\n```", '<pre><code class="language-py">x &lt; **y**</code></pre>'),
        ("```\nx\n```\nafter", "<pre>x</pre>\nafter"),
        ("```\nnever closed", "<pre>never closed</pre>"),
        ("# Title", "<b>Title</b>"),
        ("- one\n* two", "• one\n• two"),
        ("> quoted\n> more\nnot", "<blockquote>quoted\nmore</blockquote>\nnot"),
        (
            '[a "b"](https://x.dev/?a=1&b="2")',
            '<a href="https://x.dev/?a=1&amp;b=&quot;2&quot;">a "b"</a>',
        ),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("[`x`](https://x.dev/_a_b_)", '<a href="https://x.dev/_a_b_"><code>x</code></a>'),
        ("*a **b* c**", "*a **b* c**"),
        ("**a _b** c_", "<b>a _b</b> c_"),
        ("<b>raw</b>", "&lt;b&gt;raw&lt;/b&gt;"),
        ("\ue0000\ue001", "0"),
    ],
)
def test_markdown_becomes_what_telegram_reads(markdown: str, html: str) -> None:
    assert to_telegram_html(markdown) == html


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(list("ab *_`~>#-[]()&<\n|\"'/:h")), max_size=200))
def test_tags_are_always_nested(markdown: str) -> None:
    opened = []
    for close, name in re.findall(r"<(/?)(\w+)[^>]*>", to_telegram_html(markdown)):
        if not close:
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []


@pytest.mark.parametrize("pattern", ["*", "**", "_", "`", "~~", "[", "[a](", "> ", "```\n", "# "])
def test_hostile_text_costs_no_time(pattern: str) -> None:
    started = time.perf_counter()
    to_telegram_html(pattern * 2000)
    defuse_mentions((pattern + "@") * 20_000)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("text", "defused"),
    [
        ("@octocat", "@\u200boctocat"),
        ("(@a), **@b**", "(@\u200ba), **@\u200bb**"),
        ("me@example.com", "me@example.com"),
        ("https://x.dev/@a", "https://x.dev/@a"),
        ("`@a` and\n```\n@b\n```", "`@a` and\n```\n@b\n```"),
    ],
)
def test_a_mention_is_defused_outside_of_code(text: str, defused: str) -> None:
    assert defuse_mentions(text) == defused
