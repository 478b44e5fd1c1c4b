"""The engine: what is due goes out, once, by its verdict and its ladder."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import time_machine
from django.utils import timezone

from deliveries.ladder import AGENT_LADDER, CHANNEL_LADDER
from deliveries.models import Attempt, Delivery, Lane
from deliveries.outcomes import Outcome
from deliveries.runner import run_until_idle
from deliveries.services import redeliver, release

from .places import DOWN, OK, REFUSED, by_status, lose, make_place, post

pytestmark = pytest.mark.django_db
START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def test_a_recorded_delivery_is_sent_once_and_is_delivered():
    place = make_place()
    [delivery] = post(place, "hello")
    assert run_until_idle() == 1
    delivery.refresh_from_db()
    assert place.texts == ["hello"]
    assert delivery.status == "delivered"
    assert delivery.completed_at is not None
    assert delivery.latency_ms is not None
    assert (delivery.next_attempt_at, delivery.claim, delivery.pending_lane) == (None, None, None)


def test_an_attempt_carries_number_verdict_status_and_duration():
    place = make_place()
    place.script = [Outcome.delivered(status=204, response="fine", provider_ids={"id": "7"})]
    [delivery] = post(place, "hello")
    run_until_idle()
    attempt = Attempt.objects.get(delivery=delivery)
    assert (attempt.number, attempt.verdict, attempt.status) == (1, "delivered", 204)
    assert (attempt.response, attempt.provider_ids) == ("fine", {"id": "7"})
    assert attempt.duration_ms is not None


def test_the_attempt_is_in_the_ledger_before_the_call():
    place = make_place()
    seen = []
    place.script = [lambda m: seen.append(Attempt.objects.get(delivery=m.id).verdict) or OK]
    post(place, "hello")
    run_until_idle()
    assert seen == ["sending"]


def test_a_permanent_failure_is_not_repeated():
    place = make_place()
    place.script = [REFUSED]
    [delivery] = post(place, "hello")
    assert run_until_idle() == 1
    delivery.refresh_from_db()
    assert (delivery.status, delivery.error_class) == ("failed", "client_error")


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(1, 0), (2, 30), (3, 120), (4, 480), (5, 1920), (6, 7200), (7, 21600), (8, None)],
)
def test_the_agent_ladder_is_the_specifications(failures, wait):
    assert AGENT_LADDER.delay_after(failures) == wait


def test_a_delivery_climbs_the_whole_ladder_and_its_destination_is_given_up():
    place = make_place()
    place.always = DOWN
    with time_machine.travel(START, tick=False) as clock:
        [delivery] = post(place, "hello")
        started = []
        for _ in range(20):
            run_until_idle()
            delivery.refresh_from_db()
            if delivery.next_attempt_at is None:
                break
            clock.move_to(delivery.next_attempt_at)
        started = list(
            Attempt.objects.filter(delivery=delivery)
            .order_by("number")
            .values_list("started_at", flat=True)
        )
    waits = [(b - a).total_seconds() for a, b in pairwise(started)]
    assert waits == list(AGENT_LADDER.rungs)
    assert place.gave_up == 1
    assert delivery.status == "pending"
    assert Lane.objects.get(pk=place.lane_id).state == "held"


def test_a_channels_delivery_fails_at_the_top_of_its_ladder():
    place = make_place()
    place.ladder, place.always = CHANNEL_LADDER, DOWN
    with time_machine.travel(START, tick=False) as clock:
        [delivery] = post(place, "hello")
        for _ in range(10):
            run_until_idle()
            delivery.refresh_from_db()
            if delivery.status != "pending":
                break
            clock.move_to(delivery.next_attempt_at)
    assert delivery.status == "failed"
    assert delivery.attempt_count == CHANNEL_LADDER.tries
    assert place.gave_up == 0


def test_a_delivery_that_alone_exhausts_its_ladder_fails_and_leaves_the_destination_ready():
    place = make_place()
    place.always = lambda m: DOWN if m.text == "poison" else OK
    with time_machine.travel(START, tick=False) as clock:
        [poison] = post(place, "poison")
        for _ in range(20):
            run_until_idle()
            poison.refresh_from_db()
            if poison.status != "pending":
                break
            clock.move_to(poison.next_attempt_at)
            if poison.failures == 5:
                Lane.objects.filter(pk=place.lane_id).update(state="open", failures=0)
                post(place, "fine")
    assert (poison.status, poison.error_class) == ("failed", "exhausted")
    assert place.gave_up == 0


def waited(delivery: Delivery) -> float:
    delivery.refresh_from_db()
    assert delivery.next_attempt_at is not None
    return (delivery.next_attempt_at - START).total_seconds()


def test_retry_after_moves_the_next_attempt_and_climbs_no_ladder():
    place = make_place()
    place.script = [Outcome.retry("rate_limited", "429", status=429, retry_after=90.0)]
    with time_machine.travel(START, tick=False):
        [delivery] = post(place, "hello")
        run_until_idle()
    assert 90 <= waited(delivery) <= 99
    assert delivery.failures == 0


def test_retry_after_of_a_failing_server_is_honoured_when_it_is_longer_than_the_rung():
    place = make_place()
    place.script = [Outcome.retry("server_error", "503", status=503, retry_after=45.0)]
    with time_machine.travel(START, tick=False):
        [delivery] = post(place, "hello")
        run_until_idle()
    assert 45 <= waited(delivery) <= 49.5
    assert delivery.failures == 1


def test_those_who_were_told_the_same_wait_do_not_come_back_in_the_same_moment():
    place = make_place(cap=10)
    place.always = Outcome.retry("rate_limited", "429", status=429, retry_after=600.0)
    with time_machine.travel(START, tick=False):
        deliveries = post(place, *"abcdefgh")
        run_until_idle()
    waits = {waited(delivery) for delivery in deliveries}
    assert len(waits) == 8
    assert all(600 <= wait <= 660 for wait in waits)


@pytest.mark.parametrize("asked", [float("inf"), float("nan"), 1e300, -5.0])
def test_an_absurd_wait_is_bounded(asked):
    place = make_place()
    place.script = [Outcome.retry("rate_limited", "429", status=429, retry_after=asked)]
    with time_machine.travel(START, tick=False) as clock:
        [delivery] = post(place, "hello")
        run_until_idle()
        clock.shift(timedelta(hours=26.5))
        run_until_idle()
    delivery.refresh_from_db()
    assert delivery.status == "delivered"


def test_a_fault_of_our_own_is_retried_and_named_without_its_text():
    place = make_place()

    def broken(message):
        raise RuntimeError("the token is hunter2")

    place.script = [broken]
    with time_machine.travel(START, tick=False):
        [delivery] = post(place, "hello")
        run_until_idle()
    assert place.texts == ["hello", "hello"]
    attempt = Attempt.objects.get(delivery=delivery, number=1)
    assert (attempt.error_class, "hunter2" in attempt.error) == ("internal", False)


def test_a_destination_that_is_gone_fails_its_deliveries():
    place = make_place()
    lose(place)
    [delivery] = post(place, "hello")
    run_until_idle()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.error_class) == ("failed", "no_destination")


def test_an_answer_reaches_the_destination_in_the_same_transaction():
    place = make_place()
    place.script = [Outcome.delivered(status=200, answer={"type": "text", "text": "hi"})]
    post(place, "hello")
    run_until_idle()
    assert [outcome.answer["text"] for outcome in place.answers] == ["hi"]


def test_a_credential_fault_is_told_to_the_channel():
    place = make_place()
    place.script = [Outcome.failed("unauthorized", "401", status=401, faults_channel=True)]
    post(place, "hello")
    run_until_idle()
    assert len(place.faults) == 1


def test_redeliver_sends_again_under_the_same_id():
    place = make_place()
    place.script = [REFUSED]
    [delivery] = post(place, "hello")
    run_until_idle()
    assert redeliver(delivery) is True
    run_until_idle()
    delivery.refresh_from_db()
    assert [message.id for message in place.sent] == [delivery.pk, delivery.pk]
    assert (delivery.status, delivery.attempt_count) == ("delivered", 2)
    assert list(
        Attempt.objects.filter(delivery=delivery)
        .order_by("number")
        .values_list("trigger", flat=True)
    ) == ["auto", "manual"]


def test_redeliver_leaves_a_delivery_in_flight_alone():
    place = make_place()
    [delivery] = post(place, "hello")
    Delivery.objects.filter(pk=delivery.pk).update(
        claim=delivery.pk, next_attempt_at=timezone.now() + timedelta(seconds=10)
    )
    assert redeliver(delivery) is False


def test_a_crashed_attempt_is_closed_and_the_delivery_goes_out_again_after_its_lease():
    place = make_place()
    [delivery] = post(place, "hello")
    with time_machine.travel(timezone.now(), tick=False) as clock:
        from deliveries.claims import claim
        from deliveries.ids import new_id

        claim(new_id(), 10, timezone.now())  # a worker that dies before it records anything
        assert run_until_idle() == 0
        clock.shift(16)
        assert run_until_idle() == 1
    first, second = Attempt.objects.filter(delivery=delivery).order_by("number")
    assert (first.verdict, first.error_class) == ("retry", "interrupted")
    assert second.verdict == "delivered"
    assert place.sent[0].id == delivery.pk


def test_release_restarts_the_ladder_of_what_waited():
    place = make_place(state="held")
    [delivery] = post(place, "hello")
    Delivery.objects.filter(pk=delivery.pk).update(failures=8, next_attempt_at=None)
    place.script = [DOWN]
    assert release(place.lane_id) == 1
    run_until_idle()
    delivery.refresh_from_db()
    assert delivery.attempt_count >= 1
    assert place.texts[0] == "hello"
    assert by_status(place) == {"delivered": 1}
