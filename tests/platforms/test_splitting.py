import re
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platforms.splitting import MAX_PARTS, Unit, open_fence, sendable, split


def bare(part: str) -> str:
    return re.sub(r"\n\(\d+/\d+\)\Z", "", part)


def test_a_short_text_stays_as_it_is_and_is_not_numbered() -> None:
    assert split("Hello", 100) == ["Hello"]


@pytest.mark.parametrize("text", ["", " ", "\n\n", " \n\t\n "])
def test_nothing_to_say_is_no_part(text: str) -> None:
    assert split(text, 100) == []


def test_parts_are_numbered() -> None:
    parts = split("word " * 60, 100)
    assert [part.rpartition("\n")[2] for part in parts] == [
        f"({n}/{len(parts)})" for n in range(1, len(parts) + 1)
    ]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("a" * 60 + "\n\n" + "b. c\n" * 3 + "d" * 80, "a"),
        ("a" * 60 + "\n" + "b. c d" * 3 + "e" * 80, "a"),
        ("a" * 60 + ". " + "b c " * 4 + "d" * 80, "."),
        ("字" * 60 + "。" + "字 字" * 4 + "d" * 80, "。"),
        ("a" * 60 + " " + "b" * 80, "a"),
        ("a" * 200, "a"),
    ],
    ids=["blank line", "line", "sentence", "chinese sentence", "word", "anywhere"],
)
def test_a_text_is_cut_at_the_best_place(text: str, ends: str) -> None:
    first = bare(split(text, 100)[0])
    assert first.endswith(ends)
    assert len(first) == (83 if ends == "a" and text == "a" * 200 else 60 + (ends in ".。"))


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("character", ["x", "é", "界", "😀"])
def test_every_part_is_within_the_limit(unit: Unit, character: str) -> None:
    text = character * 500
    parts = split(text, 200, unit)
    assert all(unit.size(part) <= 200 for part in parts)
    if len(parts) < MAX_PARTS:
        assert "".join(map(bare, parts)) == text


def test_utf16_counts_an_emoji_twice_and_cuts_none_in_half() -> None:
    assert split("😀" * 50, 100, Unit.UTF16) == ["😀" * 50]
    for part in split("x" + "😀" * 150, 101, Unit.UTF16):
        assert "\ufffd" not in part


@pytest.mark.parametrize("glyph", ["👩‍👩‍👧‍👦", "👍🏽", "e\u0301\u0301", "☀\ufe0f"])
def test_what_reads_as_one_character_stays_whole(glyph: str) -> None:
    parts = [bare(part) for part in split(glyph * 160, 150)]
    assert len(parts) > 1
    assert all(part.startswith(glyph) and part.endswith(glyph) for part in parts)


def test_a_cut_code_block_is_closed_and_opened_again() -> None:
    text = "Before\n```python\n" + "print(1)\n" * 40 + "```\nAfter"
    parts = split(text, 200)
    assert len(parts) > 2
    for part in parts:
        assert open_fence(bare(part)) == ""
    assert all(part.startswith("```python\n") for part in parts[1:])


def test_a_fence_of_tildes_is_closed_by_tildes() -> None:
    first, second, *_rest = split("~~~~\n" + "a ``` b\n" * 60, 200)
    assert bare(first).endswith("\n~~~~")
    assert second.startswith("~~~~\n")


def test_an_endless_info_line_is_no_fence() -> None:
    assert open_fence("```" + "x" * 5000) == ""


def test_after_ten_parts_the_rest_is_left_out_and_said_so() -> None:
    parts = split("word " * 100_000, 200)
    assert len(parts) == 10
    assert "left out" in parts[-1]
    assert all(len(part) <= 200 for part in parts)


def test_the_same_text_is_cut_the_same_way() -> None:
    text = "Ein Satz. Noch einer! " * 100
    assert split(text, 300) == split(text, 300)


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_joined() -> None:
    assert sendable("a\ud83d") == "a\ufffd"
    assert sendable("\ud83d\ude00") == "😀"
    assert sendable("a\x00b") == "ab"


def test_a_megabyte_is_cut_quickly() -> None:
    started = time.perf_counter()
    split("界" * 1_000_000, 4096, Unit.BYTES)
    split("\n" * 1_000_000 + "x", 4096)
    split(" " * 1_000_000 + "x", 4096)
    assert time.perf_counter() - started < 2


TEXTS = st.text(
    st.one_of(st.sampled_from(list("ab .\n`~#中。😀\u200d\u0301")), st.characters()), max_size=1500
)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(list(Unit)), st.integers(250, 500))
def test_nothing_but_space_is_lost(text: str, unit: Unit, limit: int) -> None:
    parts = split(text, limit, unit)
    assert all(unit.size(part) <= limit for part in parts)
    if len(parts) < MAX_PARTS:
        # Reopened fences and numbers are added, nothing is taken away.
        rest = "".join(map(bare, parts))
        position = 0
        for character in _visible(sendable(text).replace("\r\n", "\n")):
            position = rest.find(character, position) + 1
            assert position


def _visible(text: str) -> str:
    return "".join(c for c in text if not c.isspace() and unicodedata.category(c) != "Cc")


@pytest.mark.parametrize("most", [1, 2, 3])
def test_fewer_parts_may_be_asked_for(most: int) -> None:
    parts = split("word " * 1000, 100, most=most)
    assert len(parts) == most
    assert "left out" in parts[-1]
    assert max(map(len, parts)) <= 100
