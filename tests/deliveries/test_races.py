"""Two things at once: what a person, another runner or the clock does while an attempt is out."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import time_machine
from django.db import connections
from django.utils import timezone

from deliveries.claims import claim
from deliveries.lanes import hold, touch
from deliveries.models import Attempt, Delivery, Lane
from deliveries.outcomes import Outcome
from deliveries.runner import LaneRunner, run_until_idle
from deliveries.services import redeliver, release
from deliveries.transactions import engine_transaction

from .places import DOWN, OK, REFUSED, Later, make_place, post

pytestmark = pytest.mark.django_db
START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def lane_of(place):
    return Lane.objects.get(pk=place.lane_id)


def in_flight(place, *texts, **options):
    """Post, claim, and return what waits to be sent, with its runner."""
    deliveries = post(place, *texts, **options)
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    return deliveries, later, runner


@pytest.mark.parametrize("outcome", [OK, REFUSED, DOWN], ids=["ok", "refused", "down"])
@pytest.mark.parametrize("state", ["open", "failing", "flushing"])
def test_a_lane_that_is_held_while_an_attempt_is_out_stays_held(state, outcome):
    place = make_place(state=state, ease=3, failures=2)
    _, later, runner = in_flight(place, "a", "b")
    assert later.work
    hold(place.lane_id)
    place.always = outcome
    later.run_all()
    runner.cycle()
    assert lane_of(place).state == "held"


def test_a_backlog_does_not_open_a_lane_that_was_held(monkeypatch):
    from deliveries import claims

    place = make_place(state="held")
    monkeypatch.setattr(claims, "BACKLOG", 3)
    post(place, *"abcdefgh")
    run_until_idle()
    assert lane_of(place).state == "held"
    assert place.texts == []


def test_what_fails_after_its_lane_was_held_waits_with_the_rest():
    place = make_place()
    place.always = DOWN
    [delivery], later, runner = in_flight(place, "a")
    hold(place.lane_id)
    later.run_all()
    runner.cycle()
    run_until_idle()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.next_attempt_at, delivery.claim) == ("pending", None, None)
    assert place.texts == ["a"]


def test_the_top_of_the_ladder_does_not_hold_a_destination_that_was_changed_meanwhile():
    place = make_place()
    place.always = DOWN
    [delivery] = post(place, "a")
    Delivery.objects.filter(pk=delivery.pk).update(failures=7)
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    touch(place.lane_id)  # another address, another secret
    later.run_all()
    place.always = OK
    runner.cycle()
    later.run_all()
    runner.cycle()
    delivery.refresh_from_db()
    assert (lane_of(place).state, place.gave_up) == ("open", 0)
    assert delivery.status == "delivered"


def test_a_lane_that_was_released_is_not_given_up_by_what_was_out_before():
    place = make_place()
    place.always = DOWN
    [delivery, *_] = post(place, "a", "b")
    Delivery.objects.filter(pk=delivery.pk).update(failures=7)
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    hold(place.lane_id)
    release(place.lane_id)
    later.run_all()
    place.always = OK
    runner.cycle()
    while later.work:
        later.run_all()
        runner.cycle()
    assert place.gave_up == 0
    assert Delivery.objects.filter(lane_id=place.lane_id, status="delivered").count() == 2


def test_release_during_a_flush_is_not_undone_by_the_flush_that_ends():
    place = make_place(state="flushing")
    stale = lane_of(place)
    release(place.lane_id)
    from deliveries.claims import _settle

    _settle(stale)
    assert lane_of(place).state == "flushing"


def test_an_outcome_of_an_earlier_attempt_under_the_same_claim_changes_nothing():
    place = make_place()
    with time_machine.travel(START, tick=False) as clock:
        [delivery], later, runner = in_flight(place, "a")
        clock.shift(30)
        runner.cycle()  # its own lease ran out, and it claims the delivery anew
        assert len(later.work) == 2
        place.script = [DOWN]
        later.run_one()
        runner.cycle()
        delivery.refresh_from_db()
        assert delivery.claim is not None
        later.run_one()
        runner.cycle()
    delivery.refresh_from_db()
    assert delivery.status == "delivered"
    verdicts = Attempt.objects.filter(delivery=delivery).order_by("number")
    assert list(verdicts.values_list("verdict", flat=True)) == ["retry", "delivered"]


def test_redeliver_closes_the_attempt_that_a_dead_worker_left():
    place = make_place()
    with time_machine.travel(START, tick=False) as clock:
        [delivery], _, _ = in_flight(place, "a")
        clock.shift(30)
        assert redeliver(delivery)
        run_until_idle()
    attempts = Attempt.objects.filter(delivery=delivery).order_by("number")
    assert list(attempts.values_list("number", "verdict", "error_class")) == [
        (1, "retry", "interrupted"),
        (2, "delivered", ""),
    ]


def test_redeliver_again_and_again_numbers_attempts_on():
    place = make_place()
    [delivery] = post(place, "a")
    for _ in range(3):
        run_until_idle()
        assert redeliver(delivery)
    run_until_idle()
    numbers = Attempt.objects.filter(delivery=delivery).order_by("number")
    assert list(numbers.values_list("number", flat=True)) == [1, 2, 3, 4]


def test_a_delivery_that_is_older_than_its_integer_can_say_is_delivered_all_the_same():
    place = make_place()
    [delivery] = post(place, "a")
    Delivery.objects.filter(pk=delivery.pk).update(
        created_at=timezone.now() - timedelta(days=29), redelivered_at=None
    )
    run_until_idle()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.latency_ms) == ("delivered", 2**31 - 1)


def test_the_latency_of_a_redelivery_counts_from_the_redelivery():
    place = make_place()
    with time_machine.travel(START, tick=False) as clock:
        [delivery] = post(place, "a")
        run_until_idle()
        clock.shift(timedelta(days=3))
        redeliver(delivery)
        clock.shift(2)
        run_until_idle()
    delivery.refresh_from_db()
    assert delivery.latency_ms == 2000


@pytest.mark.parametrize("step", [timedelta(hours=-3), timedelta(hours=3)], ids=["back", "forth"])
def test_a_clock_that_is_set_during_an_attempt_loses_nothing(step):
    place = make_place()
    with time_machine.travel(START, tick=False) as clock:
        [delivery], later, runner = in_flight(place, "a")
        clock.shift(step)
        later.run_all()
        runner.cycle()
    delivery.refresh_from_db()
    assert (delivery.status, len(place.sent)) == ("delivered", 1)
    assert delivery.latency_ms >= 0


def test_a_failing_lane_is_tried_again_after_the_clock_was_set_back():
    place = make_place(state="failing", failed_at=START + timedelta(hours=5))
    with time_machine.travel(START, tick=False):
        post(place, "a")
        run_until_idle()
    assert place.texts == ["a"]


def test_what_comes_next_in_a_conversation_waits_for_an_attempt_of_another_runner():
    place, conversation = make_place(), uuid4()
    _, later, runner = in_flight(place, "a", "b", conversation=conversation)
    assert run_until_idle() == 0
    later.run_all()
    runner.cycle()
    later.run_all()
    assert place.texts == ["a", "b"]


def test_a_redelivered_head_goes_before_what_follows_in_its_conversation():
    place, conversation = make_place(state="held"), uuid4()
    [first] = post(place, "a", conversation=conversation)
    Delivery.objects.filter(pk=first.pk).update(
        status="failed", pending_lane=None, next_attempt_at=None
    )
    post(place, "b", conversation=conversation)
    redeliver(first)
    release(place.lane_id)
    run_until_idle()
    assert place.texts == ["a", "b"]


@pytest.mark.django_db(transaction=True)
def test_two_runners_respect_the_cap_of_a_lane_together():
    place = make_place(cap=3)
    post(place, *[str(number) for number in range(20)])
    barrier = threading.Barrier(6)
    claimed = []

    def work():
        barrier.wait()
        try:
            with engine_transaction():
                rows, _ = claim(uuid4(), 10, timezone.now())
            claimed.extend(rows)
        finally:
            connections.close_all()

    run_together(work, 6)
    assert len(claimed) == 3


@pytest.mark.django_db(transaction=True)
def test_runners_releases_and_redeliveries_side_by_side_send_everything():
    places = [make_place(f"place {number}", cap=2) for number in range(4)]
    for place in places:
        place.script = [DOWN] * 3
        post(place, *"abcdefgh", conversation=uuid4())
    faults = []
    ended = threading.Event()

    def send():
        try:
            run_until_idle()
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    def meddle():
        try:
            while not ended.is_set():
                for place in places:
                    hold(place.lane_id)
                    release(place.lane_id)
                for delivery in Delivery.objects.filter(status="delivered")[:2]:
                    redeliver(delivery)
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    meddler = threading.Thread(target=meddle)
    meddler.start()
    run_together(send, 3)
    ended.set()
    meddler.join()
    for place in places:
        place.script = []
        release(place.lane_id)
    with time_machine.travel(timezone.now() + timedelta(hours=1), tick=False):
        run_until_idle()
    assert faults == []
    assert not Delivery.objects.exclude(status="delivered").exists()
    assert not Attempt.objects.filter(verdict="sending").exists()


def run_together(work, count):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_an_answered_503_of_a_direct_attempt_does_not_open_a_failing_lane():
    # A direct attempt's temporary failure is recorded as final; the destination is no more alive.
    place = make_place(state="failing", failures=3, failed_at=timezone.now())
    _, later, runner = in_flight(place, "probe")
    assert later.work == []
    [delivery] = Delivery.objects.filter(lane_id=place.lane_id)
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=timezone.now(), failures=1)
    runner.cycle()
    place.always = Outcome.failed("server_error", "HTTP 503", status=503)
    later.run_all()
    runner.cycle()
    assert lane_of(place).state == "failing"
