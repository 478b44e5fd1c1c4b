"""What a route can say about coalescing, and the key that comes of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from routes.coalescing import compile_coalesce, validate_coalesce

from .held import coalesce

PULL = {"repository": {"full_name": "acme/site"}, "number": 7}


def test_the_key_is_of_the_route_and_what_the_template_comes_to() -> None:
    how = coalesce(key="{repository.full_name}#{number}")
    key = how.key_of("pulls", PULL, "push")
    assert key == how.key_of("pulls", {**PULL, "action": "opened"}, "push")
    assert key is not None
    assert len(key) == 16
    others = {how.key_of("other", PULL, "push"), how.key_of("pulls", {**PULL, "number": 8}, "push")}
    assert key not in others
    assert None not in others


def test_a_key_without_braces_is_a_field() -> None:
    bare = compile_coalesce({"key": "repository.full_name"})
    assert bare
    key = coalesce(key="{repository.full_name}").key_of("pulls", PULL, "push")
    assert bare.key_of("pulls", PULL, "push") == key is not None


@pytest.mark.parametrize("payload", [{}, {"number": None}, {"number": ""}, [], None, "text", 7])
def test_an_event_that_lacks_what_the_key_names_has_none(payload: Any) -> None:
    assert coalesce().key_of("pulls", payload, "push") is None


def test_any_character_may_be_in_a_key() -> None:
    assert coalesce().key_of("pulls", {"number": "\ud800\0尺寸"}, "push")


def test_the_times_have_the_defaults_of_the_reference() -> None:
    made = compile_coalesce({"key": "number"})
    assert made
    assert (made.window, made.max_wait) == (timedelta(seconds=30), timedelta(minutes=5))


def test_without_a_longest_wait_a_long_window_is_the_longest_wait() -> None:
    made = compile_coalesce({"key": "number", "window_seconds": 900})
    assert made
    assert made.max_wait == timedelta(minutes=15)


def test_no_setting_is_no_coalescing() -> None:
    assert compile_coalesce({}) is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"key": "number"},
        {"key": "{repository.full_name}#{number}", "window_seconds": 5, "max_wait_seconds": 5},
        {"key": "{event_type}", "window_seconds": 0.5 + 0.5},
        {"key": "number", "window_seconds": 3600},
        {"key": "number", "max_wait_seconds": 86_400},
        {"key": "number", "single_flight": True, "in_flight_max_seconds": 1800},
    ],
    ids=str,
)
def test_these_settings_are_taken(data: Any) -> None:
    validate_coalesce(data)
    assert bool(compile_coalesce(data)) == bool(data)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ([], "mapping"),
        ("number", "mapping"),
        (7, "mapping"),
        ({"window_seconds": 5}, "key"),
        ({"key": ""}, "key"),
        ({"key": " "}, "key"),
        ({"key": 7}, "key"),
        ({"key": "{}"}, "key"),
        ({"key": "{a-b}"}, "key"),
        ({"key": "pull request"}, "key"),
        ({"key": "number", "window": 5}, "window"),
        ({"key": "number", "window_seconds": 0}, "window_seconds"),
        ({"key": "number", "window_seconds": -1}, "window_seconds"),
        ({"key": "number", "window_seconds": "30"}, "window_seconds"),
        ({"key": "number", "window_seconds": True}, "window_seconds"),
        ({"key": "number", "window_seconds": None}, "window_seconds"),
        ({"key": "number", "window_seconds": float("nan")}, "window_seconds"),
        ({"key": "number", "window_seconds": float("inf")}, "window_seconds"),
        ({"key": "number", "window_seconds": 3601}, "window_seconds"),
        ({"key": "number", "max_wait_seconds": 29}, "max_wait_seconds"),
        ({"key": "number", "max_wait_seconds": 86_401}, "max_wait_seconds"),
    ],
    ids=str,
)
def test_other_settings_are_refused_by_the_name_of_the_part(data: Any, named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        validate_coalesce(data)
    assert named in " ".join(caught.value.messages)
    with pytest.raises(ValidationError):
        compile_coalesce(data)


def test_a_route_that_only_delivers_coalesces_nothing() -> None:
    validate_coalesce({}, deliver_only=True)
    with pytest.raises(ValidationError):
        validate_coalesce({"key": "number"}, deliver_only=True)
