"""What an error of a chat endpoint means, whatever its shape; and endpoints of every bad manner."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from pytest_django import Settings

from agents.services import completions_calls
from agents.services.completions import ATTENTION
from deliveries.ladder import AGENT_LADDER
from deliveries.outcomes import Outcome, Verdict

from .asking import ask, unsaved
from .fake_model import EVENTS, FakeModel, fixture, hangs_up, says, sends, serving, streams
from .receiver import drip, flood

D, R, F = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with serving(FakeModel()) as fake:
        yield fake


ERRORS = [
    ("openai_401", 401, F, "unauthorized"),
    ("openrouter_403_moderation", 403, F, "forbidden"),
    ("openai_404_model", 404, F, "model_missing"),
    ("ollama_404_model", 404, F, "model_missing"),
    ("litellm_400_model", 400, F, "model_missing"),
    ("fastapi_404", 404, F, "not_found"),
    ("fastapi_404", 405, F, "not_found"),
    ("openrouter_402", 402, R, "no_credit"),
    ("openai_429_quota", 429, R, "no_credit"),
    ("openai_429_rate", 429, R, "rate_limited"),
    ("openai_400_context", 400, F, "context_length"),
    ("vllm_400_context", 400, F, "context_length"),
    ("llamacpp_400_context", 400, F, "context_length"),
    ("anthropic_400_context", 400, F, "context_length"),
    ("gemini_400_context", 400, F, "context_length"),
    ("fastapi_422", 422, F, "client_error"),
    ("fastapi_404", 408, R, "server_error"),
    ("fastapi_404", 409, R, "server_error"),
    ("fastapi_404", 425, R, "server_error"),
    ("ollama_500", 500, R, "server_error"),
    ("ollama_500", 503, R, "server_error"),
    ("ollama_500", 529, R, "server_error"),
    # The error inside of a 200, with the status it should have had and without one.
    ("openrouter_200_502", 200, R, "server_error"),
    ("openrouter_402", 200, R, "no_credit"),
    ("openai_400_context", 200, F, "context_length"),
    ("openai_404_model", 200, F, "model_missing"),
    ("ollama_500", 200, R, "server_error"),
]


@pytest.mark.parametrize(("name", "status", "verdict", "error_class"), ERRORS)
def test_an_error_means_what_its_status_and_its_words_say(
    model: FakeModel, name: str, status: int, verdict: Verdict, error_class: str
) -> None:
    model.always = sends(fixture(f"error__{name}.json"), status)
    outcome = ask(model)
    assert (outcome.verdict, outcome.error_class, outcome.status) == (verdict, error_class, status)
    assert len(model.requests) == 1


def test_the_endpoint_s_own_words_are_told(model: FakeModel) -> None:
    model.always = sends(fixture("error__openai_404_model.json"), 404)
    assert "`gpt-9` does not exist" in ask(model).error


@pytest.mark.parametrize(
    "error_class",
    ["unauthorized", "forbidden", "model_missing", "not_found", "no_credit", "not_an_endpoint"],
)
def test_what_more_attempts_do_not_mend_needs_a_person(error_class: str) -> None:
    assert error_class in ATTENTION


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 502])
@pytest.mark.parametrize(
    "body", [b"", b"Bad gateway", b"<html>502</html>", b"null", b"[]", b"\xff\xfe", b"[" * 50_000]
)
def test_an_error_without_a_body_that_can_be_read_goes_by_its_status(
    model: FakeModel, status: int, body: bytes
) -> None:
    model.always = sends(body, status)
    assert ask(model).verdict == (R if status in (429, 500, 502) else F)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(model: FakeModel, status: int) -> None:
    model.always = sends(b"", status, headers={"Location": model.base_url})
    outcome = ask(model)
    assert (outcome.verdict, outcome.error_class, len(model.requests)) == (F, "redirect", 1)


def test_a_429_carries_its_wait(model: FakeModel) -> None:
    body = fixture("error__openai_429_rate.json")
    model.always = sends(body, 429, headers={"retry-after": "20"})
    assert ask(model).retry_after == 20.0


def test_a_429_without_a_wait_follows_the_ladder(model: FakeModel) -> None:
    model.always = sends(fixture("error__openai_429_rate.json"), 429)
    assert ask(model).retry_after is None
    assert unsaved(model).ladder == AGENT_LADDER


def test_a_web_page_is_no_endpoint(model: FakeModel) -> None:
    model.always = sends(fixture("page__proxy.html"), content_type="text/html; charset=utf-8")
    outcome = ask(model)
    assert (outcome.verdict, outcome.error_class) == (F, "not_an_endpoint")
    assert "/v1" in outcome.error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"{}",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{"text": "x"}]}',
        b'{"choices": {"message": "x"}}',
        b'{"choices": [{"message": "x"}]}',
        b"[" * 60_000,
        b'{"choices": [{"message": {"content": "Looks',
    ],
)
def test_an_answer_that_is_no_completion_is_a_retry(model: FakeModel, body: bytes) -> None:
    model.always = sends(body)
    outcome = ask(model)
    assert (outcome.verdict, outcome.error_class) == (R, "bad_answer")


@pytest.mark.parametrize("content", ["7", "true", "{}", "[1, null, {}]", '[{"type": "text"}]'])
def test_content_of_another_kind_is_an_empty_answer(model: FakeModel, content: str) -> None:
    model.always = sends(b'{"choices":[{"message":{"content":%b}}]}' % content.encode())
    outcome = ask(model)
    assert (outcome.verdict, outcome.answer) == (D, None)


def test_what_postgresql_cannot_keep_is_replaced(model: FakeModel) -> None:
    model.always = says("a\0b \ud800 c")
    outcome = ask(model)
    assert outcome.answer == {"type": "text", "text": "a�b ? c"}
    assert "\0" not in outcome.response


@pytest.mark.parametrize("keep", [50, 200, 500])
def test_a_stream_that_ends_too_early_is_a_retry(model: FakeModel, keep: int) -> None:
    model.always = streams(fixture("stream__openai.txt")[:keep])
    outcome = ask(model, stream=True)
    assert outcome.verdict == R
    assert outcome.error_class in ("truncated", "bad_answer")
    assert outcome.answer is None


def test_a_stream_whose_connection_breaks_is_a_retry(model: FakeModel) -> None:
    model.always = streams(fixture("stream__openai.txt")[:500], end=False)
    outcome = ask(model, stream=True)
    assert (outcome.verdict, outcome.error_class, outcome.ambiguous) == (R, "reset", True)


def test_an_empty_stream_is_a_retry(model: FakeModel) -> None:
    model.always = sends(b"", content_type=EVENTS)
    assert (ask(model).verdict, ask(model).error_class) == (R, "truncated")


@pytest.mark.parametrize("data", [b"data: nonsense\n\n", b"data: 7\n\n", b"data: [1]\n\n"])
def test_a_stream_of_something_else_is_a_retry(model: FakeModel, data: bytes) -> None:
    model.always = sends(data, content_type=EVENTS)
    assert (ask(model).verdict, ask(model).error_class) == (R, "bad_answer")


def test_an_error_in_the_middle_of_a_stream_counts_as_its_status(model: FakeModel) -> None:
    model.always = streams(fixture("stream__error_midway.txt"))
    outcome = ask(model, stream=True)
    assert (outcome.verdict, outcome.error_class, outcome.answer) == (R, "rate_limited", None)


def test_a_model_that_takes_too_long_is_a_retry(model: FakeModel) -> None:
    model.always = drip
    started = time.monotonic()
    outcome = ask(model, timeout_seconds=0.4)
    assert time.monotonic() - started < 3
    assert (outcome.verdict, outcome.error_class, outcome.ambiguous) == (R, "timeout", True)


def test_a_stream_that_never_ends_ends_with_the_time_of_the_attempt(model: FakeModel) -> None:
    words = b'data: {"choices":[{"delta":{"content":"and "}}]}\n\n' * 100
    model.always = streams(words, pause=0.02, size=50)
    started = time.monotonic()
    outcome = ask(model, stream=True, timeout_seconds=0.4)
    assert time.monotonic() - started < 3
    assert (outcome.verdict, outcome.error_class) == (R, "timeout")


def test_the_time_is_that_of_all_calls_of_an_attempt_together(model: FakeModel) -> None:
    def slowly(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.4)
        sends(fixture("error__openai_400_max_tokens.json"), 400)(handler)

    model.script = [slowly]
    model.always = drip
    started = time.monotonic()
    outcome = ask(model, max_tokens=5, timeout_seconds=0.6)
    assert time.monotonic() - started < 0.9
    assert (outcome.error_class, len(model.requests)) == ("timeout", 2)


def test_an_endpoint_that_hangs_up_is_a_retry(model: FakeModel) -> None:
    model.always = hangs_up
    outcome = ask(model)
    assert (outcome.verdict, outcome.error_class, outcome.ambiguous) == (R, "reset", True)


def test_nobody_listening_is_a_retry_that_surely_did_not_arrive() -> None:
    outcome = ask(FakeModel(base_url="http://127.0.0.1:9/v1"))
    assert (outcome.verdict, outcome.error_class, outcome.ambiguous) == (R, "connect", False)


def test_a_flood_is_bounded(model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions_calls, "BODY_LIMIT", 100_000)
    model.always = flood
    assert (ask(model).verdict, ask(model).error_class) == (F, "too_large")


@pytest.mark.parametrize("line", [b"data: x", b":" * 300 + b"\n"])
def test_a_stream_is_bounded_in_all_and_not_by_the_line(
    model: FakeModel, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    monkeypatch.setattr(completions_calls, "STREAM_LIMIT", 100_000)
    model.always = streams(line * 60_000, size=65_536)
    outcome = ask(model, stream=True)
    assert (outcome.verdict, outcome.error_class) == (F, "too_large")


def test_an_answer_that_is_more_than_an_agent_may_say_is_not_used(model: FakeModel) -> None:
    model.always = says("尺" * 400_000)
    outcome = ask(model)
    assert (outcome.verdict, outcome.answer) == (D, None)
    assert "longer" in outcome.error


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:9/v1", "http://[::1]:9/v1", "http://169.254.169.254/v1"]
)
def test_a_private_address_is_refused_unless_the_operator_allows_it(
    settings: Settings, base_url: str
) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    outcome = ask(FakeModel(base_url=base_url), lan=False)
    assert (outcome.verdict, outcome.error_class) == (F, "blocked")


def test_metadata_services_are_refused_even_where_private_addresses_are_allowed() -> None:
    outcome = ask(FakeModel(base_url="http://169.254.169.254/v1"), lan=True)
    assert (outcome.verdict, outcome.error_class) == (F, "blocked")


def test_every_error_says_something_for_a_person(model: FakeModel) -> None:
    def said(name: str, status: int) -> Outcome:
        model.always = sends(fixture(f"error__{name}.json"), status)
        return ask(model)

    assert all(said(name, status).error for name, status, *_ in ERRORS)
