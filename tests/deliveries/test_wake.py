"""Wake-ups: hints that runners hear, and what must not come of one."""

import os
import resource
import time

import pytest

from deliveries import wake
from deliveries.wake import Ear


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.HERMES_DATA_DIR = tmp_path


@pytest.fixture
def ear():
    made = Ear()
    yield made
    made.close()


def waited(ear, seconds=2.0):
    started = time.monotonic()
    ear.wait(seconds)
    return time.monotonic() - started


def test_a_hint_wakes_at_once(ear):
    wake._wake()
    assert waited(ear) < 0.5


def test_a_nudge_from_a_thread_wakes_at_once(ear):
    ear.nudge()
    assert waited(ear) < 0.5


def test_many_hints_wake_once(ear):
    for _ in range(10_000):
        wake._wake()
        ear.nudge()
    ear.wait(1)
    assert waited(ear, 0.05) >= 0.04


def test_a_negative_wait_is_no_wait(ear):
    assert waited(ear, -5.0) < 0.5


def test_stop_is_heard_and_counted(ear):
    assert wake.stop() == 1
    ear.wait(1)
    assert ear.stopping


def test_what_a_killed_runner_left_behind_is_cleared_away(ear, tmp_path):
    dead = Ear()
    os.rename(tmp_path / "run" / f"{os.getpid()}.wake", tmp_path / "run" / "1.wake")
    dead._hints.close()
    assert wake.stop() == 0
    assert not (tmp_path / "run" / "1.wake").exists()
    dead.close()


def test_a_nudge_that_comes_too_late_goes_nowhere(ear):
    late = Ear()
    late.close()
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]  # the numbers it has had
    try:
        late.nudge()
    finally:
        for descriptor in taken:
            os.close(descriptor)


def test_a_process_with_thousands_of_connections_still_hears():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("this process may not open that many")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    ear = None
    try:
        ear = Ear()
        wake._wake()
        assert waited(ear) < 0.5
    finally:
        if ear:
            ear.close()
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
