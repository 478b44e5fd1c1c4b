"""The settings of a chat endpoint: what is taken, and what is refused by field."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from agents.services.completions import (
    DEFAULTS,
    check_endpoint,
    check_key,
    effects_of,
    keeps_key,
    url_of,
)

PUBLIC = "https://93.184.215.14/v1"
LEAST = {"base_url": PUBLIC, "model": "llama3.1:8b"}


def problems(data: dict[str, Any]) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        check_endpoint(data)
    return set(caught.value.message_dict)


def test_an_address_and_a_model_are_enough() -> None:
    assert check_endpoint(LEAST) == {**DEFAULTS, **LEAST}


def test_what_was_checked_passes_again() -> None:
    once = check_endpoint({**LEAST, "temperature": 0, "max_tokens": 100, "system": " Be kind. "})
    assert check_endpoint(once) == once
    assert once["system"] == "Be kind."


def test_what_is_left_empty_is_the_default() -> None:
    empty = dict.fromkeys(set(DEFAULTS) - set(LEAST), "")
    assert check_endpoint({**LEAST, **empty, "history": None}) == {**DEFAULTS, **LEAST}


@pytest.mark.parametrize(
    "pasted",
    [
        PUBLIC,
        f"{PUBLIC}/",
        f"{PUBLIC}/chat/completions",
        f" {PUBLIC}/chat/completions/ ",
        f"{PUBLIC}#x",
    ],
)
def test_a_pasted_address_is_brought_into_one_form(pasted: str) -> None:
    assert check_endpoint({**LEAST, "base_url": pasted})["base_url"] == PUBLIC


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        (PUBLIC, f"{PUBLIC}/chat/completions"),
        (f"{PUBLIC}?api-version=1", f"{PUBLIC}/chat/completions?api-version=1"),
        ("https://93.184.215.14", "https://93.184.215.14/chat/completions"),
    ],
)
def test_the_address_that_is_called_has_the_path_of_chat_completions(
    base_url: str, url: str
) -> None:
    assert url_of(check_endpoint({**LEAST, "base_url": base_url})["base_url"]) == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_url", ""),
        ("base_url", 7),
        ("base_url", "localhost:11434"),
        ("base_url", "ftp://93.184.215.14/v1"),
        ("base_url", "https://key@93.184.215.14/v1"),
        ("base_url", "https://[::1/v1"),
        ("base_url", "https://93.184.215.14/v1\nx"),
        ("base_url", "https://93.184.215.14/" + "x" * 3000),
        ("model", " "),
        ("model", ["llama"]),
        ("model", "a\nb"),
        ("model", "x" * 201),
        ("system", 7),
        ("system", "a\0b"),
        ("system", "\ud800"),
        ("system", "x" * 32_001),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("max_tokens", "100"),
        ("max_tokens", True),
        ("max_tokens", 10**9),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "warm"),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("timeout_seconds", 4),
        ("timeout_seconds", 1801),
        ("timeout_seconds", "300"),
        ("stream", "yes"),
        ("stream", 1),
        ("history", -1),
        ("history", 201),
        ("history", 2.0),
        ("lan", "true"),
        ("headers", {"X-A": "b"}),
        ("key", "sk-1"),
    ],
)
def test_what_is_wrong_is_refused_on_its_field(name: str, value: object) -> None:
    assert problems({**LEAST, name: value}) == {name}


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert problems({"temperature": 9, "nonsense": 1}) == {
        "base_url", "model", "temperature", "nonsense",
    }  # fmt: skip


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:11434/v1", "https://192.168.1.5/v1"])
def test_a_private_address_needs_the_operators_word(settings: Settings, base_url: str) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    assert problems({**LEAST, "base_url": base_url}) == {"base_url"}
    assert check_endpoint({**LEAST, "base_url": base_url, "lan": True})["base_url"] == base_url


@pytest.mark.parametrize("lan", [True, False])
def test_a_metadata_service_is_never_an_endpoint(lan: bool) -> None:
    assert problems({**LEAST, "base_url": "http://169.254.169.254/v1", "lan": lan}) == {"base_url"}


def test_messages_do_not_cross_the_internet_in_the_clear(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    assert problems({**LEAST, "base_url": "http://93.184.215.14/v1"}) == {"base_url"}


@pytest.mark.parametrize("key", ["a b", "a\nb", "schlüssel", "x" * 1001, "a\0b"])
def test_a_key_that_no_header_carries_is_refused(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check_key(key)
    assert key not in str(caught.value)


def test_a_key_is_taken_without_the_space_around_it() -> None:
    assert check_key(" sk-1\n") == "sk-1"
    assert check_key("") == ""


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        ("https://llm.example/v1", True),
        ("https://llm.example/other?x=1", True),
        ("http://llm.example/v1", False),
        ("https://llm.example:8443/v1", False),
        ("https://evil.example/v1", False),
        ("", False),
    ],
)
def test_a_stored_key_stays_with_its_host(after: str, kept: bool) -> None:
    assert keeps_key({"base_url": "https://llm.example/v1"}, {"base_url": after}) is kept


def test_the_consequences_are_named_without_the_query() -> None:
    cleaned = check_endpoint({**LEAST, "base_url": f"{PUBLIC}?key=hunter2", "lan": True})
    effects = " ".join(effects_of(cleaned))
    assert "hunter2" not in effects
    for word in (PUBLIC, "llama3.1:8b", "20", "private network", "charge"):
        assert word in effects
