"""What goes wrong inside Hermes stays with the delivery it happened to."""

from uuid import uuid4

import pytest
from django.db import OperationalError

from deliveries import results
from deliveries.models import Attempt, Delivery, Lane, Payload
from deliveries.outcomes import Outcome
from deliveries.runner import LaneRunner, run_until_idle

from .places import DOWN, Later, lose_settings, make_place, post

pytestmark = pytest.mark.django_db
ANSWER = Outcome.delivered(status=200, answer={"type": "text", "text": "hi"})


def statuses(*places):
    rows = Delivery.objects.filter(lane_id__in=[place.lane_id for place in places])
    return list(rows.order_by("lane_id", "id").values_list("status", flat=True))


def broken(*_args):
    raise RuntimeError("the token is hunter2")


def test_an_answer_that_cannot_be_taken_over_does_not_undo_the_delivery_or_its_neighbours():
    place, other = make_place("place"), make_place("other")
    place.script, place.answered = [ANSWER], broken
    [delivery] = post(place, "a")
    post(other, "b")
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    later.run_all()
    runner.cycle()
    assert statuses(place, other) == ["delivered", "delivered"]
    error = Attempt.objects.get(delivery=delivery).error
    assert "RuntimeError" in error
    assert "hunter2" not in error


def test_a_channel_that_cannot_be_flagged_has_its_delivery_recorded_all_the_same():
    place = make_place()
    place.script = [Outcome.failed("unauthorized", "401", status=401, faults_channel=True)]
    place.faulted = broken
    post(place, "a")
    run_until_idle()
    assert statuses(place) == ["failed"]


def test_a_destination_that_cannot_be_given_up_is_neither_held_nor_stuck():
    place = make_place()
    place.always, place.give_up = DOWN, broken
    [delivery] = post(place, "a")
    Delivery.objects.filter(pk=delivery.pk).update(failures=7)
    run_until_idle()
    assert statuses(place) == ["pending"]
    assert Lane.objects.get(pk=place.lane_id).state != "held"


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.delivered(status=200, provider_ids={"id": object()}),
        Outcome.delivered(status=200, provider_ids={1: 2**70}),
        Outcome.delivered(status=200, response="\ud800"),
        Outcome.failed("client_error", "\ud800", status=400),
        Outcome.retry("server_error", "HTTP 503", status=503, progress={"parts": {1, 2}}),
    ],
    ids=["object", "number", "surrogate in a response", "surrogate in an error", "set"],
)
def test_an_outcome_that_cannot_be_written_is_written_bare_and_holds_up_no_other(outcome):
    place, other = make_place("place"), make_place("other")
    place.script = [outcome]
    [delivery] = post(place, "a")
    post(other, "b")
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    later.run_all()
    runner.cycle()
    attempt = Attempt.objects.get(delivery=delivery, number=1)
    assert attempt.verdict == outcome.verdict
    assert "log says why" in attempt.error
    assert statuses(other) == ["delivered"]
    while later.work or runner.cycle():
        later.run_all()
    assert statuses(place) == ["failed" if outcome.verdict == "failed" else "delivered"]
    assert runner.idle


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.delivered(status=200, response="\0"),
        Outcome.delivered(status=200, provider_ids={"id": "\0"}),
        Outcome.delivered(status=200, progress={"parts": "\0"}),
        Outcome.delivered(status=99999),
        Outcome.failed("x" * 50, "too long a word", status=400),
    ],
    ids=["NUL in a response", "NUL in an id", "NUL in progress", "no status", "long class"],
)
def test_what_only_one_database_takes_is_recorded_on_both(outcome):
    place, other = make_place("place"), make_place("other")
    place.script = [outcome]
    post(place, "a")
    post(other, "b")
    run_until_idle()
    assert statuses(place, other) == [outcome.verdict, "delivered"]
    assert len(place.sent) == 1


def test_outcomes_survive_a_database_that_is_away(monkeypatch):
    place = make_place()
    post(place, "a", "b")
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    later.run_all()

    def away(*_args):
        raise OperationalError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(results, "_write_attempts", away)
        for _ in range(3):
            with pytest.raises(OperationalError):
                runner.cycle()
        assert not runner.idle
    runner.cycle()
    assert statuses(place) == ["delivered", "delivered"]
    assert len(place.sent) == 2
    assert runner.idle


def test_a_delivery_whose_payload_is_gone_fails_and_is_not_sent_empty():
    place = make_place()
    gone, fine = post(place, "gone", "fine")
    Payload.objects.filter(pk=gone.pk).delete()
    run_until_idle()
    gone.refresh_from_db()
    assert (gone.status, gone.error_class) == ("failed", "no_payload")
    assert place.texts == ["fine"]
    assert fine.pk in [message.id for message in place.sent]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"nonsense"])
def test_a_payload_that_cannot_be_read_fails_its_own_delivery_only(body):
    place = make_place()
    torn, _ = post(place, "torn", "fine")
    Payload.objects.filter(pk=torn.pk).update(body=body)
    run_until_idle()
    torn.refresh_from_db()
    assert (torn.status, torn.error_class) == ("failed", "no_payload")
    assert place.texts == ["fine"]


def test_settings_that_cannot_be_read_hold_up_their_own_lane_only():
    place, other = make_place("place"), make_place("other")
    mend = lose_settings(place)
    [delivery] = post(place, "a")
    post(other, "b")
    run_until_idle()
    assert other.texts == ["b"]
    delivery.refresh_from_db()
    assert (delivery.status, delivery.error_class) == ("pending", "unloadable")
    assert "hunter2" not in Attempt.objects.filter(delivery=delivery).first().error
    mend()
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=delivery.created_at)
    run_until_idle()
    assert place.texts == ["a"]


def test_a_conversation_goes_on_after_a_delivery_that_could_not_be_sent():
    place, conversation = make_place(), uuid4()
    first, _ = post(place, "a", "b", conversation=conversation)
    Payload.objects.filter(pk=first.pk).delete()
    run_until_idle()
    assert place.texts == ["b"]


def test_what_cannot_even_be_written_bare_is_left_to_its_lease(monkeypatch):
    place, other = make_place("place"), make_place("other")
    [poison] = post(place, "a")
    post(other, "b")
    later = Later()
    runner = LaneRunner(later, places=10)
    runner.cycle()
    later.run_all()
    write = results._write_attempts

    def fail_for_one(rows):
        if any(row.claimed.delivery.pk == poison.pk for row in rows):
            raise ValueError("never")
        write(rows)

    with monkeypatch.context() as patch:
        patch.setattr(results, "_write_attempts", fail_for_one)
        runner.cycle()
    assert statuses(place, other) == ["pending", "delivered"]
    assert runner.cycle() == 0
    assert runner.idle
