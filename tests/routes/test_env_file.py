"""The .env of a Hermes home."""

import pytest

from routes.env_file import parse_env, references, resolved


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("  export NAME = value  ", "value"),
        ("NAME=", ""),
        ("NAME=two words", "two words"),
        ("NAME=value # a comment", "value"),
        ("NAME=value#no-comment", "value#no-comment"),
        ("NAME=# a comment", ""),
        ("NAME='single # quoted' # a comment", "single # quoted"),
        ('NAME="double \\"quoted\\"\\nline"', 'double "quoted"\nline'),
        ("NAME='it\\n'", "it\\n"),
        ('NAME="unclosed', '"unclosed'),
        ("NAME=a=b==", "a=b=="),
        ("NAME=保密", "保密"),
        ("\ufeffNAME=value", "value"),
    ],
)
def test_a_line_is_read_as_a_shell_would(line: str, value: str) -> None:
    assert parse_env(line) == {"NAME": value}


@pytest.mark.parametrize("line", ["", "# NAME=x", "NAME", "1NAME=x", "a b=c", "=x", "\0"])
def test_what_is_no_assignment_is_passed_over(line: str) -> None:
    assert parse_env(f"{line}\nNAME=last\n") == {"NAME": "last"}


def test_of_a_name_given_twice_the_last_counts() -> None:
    assert parse_env("A=1\nA=2") == {"A": "2"}


def test_references_are_replaced_once_and_nothing_else_is() -> None:
    assert references("${A}-${B_1}-$C-${}-${1}") == {"A", "B_1"}
    assert resolved("${A}/$A/${A}", {"A": "${B}"}) == "${B}/$A/${B}"
