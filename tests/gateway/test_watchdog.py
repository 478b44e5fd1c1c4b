"""When the watchdog calls a runner silent, by its own clock."""

from datetime import UTC, datetime, timedelta

from hermes_site.gateway.watchdog import Pulse

BEAT = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_runner_that_never_beat_is_silent_since_the_watch_began() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.listen({}, now=107.0)
    assert pulse.silence(107.0) == 7.0


def test_a_new_beat_ends_the_silence_whatever_its_own_clock_says() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.listen({0: BEAT}, now=105.0)
    assert pulse.silence(105.0) == 0.0
    pulse.listen({0: BEAT - timedelta(days=1)}, now=109.0)
    assert pulse.silence(109.0) == 0.0


def test_the_same_beat_seen_again_is_silence() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.listen({0: BEAT}, now=101.0)
    pulse.listen({0: BEAT}, now=111.0)
    assert pulse.silence(111.0) == 10.0


def test_the_most_silent_of_several_runners_counts() -> None:
    pulse = Pulse([0, 1], now=100.0)
    pulse.listen({0: BEAT}, now=106.0)
    assert pulse.silence(106.0) == 6.0


def test_a_slot_that_is_no_longer_in_use_does_not_count() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.listen({0: BEAT, 5: BEAT}, now=106.0)
    assert pulse.silence(106.0) == 0.0


def test_silence_while_nobody_could_listen_is_forgiven() -> None:
    pulse = Pulse([0], now=100.0)
    pulse.forgive(now=130.0)
    pulse.listen({}, now=131.0)
    assert pulse.silence(131.0) == 1.0
