"""When the watchdog calls a cluster frozen, by its own clock, and how often it says so."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from hermes_site.gateway import watchdog
from hermes_site.gateway.watchdog import FROZEN_AFTER, STUCK_AFTER, Pulse, Sign, Watchdog
from tests.gateway.process import eventually

BEAT = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_runner_that_never_beat_is_silent_since_the_watch_began() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.listen({}, now=107.0)
    assert pulse.silence(107.0) == 7.0


def test_a_new_beat_ends_the_silence_whatever_its_own_clock_says() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.listen({0: Sign(BEAT)}, now=105.0)
    assert pulse.silence(105.0) == 0.0
    pulse.listen({0: Sign(BEAT - timedelta(days=1))}, now=109.0)
    assert pulse.silence(109.0) == 0.0


def test_the_same_beat_seen_again_is_silence() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.listen({0: Sign(BEAT)}, now=101.0)
    pulse.listen({0: Sign(BEAT)}, now=111.0)
    assert pulse.silence(111.0) == 10.0


def test_the_most_silent_of_several_runners_counts() -> None:
    pulse = Pulse([0, 1], now=100.0)
    pulse.listen({0: Sign(BEAT)}, now=106.0)
    assert pulse.silence(106.0) == 6.0


def test_a_slot_that_is_no_longer_in_use_does_not_count() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.listen({0: Sign(BEAT), 5: Sign(BEAT)}, now=106.0)
    assert pulse.silence(106.0) == 0.0


def test_silence_while_nobody_could_listen_is_forgiven() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.forgive(now=130.0)
    pulse.listen({}, now=131.0)
    assert pulse.silence(131.0) == 1.0


def beating(since: float, until: float, handover_at: datetime | None = None) -> Pulse:
    """Return the pulse of a runner that beat every second."""
    pulse = Pulse([0], now=since)
    for second in range(round(until - since) + 1):
        pulse.listen({0: Sign(BEAT + timedelta(seconds=second), handover_at)}, since + second)
    return pulse


def test_a_runner_that_beats_and_wants_no_successor_is_well() -> None:
    assert beating(100.0, 160.0).frozen(160.0) == ""


def test_a_runner_that_waits_for_a_successor_for_a_moment_is_well() -> None:
    assert beating(100.0, 105.0, handover_at=BEAT).frozen(105.0) == ""


def test_a_successor_that_never_comes_means_a_frozen_cluster_while_the_runner_still_beats() -> None:
    late = 100.0 + STUCK_AFTER + 1
    assert "waited for its successor" in beating(100.0, late, handover_at=BEAT).frozen(late)


def test_a_successor_that_came_ends_the_wait_even_if_it_hands_over_itself() -> None:
    pulse = beating(100.0, 110.0, handover_at=BEAT)
    pulse.listen({0: Sign(BEAT - timedelta(days=1), BEAT + timedelta(seconds=12))}, 111.0)
    assert pulse.waiting(115.0) == 4.0


def test_a_runner_that_is_silent_means_a_frozen_cluster() -> None:
    pulse = beating(100.0, 110.0)
    assert "no lane runner was heard" in pulse.frozen(110.0 + FROZEN_AFTER + 1)


@pytest.mark.django_db(transaction=True)
def test_a_cluster_is_called_frozen_once_and_its_successor_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOOK_EVERY", "SILENT_AFTER", "FROZEN_AFTER", "START_GRACE"):
        monkeypatch.setattr(watchdog, name, getattr(watchdog, name) / 50)
    reasons: list[str] = []
    watching = Watchdog(reasons.append)
    watching.start()
    try:
        time.sleep(0.5)
        assert not reasons  # there is no cluster yet
        for count in (1, 2):
            watching.cluster_started()
            eventually(lambda: len(reasons) == count, 5, "a call")  # noqa: B023
            time.sleep(0.5)
            assert len(reasons) == count
    finally:
        watching.end()
        watching.join()
    assert "no lane runner was heard" in reasons[0]
