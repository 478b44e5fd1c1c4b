import time

import pytest

from platforms.plain import to_plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("**Deploy** of `main` *done*", "Deploy of main done"),
        ("# Title\n\ntext", "Title\n\ntext"),
        ("## **Bold** title ##", "Bold title"),
        ("~~old~~ __new__ _it_", "old new it"),
        ("[the run](https://example.org/1)", "the run (https://example.org/1)"),
        ("[https://example.org](https://example.org)", "https://example.org"),
        ("[`main`](https://example.org)", "main (https://example.org)"),
        ("* one\n  + two\n- three", "- one\n  - two\n- three"),
        ("```python\nx = '**no**'\n```", "x = '**no**'"),
        ("2 * 3 * 4, snake_case_name, a_b_c", "2 * 3 * 4, snake_case_name, a_b_c"),
        ("> quoted", "> quoted"),
        ("a\n***\nb", "a\n———\nb"),
        ("界 **界** 😀", "界 界 😀"),
        ("#", "#"),
        ("\ue0000\ue001 stays harmless", "0 stays harmless"),
        ("<b>&amp;</b>", "<b>&amp;</b>"),
    ],
)
def test_markdown_loses_its_marks(text: str, plain: str) -> None:
    assert to_plain(text) == plain


@pytest.mark.parametrize(
    "text", ["*" * 50_000, "[" * 50_000, "`" * 50_001, "- " * 30_000, "**a" * 20_000]
)
def test_a_text_of_marks_takes_no_time(text: str) -> None:
    started = time.monotonic()
    to_plain(text)
    assert time.monotonic() - started < 2
