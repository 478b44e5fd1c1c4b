"""The runner: its threads, its sleep, its places."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from deliveries import claims, runner
from deliveries.models import Delivery, Lane
from deliveries.outcomes import Outcome
from deliveries.runner import POLL, LaneRunner
from deliveries.wake import Ear

from .places import DOWN, Later, make_place, post


@pytest.fixture
def ear(settings, tmp_path):
    settings.HERMES_DATA_DIR = tmp_path
    made = Ear()
    yield made
    made.close()


def out(later):
    """Return how many sends there are for each place."""
    counts = {}
    for _, (item,) in later.work:
        counts[item.delivery.lane_id] = counts.get(item.delivery.lane_id, 0) + 1
    return counts


def naps(lane_runner, ear, monkeypatch):
    """Return for how many seconds the runner would sleep now."""
    asked = []
    monkeypatch.setattr(ear, "wait", asked.append)
    lane_runner.sleep(1.0)
    return asked[0] if asked else 0.0


@pytest.mark.django_db
def test_sends_that_hang_give_their_places_to_others(monkeypatch):
    dead = [make_place(f"dead {number}", cap=4) for number in range(3)]
    for place in dead:
        post(place, *"abcd")
    later = Later()
    lane_runner = LaneRunner(later, places=10)
    lane_runner.cycle()
    assert len(later.work) == 10
    post(make_place("healthy"), "x")
    lane_runner.cycle()
    assert "x" not in later.texts
    monkeypatch.setattr(runner, "SLOW", -1.0)  # a second goes by
    lane_runner.cycle()
    assert "x" in later.texts


@pytest.mark.django_db
def test_there_is_an_end_to_how_many_may_hang(monkeypatch):
    monkeypatch.setattr(runner, "SLOW", -1.0)
    for number in range(30):
        post(make_place(f"dead {number}"), "a")
    later = Later()
    lane_runner = LaneRunner(later, places=2)
    for _ in range(20):
        lane_runner.cycle()
    assert len(later.work) == 2 * (1 + runner.SLOW_PER_PLACE)


@pytest.mark.django_db
def test_lanes_at_their_cap_do_not_hide_the_others_from_a_claim(monkeypatch):
    monkeypatch.setattr(claims, "WINDOW", 8)
    slow, free = make_place("slow", cap=2), make_place("free")
    post(slow, *"abcdefghijkl")
    post(free, "x")
    later = Later()
    lane_runner = LaneRunner(later, places=10)
    lane_runner.cycle()
    lane_runner.cycle()
    assert "x" in later.texts
    assert out(later)[slow.lane_id] == 2


@pytest.mark.django_db
def test_a_backlog_that_grows_behind_a_full_lane_is_parked():
    slow = make_place("slow", cap=1)
    later = Later()
    lane_runner = LaneRunner(later, places=10)
    for text in range(claims.BACKLOG + 2):
        post(slow, str(text))
        lane_runner.cycle()
    lane_runner.cycle()
    assert Lane.objects.get(pk=slow.lane_id).state == "flushing"
    assert Delivery.objects.filter(next_attempt_at__isnull=False).count() == 1


@pytest.mark.django_db
def test_flushing_lanes_share_what_room_there_is():
    places = [make_place(f"place {number}", state="flushing") for number in range(6)]
    for place in places:
        post(place, *"abcdefgh")
    later = Later()
    lane_runner = LaneRunner(later, places=4)
    sent = set()
    for _ in range(40):
        lane_runner.cycle()
        sent |= set(out(later))
        later.run_one()
    assert len(sent) == 6


@pytest.mark.django_db
def test_a_runner_with_nothing_to_do_sleeps_and_asks_little(
    ear, monkeypatch, django_assert_max_num_queries
):
    lane_runner = LaneRunner(Later(), 10, ear)
    with django_assert_max_num_queries(3):
        lane_runner.cycle()
        assert naps(lane_runner, ear, monkeypatch) == POLL


@pytest.mark.django_db
def test_it_sleeps_no_longer_than_to_the_next_rung(ear, monkeypatch):
    [delivery] = post(make_place(), "a")
    lane_runner = LaneRunner(Later(), 10, ear)
    Delivery.objects.filter(pk=delivery.pk).update(
        next_attempt_at=timezone.now() + timedelta(seconds=0.1)
    )
    lane_runner.cycle()
    assert 0.0 < naps(lane_runner, ear, monkeypatch) <= 0.1


@pytest.mark.django_db
def test_it_does_not_spin_while_what_is_due_waits_for_its_lanes_cap(ear, monkeypatch):
    post(make_place(cap=1), *"abc")
    lane_runner = LaneRunner(Later(), 10, ear)
    lane_runner.cycle()
    assert naps(lane_runner, ear, monkeypatch) == POLL


@pytest.mark.django_db
def test_it_does_not_spin_while_the_claims_of_another_runner_fill_a_lane(ear, monkeypatch):
    place = make_place(cap=1)
    post(place, *"abc")
    LaneRunner(Later(), 10).cycle()  # it may be dead; its lease says until when
    lane_runner = LaneRunner(Later(), 10, ear)
    assert lane_runner.cycle() == 0
    assert naps(lane_runner, ear, monkeypatch) == POLL


@pytest.mark.django_db
def test_it_does_not_spin_while_all_its_places_are_taken(ear, monkeypatch):
    post(make_place(), *"abc")
    lane_runner = LaneRunner(Later(), 1, ear)
    lane_runner.cycle()
    assert lane_runner.cycle() == 0
    assert naps(lane_runner, ear, monkeypatch) == POLL


@pytest.mark.django_db
def test_it_goes_on_at_once_when_more_is_due_than_one_claim_looks_at(ear, monkeypatch):
    monkeypatch.setattr(claims, "WINDOW", 4)
    for number in range(6):
        post(make_place(f"place {number}"), "a")
    lane_runner = LaneRunner(Later(), 10, ear)
    assert lane_runner.cycle() == 4
    assert naps(lane_runner, ear, monkeypatch) == 0.0
    assert lane_runner.cycle() == 2


@pytest.mark.django_db(transaction=True)
def test_black_holes_do_not_delay_the_others(ear):
    """Ten lanes that hang, forty that answer, and threads for fewer sends than would hang."""
    release = threading.Event()

    def hang(message):
        release.wait(10)
        return DOWN

    healthy = [make_place(f"place {number}") for number in range(40)]
    for number in range(10):
        dead = make_place(f"dead {number}")
        dead.always = hang
        post(dead, *"abcdef")
    seen = {}

    def arrived(message):
        seen[message.text] = time.monotonic()
        return Outcome.delivered(status=200)

    with ThreadPoolExecutor(16 * (1 + runner.SLOW_PER_PLACE)) as pool:
        lane_runner = LaneRunner(pool, 16, ear)
        try:
            run_for(lane_runner, runner.SLOW + 0.5)
            waits = []
            for number, place in enumerate(healthy):
                place.always = arrived
                posted = time.monotonic()
                post(place, f"{number}")
                run_until(lane_runner, lambda number=number: f"{number}" in seen)
                waits.append(seen[f"{number}"] - posted)
        finally:
            release.set()
            lane_runner.drain(5)
    assert sorted(waits)[-2] < 0.5
    connection.close()


def run_for(lane_runner, seconds):
    until = time.monotonic() + seconds
    run_until(lane_runner, lambda: time.monotonic() > until, seconds + 1)


def run_until(lane_runner, done, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        lane_runner.cycle()
        if not done():
            lane_runner.sleep(0.05)
