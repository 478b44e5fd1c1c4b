"""Coalescing: the latest of a key inside a window goes out, and the history keeps the others."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone

from deliveries.claims import BACKLOG
from deliveries.clockwork import every_minute, expire
from deliveries.ids import new_id
from deliveries.lanes import hold
from deliveries.models import Delivery
from deliveries.record import write
from deliveries.runner import LaneRunner, run_until_idle
from deliveries.services import redeliver, release
from deliveries.transactions import write_transaction
from routes.coalescing import Held, hold_back, purge_coalesce_windows
from routes.models import CoalesceWindow
from tests.deliveries.places import DOWN, OK, Later, Place, make_place, post

from .held import arrive, coalesce, key_of, new, state_of, text_of

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ONCE = "1 earlier event with the same key was replaced by this one."
WAITS = ("pending", "")
REPLACED = ("skipped", "superseded")


@pytest.fixture
def clock() -> Any:
    with time_machine.travel(START, tick=False) as moved:
        yield moved


@pytest.fixture
def place(db: None) -> Place:
    return make_place("agent")


def test_a_first_event_goes_out_at_the_end_of_its_window(place: Place, clock: Any) -> None:
    [first] = arrive(place, "a")
    assert first.next_attempt_at == START + timedelta(seconds=30)
    clock.shift(29)
    run_until_idle()
    assert place.texts == []
    clock.shift(1)
    run_until_idle()
    assert place.texts == ["a"]


def test_a_later_event_takes_the_place_of_what_waits(place: Place, clock: Any) -> None:
    [first] = arrive(place, "a")
    clock.shift(10)
    [second] = arrive(place, "b")
    assert state_of(first) == REPLACED
    assert second.next_attempt_at == START + timedelta(seconds=40)
    clock.shift(30)
    run_until_idle()
    assert place.texts == [f"b\n\n{ONCE}"]


def test_what_was_replaced_is_closed_whole_and_says_by_what(place: Place, clock: Any) -> None:
    [first] = arrive(place, "a")
    clock.shift(10)
    [second] = arrive(place, "b")
    first.refresh_from_db()
    assert first.completed_at == START + timedelta(seconds=10)
    assert first.pending_lane is None
    assert first.next_attempt_at is None
    assert first.metadata == {"sender_id": "webhook:pulls", "replaced_by": str(second.pk)}
    assert text_of(first) == "a"


def test_the_latest_counts_all_that_it_replaces(place: Place, clock: Any) -> None:
    for text in "abc":
        [latest] = arrive(place, text)
        clock.shift(1)
    assert latest.metadata["superseded"] == 2
    note = "2 earlier events with the same key were replaced by this one."
    assert text_of(latest).splitlines() == ["c", "", note]


def test_an_event_that_replaces_nothing_says_nothing(place: Place) -> None:
    [first] = arrive(place, "a")
    assert first.metadata == {"sender_id": "webhook:pulls"}
    assert text_of(first) == "a"


def test_nothing_waits_longer_than_the_longest_wait(place: Place, clock: Any) -> None:
    how = coalesce(window=30, max_wait=60)
    for _ in range(4):
        [latest] = arrive(place, "again", how=how)
        clock.shift(20)
    assert latest.next_attempt_at == START + timedelta(seconds=60)


def test_other_keys_do_not_touch_each_other(place: Place) -> None:
    [first] = arrive(place, "a", key="7")
    [other] = arrive(place, "b", key="8")
    assert state_of(first) == state_of(other) == WAITS


@pytest.mark.parametrize("seconds", [30, 31])
def test_after_its_window_was_sent_a_key_starts_anew(
    place: Place, clock: Any, seconds: int
) -> None:
    arrive(place, "a")
    clock.shift(seconds)
    run_until_idle()
    [next_] = arrive(place, "b")
    assert next_.next_attempt_at == START + timedelta(seconds=seconds + 30)
    assert "superseded" not in next_.metadata
    clock.shift(30)
    run_until_idle()
    assert place.texts == ["a", "b"]


def test_what_is_being_sent_is_not_taken_back(place: Place, clock: Any) -> None:
    [first] = arrive(place, "a")
    clock.shift(30)
    threads = Later()
    runner = LaneRunner(threads, places=4)
    runner.cycle()
    [second] = arrive(place, "b")
    assert state_of(first) == state_of(second) == WAITS
    assert second.next_attempt_at == START + timedelta(seconds=60)
    threads.run_all()
    runner.cycle()
    assert state_of(first) == ("delivered", "")


def test_what_climbs_its_ladder_is_not_taken_back(place: Place, clock: Any) -> None:
    place.script = [DOWN, DOWN]
    [first] = arrive(place, "a")
    clock.shift(30)
    run_until_idle()
    [second] = arrive(place, "b")
    assert state_of(first) == ("pending", "server_error")
    assert "superseded" not in second.metadata


def test_what_a_person_asked_for_is_not_taken_back(place: Place, clock: Any) -> None:
    [first] = arrive(place, "a")
    redeliver(first)
    [second] = arrive(place, "b")
    run_until_idle()
    assert place.texts == ["a"]
    assert state_of(second) == WAITS


def test_what_expired_is_not_replaced(place: Place, clock: Any) -> None:
    hold(place.lane_id)
    [first] = arrive(place, "a")
    clock.shift(timedelta(hours=25))
    expire(timezone.now())
    [second] = arrive(place, "b")
    assert state_of(first) == ("unreachable", "expired")
    assert "superseded" not in second.metadata


def test_a_window_of_a_clock_that_was_set_back_counts_from_now(place: Place, clock: Any) -> None:
    arrive(place, "a", how=coalesce(window=30, max_wait=60))
    clock.shift(-3600)
    for _ in range(4):
        [latest] = arrive(place, "b", how=coalesce(window=30, max_wait=60))
        clock.shift(20)
    assert latest.next_attempt_at == START + timedelta(seconds=-3600 + 60)


def test_what_comes_together_is_coalesced_like_what_comes_apart(place: Place, clock: Any) -> None:
    together = arrive(place, *"abc", key="7")
    apart = [delivery for text in "abc" for delivery in arrive(place, text, key="8")]
    for one, other in zip(together, apart, strict=True):
        assert state_of(one) == state_of(other)
        assert text_of(one) == text_of(other)
        assert one.next_attempt_at == other.next_attempt_at
        assert one.metadata.keys() == other.metadata.keys()
    assert [row.metadata.get("replaced_by") for row in together] == [
        str(together[1].pk),
        str(together[2].pk),
        None,
    ]
    clock.shift(30)
    run_until_idle()
    assert len(place.texts) == 2


def test_a_batch_replaces_what_waited_before_it(place: Place) -> None:
    [first] = arrive(place, "a")
    *_middle, last = arrive(place, "b", "c")
    first.refresh_from_db()
    assert first.metadata["replaced_by"] == str(_middle[0].pk)
    assert last.metadata["superseded"] == 2


def test_what_is_rolled_back_can_be_tried_again(place: Place) -> None:
    [waiting] = arrive(place, "a")
    held = [Held(key_of("7"), coalesce(), new(place, text)) for text in "bc"]
    with transaction.atomic():
        hold_back(held, timezone.now())
        transaction.set_rollback(True)
    assert state_of(waiting) == WAITS
    with write_transaction():
        [ready] = hold_back(held[:1], timezone.now())
    assert ready.skipped == ""
    assert ready.payload["text"] == f"b\n\n{ONCE}"


def test_a_batch_of_many_keys_takes_the_same_few_queries(
    place: Place, django_assert_max_num_queries: Any
) -> None:
    def batch() -> list[Held]:
        return [Held(key_of(str(n)), coalesce(), new(place, "a")) for n in range(60)]

    first = batch()
    with write_transaction():
        write([one.delivery.event for one in first], hold_back(first, timezone.now()))
    with write_transaction(), django_assert_max_num_queries(12):
        hold_back(batch(), timezone.now())
    assert Delivery.objects.filter(status="skipped").count() == 60


def test_on_a_held_lane_what_is_parked_is_replaced_too_and_comes_out_once(
    place: Place, clock: Any
) -> None:
    hold(place.lane_id)
    [first] = arrive(place, "a")
    clock.shift(40)
    run_until_idle()  # parks it
    [second] = arrive(place, "b")
    clock.shift(400)
    run_until_idle()
    [third] = arrive(place, "c")
    assert state_of(first) == state_of(second) == REPLACED
    assert release(place.lane_id) == 1
    run_until_idle()
    assert [text.splitlines()[0] for text in place.texts] == ["c"]
    assert state_of(third) == ("delivered", "")


def test_on_a_failing_lane_what_is_parked_is_replaced_too(place: Place, clock: Any) -> None:
    place.always = DOWN
    post(place, *"xyz")
    run_until_idle()
    [first] = arrive(place, "a")
    clock.shift(31)
    run_until_idle()
    [second] = arrive(place, "b")
    assert state_of(first) == REPLACED
    place.always = OK
    clock.shift(600)
    run_until_idle()
    assert state_of(second) == ("delivered", "")
    assert "a" not in place.texts


def test_a_backlog_on_the_lane_does_not_end_the_window(place: Place, clock: Any) -> None:
    [held] = arrive(place, "a")
    post(place, *(str(number) for number in range(BACKLOG + 1)))
    run_until_idle()
    assert len(place.texts) == BACKLOG + 1
    assert state_of(held) == WAITS
    clock.shift(30)
    run_until_idle()
    assert place.texts[-1] == "a"


def test_what_waited_behind_a_replaced_one_in_its_conversation_goes_on(
    place: Place, clock: Any
) -> None:
    conversation = uuid4()
    arrive(place, "a", conversation=conversation)
    post(place, "comment", conversation=conversation)
    run_until_idle()
    assert place.texts == []  # in the order of their events
    arrive(place, "b", conversation=conversation)
    run_until_idle()
    assert place.texts == ["comment"]
    clock.shift(30)
    run_until_idle()
    assert place.texts == ["comment", f"b\n\n{ONCE}"]


def test_a_window_of_which_nothing_waits_is_forgotten(place: Place, clock: Any) -> None:
    arrive(place, "a", key="7")
    clock.shift(30)
    run_until_idle()
    arrive(place, "b", key="8")
    assert purge_coalesce_windows(timezone.now()) == 1
    assert bytes(CoalesceWindow.objects.get().key) == key_of("8")


def test_more_than_a_batch_of_windows_is_forgotten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routes.coalescing.PURGE_BATCH", 2)
    CoalesceWindow.objects.bulk_create(
        CoalesceWindow(key=key_of(str(number)), delivery_id=new_id(), opened_at=timezone.now())
        for number in range(5)
    )
    assert purge_coalesce_windows(timezone.now()) == 5


def test_the_clockwork_forgets_windows(place: Place) -> None:
    CoalesceWindow.objects.create(key=key_of("7"), delivery_id=new_id(), opened_at=timezone.now())
    every_minute()
    assert not CoalesceWindow.objects.exists()
