"""Lanes: caps, order, probing, flushing; one destination's trouble stays its own."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import time_machine
from django.db import connections
from django.utils import timezone

from deliveries import claims
from deliveries.claims import BACKLOG, claim
from deliveries.clockwork import unstick
from deliveries.lanes import hold
from deliveries.models import Delivery, Lane
from deliveries.results import FAILING_AFTER
from deliveries.runner import LaneRunner, run_until_idle
from deliveries.services import release
from deliveries.transactions import write_transaction

from .places import DOWN, OK, REFUSED, Later, make_place, post

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def state(place):
    return Lane.objects.get(pk=place.lane_id).state


@pytest.mark.django_db
def test_no_more_than_the_cap_is_in_flight_on_a_lane():
    place = make_place(cap=2)
    post(place, *"abcde")
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    runner.cycle()
    assert len(later.work) == 2
    later.run_one()
    runner.cycle()
    assert len(later.work) == 2


@pytest.mark.django_db
def test_a_full_lane_leaves_the_threads_to_the_others():
    busy, free = make_place("busy", cap=1), make_place("free")
    post(busy, *"abc")
    post(free, "x")
    later = Later()
    LaneRunner(later, places=10).cycle()
    assert sorted(args[0].message.text for _, args in later.work) == ["a", "x"]


@pytest.mark.django_db
def test_a_backlog_larger_than_the_window_does_not_hide_another_lane():
    busy, free = make_place("busy", cap=2), make_place("free")
    post(busy, *[str(i) for i in range(300)])
    post(free, "x")
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    runner.cycle()
    assert "x" in [args[0].message.text for _, args in later.work]


@pytest.mark.django_db
def test_a_backlog_is_drained_to_its_end_oldest_first():
    place = make_place(cap=1)
    texts = [str(i) for i in range(BACKLOG + 20)]
    post(place, *texts)
    run_until_idle()
    assert place.texts == texts
    assert state(place) == "open"


@pytest.mark.django_db
def test_deliveries_of_one_conversation_go_out_one_after_the_other():
    place = make_place()
    post(place, "a", "b", "c", conversation=uuid4())
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    assert [args[0].message.text for _, args in later.work] == ["a"]
    later.run_one()
    runner.cycle()
    assert [args[0].message.text for _, args in later.work] == ["b"]


@pytest.mark.django_db
def test_a_delivery_that_waits_for_its_rung_holds_back_its_conversation_only():
    place = make_place()
    place.script = [DOWN, DOWN]
    with time_machine.travel(START, tick=False):
        post(place, "a", "b", conversation=uuid4())
        run_until_idle()
        post(place, "other")
        run_until_idle()
    assert place.texts == ["a", "a", "other"]


@pytest.mark.django_db
def test_what_comes_next_in_a_conversation_follows_a_failure_for_good():
    place = make_place()
    place.script = [REFUSED]
    post(place, "a", "b", conversation=uuid4())
    run_until_idle()
    assert place.texts == ["a", "b"]


@pytest.mark.django_db
def test_a_failing_lane_parks_everything_but_one_probe():
    place = make_place(cap=4)
    place.always = DOWN
    with time_machine.travel(START, tick=False):
        post(place, *"abcdefgh")
        run_until_idle()
    assert state(place) == "failing"
    scheduled = Delivery.objects.filter(lane_id=place.lane_id, next_attempt_at__isnull=False)
    assert scheduled.count() == 1


@pytest.mark.django_db
def test_a_failing_lane_is_not_hammered():
    place = make_place(cap=4)
    place.always = DOWN
    with time_machine.travel(START, tick=False) as clock:
        post(place, *"abcdefgh")
        run_until_idle()
        before = len(place.sent)
        for _ in range(25):
            clock.shift(1)
            run_until_idle()
    assert len(place.sent) == before


@pytest.mark.django_db
def test_when_the_probe_arrives_the_rest_follows():
    place = make_place(cap=4)
    place.always = DOWN
    with time_machine.travel(START, tick=False) as clock:
        post(place, *"abcdefgh")
        run_until_idle()
        place.always = OK
        clock.shift(200)
        run_until_idle()
    assert Delivery.objects.filter(lane_id=place.lane_id, status="delivered").count() == 8
    assert state(place) == "open"


@pytest.mark.django_db
def test_a_refusal_shows_that_a_failing_destination_is_alive():
    place = make_place()
    place.script = [DOWN] * FAILING_AFTER + [REFUSED]
    with time_machine.travel(START, tick=False) as clock:
        post(place, "a")
        run_until_idle()
        post(place, "b")
        run_until_idle()
        clock.shift(130)
        run_until_idle()
    assert place.texts[-1] == "b"
    assert state(place) == "open"


@pytest.mark.django_db
def test_a_held_lane_sends_nothing_and_loses_nothing():
    place = make_place()
    hold(place.lane_id)
    post(place, "a", "b")
    run_until_idle()
    assert place.texts == []
    assert Delivery.objects.filter(pending_lane=place.lane_id).count() == 2


@pytest.mark.django_db
def test_release_sends_what_waited_oldest_first_and_once():
    place = make_place(state="held", cap=4)
    post(place, "a")
    run_until_idle()
    post(place, "b", "c")
    run_until_idle()
    assert release(place.lane_id) == 3
    run_until_idle()
    assert place.texts == ["a", "b", "c"]
    assert state(place) == "open"


@pytest.mark.django_db
def test_a_released_lane_starts_one_at_a_time():
    place = make_place(state="held", cap=4)
    post(place, *"abc")
    release(place.lane_id)
    later = Later()
    LaneRunner(later, places=10).cycle()
    assert len(later.work) == 1


@pytest.mark.django_db
def test_new_events_queue_behind_what_is_being_flushed():
    place = make_place(state="held", cap=4)
    post(place, "a", "b")
    release(place.lane_id)
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    post(place, "c")
    while later.work:
        later.run_one()
        runner.cycle()
    assert place.texts == ["a", "b", "c"]


@pytest.mark.django_db
def test_releasing_an_open_lane_changes_nothing():
    place = make_place()
    place.script = [DOWN, DOWN]
    with time_machine.travel(START, tick=False):
        [delivery] = post(place, "a")
        run_until_idle()
        due = Delivery.objects.get(pk=delivery.pk).next_attempt_at
        release(place.lane_id)
        assert Delivery.objects.get(pk=delivery.pk).next_attempt_at == due


@pytest.mark.django_db
def test_a_lane_that_waits_for_nothing_is_freed_by_the_clockwork():
    place = make_place()
    [delivery] = post(place, "a")
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=None)
    assert unstick(timezone.now()) == 1
    run_until_idle()
    assert place.texts == ["a"]


@pytest.mark.django_db
def test_a_failing_lane_tries_another_delivery_after_a_while():
    place = make_place()
    place.always = lambda m: DOWN if m.text == "poison" else OK
    with time_machine.travel(START, tick=False) as clock:
        [poison] = post(place, "poison")
        for _ in range(5):
            run_until_idle()
            poison.refresh_from_db()
            clock.move_to(poison.next_attempt_at)
        run_until_idle()
        post(place, "fine")
        run_until_idle()
        assert "fine" not in place.texts
        clock.shift(timedelta(minutes=6))
        unstick(timezone.now())
        run_until_idle()
        assert "fine" in place.texts


@pytest.mark.django_db(transaction=True)
def test_two_workers_and_one_due_row_make_one_send():
    place = make_place()
    post(place, "a")
    barrier = threading.Barrier(8)
    claimed = []

    def work():
        barrier.wait()
        try:
            with write_transaction():  # not the engine's own: the claim alone must do
                rows, _ = claim(uuid4(), 10, timezone.now())
            claimed.extend(rows)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 1


@pytest.mark.django_db
def test_a_result_without_its_claim_changes_no_delivery():
    place = make_place()
    [delivery] = post(place, "a")
    later = Later()
    runner = LaneRunner(later, places=1)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        runner.cycle()
        clock.shift(30)  # the lease runs out, another worker takes it and delivers
        run_until_idle()
        place.script = [REFUSED]
        later.run_one()
        runner.cycle()
    delivery.refresh_from_db()
    assert delivery.status == "delivered"


@pytest.mark.django_db
def test_a_long_conversation_does_not_hide_the_heads_of_those_behind_it(monkeypatch):
    monkeypatch.setattr(claims, "WINDOW", 4)
    place = make_place()
    post(place, *"abcdef", conversation=uuid4())
    post(place, "other", conversation=uuid4())
    post(place, "alone")
    hold(place.lane_id)
    Delivery.objects.update(next_attempt_at=None)
    rows = list(Delivery.objects.order_by("id").values_list("pk", flat=True))
    assert claims.oldest_heads(place.lane_id, 5) == [rows[0], rows[6], rows[7]]
