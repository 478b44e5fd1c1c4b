"""Deliveries that are kept for the history and never sent."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from deliveries.clockwork import expire, purge, unstick
from deliveries.models import Attempt, Delivery, Event, Payload
from deliveries.outcomes import Outcome
from deliveries.record import NewDelivery, NewEvent, record
from deliveries.runner import run_until_idle
from deliveries.services import redeliver, release, replay

from .places import Place, make_place, post

pytestmark = pytest.mark.django_db

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def skip(place: Place, text: str = "old") -> Delivery:
    event = NewEvent(source="route", type="push", body=b"{}", route="r")
    new = NewDelivery(
        event=event,
        lane_id=place.lane_id,
        event_type="message.new",
        payload={"type": "text", "text": text},
        metadata={"replaced_by": "x"},
        skipped="superseded",
    )
    record([event], [new])
    return Delivery.objects.get(pk=new.id)


def test_it_is_recorded_whole_and_closed() -> None:
    delivery = skip(make_place())
    assert (delivery.status, delivery.error_class) == ("skipped", "superseded")
    assert delivery.completed_at == delivery.created_at == delivery.event.received_at
    assert delivery.metadata == {"replaced_by": "x"}
    assert (delivery.attempt_count, delivery.failures, delivery.trigger) == (0, 0, "auto")
    assert (delivery.pending_lane, delivery.next_attempt_at, delivery.claim) == (None, None, None)
    assert Payload.objects.filter(pk__in=[delivery.pk, delivery.event_id]).count() == 2


def test_it_is_never_sent_parked_freed_or_expired() -> None:
    place = make_place(state="held")
    delivery = skip(place)
    assert release(place.lane_id) == 0
    with time_machine.travel(timezone.now() + timedelta(days=2)):
        run_until_idle()
        unstick(timezone.now())
        assert expire(timezone.now()) == 0
    assert place.texts == []
    delivery.refresh_from_db()
    assert delivery.status == "skipped"


def test_skipped_and_sent_ones_are_recorded_together() -> None:
    place = make_place()
    event = NewEvent(source="route", type="push", body=b"{}", route="r")
    both = [
        NewDelivery(
            event=event,
            lane_id=place.lane_id,
            event_type="message.new",
            payload={"type": "text", "text": text},
            skipped=skipped,
        )
        for text, skipped in (("old", "superseded"), ("new", ""))
    ]
    record([event], both)
    run_until_idle()
    assert place.texts == ["new"]


def test_it_can_be_redelivered() -> None:
    place = make_place()
    delivery = skip(place)
    assert redeliver(delivery)
    run_until_idle()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.error_class, delivery.attempt_count) == ("delivered", "", 1)
    assert place.texts == ["old"]


def test_its_event_can_be_replayed() -> None:
    place = make_place()
    assert replay(skip(place).event) == 1
    run_until_idle()
    assert place.texts == ["old"]


def test_it_is_purged_with_its_event() -> None:
    skip(make_place())
    with time_machine.travel(timezone.now() + timedelta(days=31)):
        assert purge(timezone.now()) == 1
    assert not Delivery.objects.exists()
    assert not Event.objects.exists()
    assert not Payload.objects.exists()


def test_a_delivery_due_later_goes_out_then() -> None:
    place = make_place()
    event = NewEvent(source="route", type="push", body=b"{}", route="r", received_at=START)
    new = NewDelivery(
        event=event,
        lane_id=place.lane_id,
        event_type="message.new",
        payload={"type": "text", "text": "later"},
        due_at=START + timedelta(seconds=30),
    )
    with time_machine.travel(START, tick=False) as clock:
        record([event], [new])
        clock.shift(29)
        run_until_idle()
        assert place.texts == []
        clock.shift(1)
        run_until_idle()
    assert place.texts == ["later"]


def test_a_backlog_leaves_what_was_asked_to_wait_its_time() -> None:
    place = make_place(cap=100)
    with time_machine.travel(START, tick=False) as clock:
        place.script = [Outcome.retry("rate_limited", "429", status=429, retry_after=20.0)]
        [asked] = post(place, "asked to wait")
        run_until_idle()
        post(place, *(str(number) for number in range(100)))
        run_until_idle()
        assert Attempt.objects.filter(delivery=asked).count() == 1
        clock.shift(23)
        run_until_idle()
    assert Attempt.objects.filter(delivery=asked).count() == 2
