import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from deliveries.outbound import TimedOut
from deliveries.outcomes import Outcome, Verdict
from platforms import tokens
from platforms.senders.telegram import Telegram
from platforms.tokens import Grant, TokenWire, key_of, lifetime_of


@pytest.fixture(autouse=True)
def no_tokens() -> Iterator[None]:
    tokens.forget_all()
    yield
    tokens.forget_all()


class Lender:
    """Lends ``token-1``, ``token-2`` …, and counts how often it was asked."""

    def __init__(self, lifetime: float = 7200.0, delay: float = 0.0) -> None:
        self.asked = 0
        self.lifetime = lifetime
        self.delay = delay
        self.failure: Outcome | None = None

    def __call__(self, wire: TokenWire) -> Grant | Outcome:
        self.asked += 1
        time.sleep(self.delay)
        return self.failure or Grant(f"token-{self.asked}", self.lifetime)


def call(lender: Lender, refused: tuple[str, ...] = (), key: str = "key") -> str | Outcome:
    wire = TokenWire(Telegram(), key, lender)
    return wire.with_token(lambda token: token, lambda token: token in refused)


def test_a_token_is_fetched_once_and_kept() -> None:
    lender = Lender()
    assert [call(lender) for _call in range(3)] == ["token-1"] * 3
    assert lender.asked == 1


def test_another_credential_has_another_token() -> None:
    lender = Lender()
    assert call(lender, key=key_of("feishu", "https://a", "id", "old secret")) == "token-1"
    assert call(lender, key=key_of("feishu", "https://a", "id", "new secret")) == "token-2"


def test_a_token_is_fetched_anew_before_it_ends() -> None:
    lender = Lender(lifetime=0.2)
    assert call(lender) == "token-1"
    assert call(lender) == "token-1"
    time.sleep(0.12)  # more than the half that is used of so short a time
    assert call(lender) == "token-2"


def test_a_token_that_is_refused_is_replaced_once() -> None:
    lender = Lender()
    assert call(lender) == "token-1"
    assert call(lender, refused=("token-1",)) == "token-2"
    assert call(lender) == "token-2"


def test_a_second_refusal_is_the_answer() -> None:
    lender = Lender()
    assert call(lender, refused=("token-1", "token-2")) == "token-2"
    assert lender.asked == 2


def test_a_token_that_others_replaced_is_not_replaced_again() -> None:
    lender = Lender()
    assert call(lender) == "token-1"
    assert call(lender, refused=("token-1",)) == "token-2"
    tokens.forget("key", "token-1")
    assert call(lender) == "token-2"


def test_many_at_once_make_one_call() -> None:
    lender = Lender(delay=0.1)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _number: call(lender), range(16)))
    assert found == ["token-1"] * 16
    assert lender.asked == 1


def test_a_failure_is_the_failure_of_all_who_waited() -> None:
    lender = Lender(delay=0.3)
    lender.failure = Outcome.failed("unauthorized", "wrong secret", faults_channel=True)
    start = threading.Barrier(8)

    def together(_number: int) -> str | Outcome:
        start.wait()
        return call(lender)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(together, range(8)))
    assert found == [lender.failure] * 8
    assert lender.asked == 1


def test_a_failure_is_not_kept() -> None:
    lender = Lender()
    lender.failure = Outcome.retry("server_error", "down")
    assert isinstance(call(lender), Outcome)
    lender.failure = None
    assert call(lender) == "token-2"


def test_a_token_that_is_not_answered_is_a_retry_that_surely_sent_nothing() -> None:
    def fetch(wire: TokenWire) -> Grant:
        raise TimedOut("no answer", sent=True)

    found = TokenWire(Telegram(), "key", fetch).with_token(str, lambda _token: False)
    assert isinstance(found, Outcome)
    assert (found.verdict, found.error_class) == (Verdict.RETRY, "timeout")
    assert not found.ambiguous


def test_who_waits_too_long_comes_back_without_climbing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "LONGEST_WAIT", 0.1)
    lender = Lender(delay=0.6)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(call, lender)
        time.sleep(0.2)
        second = call(lender)
        assert first.result() == "token-1"
    assert isinstance(second, Outcome)
    assert (second.verdict, second.error_class) == (Verdict.RETRY, "local_rate_limit")


def test_a_fetch_that_raises_leaves_nobody_waiting() -> None:
    def fetch(wire: TokenWire) -> Grant:
        raise RuntimeError("unforeseen")

    with pytest.raises(RuntimeError):
        TokenWire(Telegram(), "key", fetch).with_token(str, lambda _token: False)
    assert call(Lender()) == "token-1"


def test_a_token_is_taken_out_of_what_is_recorded() -> None:
    wire = TokenWire(Telegram(), "key", Lender())
    wire.with_token(lambda token: token, lambda token: token == "token-1")
    assert wire.clean("token-1 token-2") == "*** ***"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (7200, 7200),
        ("7200", 7200),
        (90.5, 90.5),
        (None, 7200),
        ("soon", 7200),
        (-5, 7200),
        (0, 7200),
        (float("nan"), 7200),
        (10**400, 7200),
        (10**9, 86_400),
        ({}, 7200),
    ],
)
def test_a_lifetime_is_a_sensible_number_of_seconds(value: object, seconds: float) -> None:
    assert lifetime_of(value) == seconds
