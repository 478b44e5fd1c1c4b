import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platforms.mrkdwn import defuse_controls, to_slack


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("**bold** __too__", "*bold* *too*"),
        ("*it* _too_", "_it_ _too_"),
        ("~~gone~~", "~gone~"),
        ("**a _b_ c**", "*a _b_ c*"),
        ("snake_case_name and 2*3*4", "snake_case_name and 2*3*4"),
        ("`a < *b*`", "`a &lt; *b*`"),
        ("```py\nx < **y**\n```", "```\nx &lt; **y**\n```"),
        ("```\nnever closed", "```\nnever closed\n```"),
        ("# Title", "*Title*"),
        ("## **Title**", "*Title*"),
        ("- one\n* two", "• one\n• two"),
        ("> quoted\nnot", "> quoted\nnot"),
        ("[a & b](https://x.dev/?a=1&b=2|3)", "<https://x.dev/?a=1&amp;b=2%7C3|a &amp; b>"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("[`x`](https://x.dev/_a_b_)", "<https://x.dev/_a_b_|`x`>"),
        ("<!channel> <@U0123>", "&lt;!channel&gt; &lt;@U0123&gt;"),
        ("\ue0000\ue001 \ue002x", "0 x"),
    ],
)
def test_markdown_becomes_what_slack_reads(markdown: str, mrkdwn: str) -> None:
    assert to_slack(markdown) == mrkdwn


def test_controls_are_defused_in_markdown() -> None:
    assert defuse_controls("<!here> <@U1> <#C1> a < b <br>") == (
        "<\u200b!here> <\u200b@U1> <\u200b#C1> a < b <br>"
    )


@given(st.text(alphabet="*_~`<>![](@#&| \nab\ue000\ue002", max_size=60))
@settings(max_examples=300)
def test_no_text_calls_anybody(text: str) -> None:
    converted = to_slack(text)
    for control in ("<!", "<@", "<#"):
        assert control not in converted
        assert control not in defuse_controls(text)
    assert "\ue000" not in converted


@pytest.mark.parametrize("piece", ["**", "[", "`", "~~", "> ", "_a", "<", "[x](https://x"])
def test_time_is_linear(piece: str) -> None:
    started = time.monotonic()
    to_slack(piece * (20_000 // len(piece)))
    assert time.monotonic() - started < 1.0
