"""Keys of conversations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.conversation_keys import MAX_CHARACTERS, bounded, conversation_key
from routes.templating import compile_template

from .samples import payload_of


def key(template: str, payload: object, event: str = "push") -> str | None:
    return conversation_key(compile_template(template), payload, event)


def test_events_of_one_pull_request_have_one_key() -> None:
    payload = payload_of("github/pull_request__opened")
    assert key("{repository.full_name}#{number}", payload) == "acme/storefront#1347"


@pytest.mark.parametrize(
    ("template", "payload", "expected"),
    [
        ("{a}", {"a": "x"}, "x"),
        ("{a}", {"a": 0}, "0"),
        ("{a}", {"a": True}, "true"),
        ("{a.0.b}", {"a": [{"b": "x"}]}, "x"),
        ("{event_type}/{a}", {"a": 1}, "push/1"),
        ("all of them", {}, "all of them"),
        (" {a} ", {"a": "x"}, "x"),
        ("{__raw__}", "text", "text"),
        # nothing that names one thing
        ("{a}", {}, None),
        ("{a}", {"a": None}, None),
        ("{a}", {"a": ""}, None),
        ("{a}#{b}", {"a": " ", "b": 1}, None),
        ("{a}", {"a": {"b": 1}}, None),
        ("{a}", {"a": []}, None),
        ("{a}", [], None),
        ("{__raw__}", {"a": 1}, None),
        ("", {"a": 1}, None),
        ("  ", {"a": 1}, None),
    ],
)
def test_keys(template: str, payload: object, expected: str | None) -> None:
    assert key(template, payload) == expected


def test_a_long_key_keeps_its_beginning_and_differs_by_its_end() -> None:
    one = key("{a}", {"a": "x" * 300 + "1"})
    other = key("{a}", {"a": "x" * 300 + "2"})
    assert one is not None
    assert len(one) == MAX_CHARACTERS
    assert one.startswith("x" * 200)
    assert one != other
    assert one == key("{a}", {"a": "x" * 300 + "1"})


def test_a_key_of_just_the_limit_is_whole() -> None:
    assert bounded("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS


@given(value=st.text() | st.integers() | st.floats() | st.lists(st.text()))
def test_a_key_always_fits_its_column(value: object) -> None:
    found = key("{a}/{a}/{a}", {"a": value})
    if found is not None:
        assert 0 < len(found) <= MAX_CHARACTERS
        found.encode()
        assert "\0" not in found
