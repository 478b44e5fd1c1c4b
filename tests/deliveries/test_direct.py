"""Direct deliveries: sent by the web process while the sender waits, and what a crash leaves."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import time_machine
from django.db import transaction

from deliveries.models import Attempt, Delivery, Payload
from deliveries.outcomes import Outcome, Trigger, Verdict
from deliveries.record import NewDelivery, NewEvent, record
from deliveries.runner import run_until_idle
from deliveries.services import send_direct

from .places import DOWN, REFUSED, lose_settings, make_place

pytestmark = pytest.mark.django_db
START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(START, tick=False) as moved:
        yield moved


def direct(place):
    event = NewEvent(source="route", type="push", body=b"{}", received_at=START)
    new = NewDelivery(
        event=event,
        lane_id=place.lane_id,
        event_type="push",
        payload={"type": "text", "text": "a"},
        claim=uuid4(),
        lease_until=START + timedelta(seconds=15),
    )
    with transaction.atomic():
        record([event], [new])
    return new


def attempts(new):
    rows = Attempt.objects.filter(delivery=new.id).order_by("number")
    return list(rows.values_list("number", "trigger", "verdict"))


def status(new):
    return Delivery.objects.values_list("status", flat=True).get(pk=new.id)


def test_no_runner_takes_it_while_its_sender_waits():
    place = make_place()
    new = direct(place)
    assert run_until_idle() == 0
    assert send_direct(new.id, new.claim).verdict == Verdict.DELIVERED
    assert attempts(new) == [(1, "direct", "delivered")]
    assert status(new) == "delivered"


@pytest.mark.parametrize("outcome", [DOWN, REFUSED])
def test_every_failure_is_final(outcome):
    place = make_place()
    place.always = outcome
    new = direct(place)
    assert send_direct(new.id, new.claim).verdict == Verdict.FAILED
    assert (status(new), run_until_idle()) == ("failed", 0)
    assert attempts(new) == [(1, "direct", "failed")]


def test_a_web_process_killed_before_the_send_leaves_it_to_a_runner(clock):
    place = make_place()
    new = direct(place)
    clock.shift(16)
    assert run_until_idle() == 1
    assert attempts(new) == [(1, "auto", "delivered")]


def test_a_web_process_killed_during_the_send_leaves_it_to_a_runner_as_a_second_attempt(clock):
    place = make_place()
    new = direct(place)

    def killed(message):
        raise SystemExit

    place.script = [killed]
    with pytest.raises(SystemExit):
        send_direct(new.id, new.claim)
    clock.shift(16)
    run_until_idle()
    assert attempts(new) == [(1, "direct", "retry"), (2, "auto", "delivered")]
    assert place.sent[-1].retrying


def test_what_a_runner_took_over_climbs_its_ladder(clock):
    place = make_place()
    place.always = DOWN
    new = direct(place)
    clock.shift(16)
    run_until_idle()
    assert status(new) == "pending"
    assert Delivery.objects.get(pk=new.id).trigger == Trigger.AUTO


def test_one_that_comes_too_late_is_left_to_the_runner_that_took_it(clock):
    place = make_place()
    new = direct(place)
    clock.shift(16)
    run_until_idle()
    outcome = send_direct(new.id, new.claim)
    assert outcome.verdict == Verdict.RETRY
    assert len(place.sent) == 1
    assert attempts(new) == [(1, "auto", "delivered")]


def test_one_that_comes_too_late_is_not_sent_beside_a_runner_that_is_about_to(clock):
    place = make_place()
    new = direct(place)
    clock.shift(16)
    assert send_direct(new.id, new.claim).verdict == Verdict.RETRY
    assert place.sent == []


def test_one_that_waited_for_its_thread_has_the_whole_of_its_time(clock):
    place = make_place()
    new = direct(place)
    clock.shift(14)

    def slow(message):
        clock.shift(9)
        assert run_until_idle() == 0
        return Outcome.delivered(status=200)

    place.script = [slow]
    send_direct(new.id, new.claim)
    assert attempts(new) == [(1, "direct", "delivered")]


def test_an_outcome_that_cannot_be_written_is_told_and_recorded_bare():
    place = make_place()
    place.script = [Outcome.delivered(status=200, provider_ids={"id": object()})]
    new = direct(place)
    assert send_direct(new.id, new.claim).verdict == Verdict.DELIVERED
    assert status(new) == "delivered"


def test_a_payload_that_is_gone_and_settings_that_cannot_be_read_fail():
    place, other = make_place("place"), make_place("other")
    gone, unloadable = direct(place), direct(other)
    Payload.objects.filter(pk=gone.id).delete()
    mend = lose_settings(other)
    assert send_direct(gone.id, gone.claim).error_class == "no_payload"
    assert send_direct(unloadable.id, unloadable.claim).error_class == "unloadable"
    mend()
    assert (status(gone), status(unloadable)) == ("failed", "failed")
