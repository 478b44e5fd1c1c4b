from collections.abc import Iterator

import pytest

from deliveries.outcomes import Verdict
from platforms import pacing
from platforms.pacing import Rate

RATE = Rate(per_second=2, burst=3)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1000.0]
    monkeypatch.setattr(pacing.time, "monotonic", lambda: now[0])
    pacing.forget()
    yield now
    pacing.forget()


def waits(count: int, key: str = "a", first: int = 0) -> list[float]:
    found = (pacing.put_off(key, turn, RATE) for turn in range(first, first + count))
    return [outcome.retry_after or 0 if outcome else 0 for outcome in found]


def test_a_burst_goes_at_once_and_what_follows_by_the_rate() -> None:
    assert waits(6) == [0, 0, 0, 0.5, 1.0, 1.5]


def test_who_has_to_wait_is_retried_without_climbing_the_ladder() -> None:
    waits(3)
    outcome = pacing.put_off("a", "next", RATE)
    assert outcome is not None
    assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "local_rate_limit")
    assert not outcome.ambiguous
    assert not outcome.faults_channel


def test_who_comes_back_in_time_finds_the_turn_kept(clock: list[float]) -> None:
    waits(5)
    clock[0] += 0.5
    # Whoever is new gets a turn behind those that wait already.
    assert waits(1, first=10) == [1.0]
    assert pacing.put_off("a", 3, RATE) is None
    clock[0] += 0.5
    assert pacing.put_off("a", 4, RATE) is None


def test_who_comes_back_early_waits_for_the_same_moment(clock: list[float]) -> None:
    waits(5)
    clock[0] += 0.2
    outcome = pacing.put_off("a", 4, RATE)
    assert outcome is not None
    assert outcome.retry_after == pytest.approx(0.8)


def test_after_a_pause_a_burst_goes_again(clock: list[float]) -> None:
    waits(3)
    clock[0] += 60
    assert waits(4, first=10) == [0, 0, 0, 0.5]


def test_buckets_do_not_know_each_other() -> None:
    waits(3)
    assert waits(3, key="b") == [0, 0, 0]


def test_a_closed_bucket_lets_nobody_go_until_it_opens(clock: list[float]) -> None:
    pacing.close("a", 5)
    pacing.close("a", 2)
    assert waits(1) == [5.0]
    assert pacing.put_off("a", "no rate") is not None
    assert pacing.put_off("b", "no rate") is None
    clock[0] += 5
    assert pacing.put_off("a", "no rate") is None


def test_the_memory_of_buckets_and_turns_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MOST_BUCKETS", 3)
    monkeypatch.setattr(pacing, "MOST_TURNS", 2)
    for key in "abcde":
        waits(9, key=key)
    assert list(pacing._buckets) == ["c", "d", "e"]
    assert all(len(bucket.turns) == 2 for bucket in pacing._buckets.values())


def test_a_buckets_name_tells_no_credential() -> None:
    key = pacing.key_of("slack", "xoxb-secret", "C1")
    assert "secret" not in key
    assert key == pacing.key_of("slack", "xoxb-secret", "C1")
    assert key != pacing.key_of("slack", "xoxb-secretC", "1")
