"""Deliveries of a held lane, taken by whoever speaks for its destination."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import time_machine
from django.utils import timezone

from deliveries import fetching
from deliveries.models import Attempt, Delivery, Lane
from deliveries.outcomes import Outcome
from deliveries.runner import run_until_idle

from .places import DOWN, OK, Place, make_place, post

pytestmark = pytest.mark.django_db

TOKEN = UUID(int=7)
LEASE = 60.0
TALK, OTHER = uuid4(), uuid4()


@pytest.fixture
def held() -> Place:
    return make_place(state=Lane.State.HELD)


def fetch(place: Place, limit: int = 10, token: UUID = TOKEN) -> list[str]:
    return [item.message.text for item in fetching.fetch(place.lane_id, limit, LEASE, token)]  # type: ignore[union-attr]


def settle(place: Place, outcome: Outcome, *rows: Delivery, token: UUID = TOKEN) -> set[UUID]:
    return fetching.settle(place.lane_id, {row.pk: outcome for row in rows}, token)


def fresh(row: Delivery) -> Delivery:
    return Delivery.objects.get(pk=row.pk)


def test_what_waits_is_fetched_oldest_first_up_to_the_limit(held: Place) -> None:
    post(held, "one", "two", "three")
    assert fetch(held, limit=2) == ["one", "two"]
    assert fetch(held) == ["three"]
    assert fetch(held) == []


def test_no_more_than_the_cap_are_out_whoever_has_them(held: Place) -> None:
    rows = post(held, "1", "2", "3", "4", "5", "6")
    assert fetch(held, limit=3) == ["1", "2", "3"]
    assert fetch(held, token=UUID(int=8)) == ["4"]
    assert fetch(held) == []
    settle(held, OK, rows[0])
    assert fetch(held) == ["5"]


def test_a_conversation_goes_one_by_one_and_does_not_hold_up_another(held: Place) -> None:
    first, _second = post(held, "a1", "a2", conversation=TALK)
    post(held, "b1", conversation=OTHER)
    assert fetch(held) == ["a1", "b1"]
    settle(held, OK, first)
    assert fetch(held) == ["a2"]


def test_a_long_conversation_does_not_hide_what_began_after_it(held: Place) -> None:
    post(held, *[f"a{number}" for number in range(300)], conversation=TALK)
    run_until_idle()  # parks what is due, as it happens all the time
    post(held, "b", conversation=OTHER)
    run_until_idle()
    run_until_idle()
    assert fetch(held) == ["a0", "b"]


@pytest.mark.parametrize("state", [Lane.State.OPEN, Lane.State.FLUSHING, Lane.State.FAILING])
def test_a_lane_that_is_not_held_belongs_to_the_runners(state: str) -> None:
    place = make_place(state=state)
    post(place, "theirs")
    assert fetch(place) == []
    assert fetching.ready([place.lane_id]) == set()


def test_the_runners_leave_alone_what_was_fetched(held: Place) -> None:
    post(held, "ours")
    fetch(held)
    run_until_idle()
    assert held.sent == []


def test_an_attempt_is_written_before_anything_is_sent(held: Place) -> None:
    [row] = post(held, "hello")
    fetch(held)
    attempt = row.attempts.get()
    assert (attempt.number, attempt.verdict) == (1, "sending")


def test_what_is_acknowledged_is_delivered_once(held: Place) -> None:
    [row] = post(held, "hello")
    fetch(held)
    assert settle(held, OK, row) == {row.pk}
    assert settle(held, OK, row) == set()
    row = fresh(row)
    assert (row.status, row.pending_lane, row.claim) == ("delivered", None, None)
    assert row.latency_ms is not None


def test_the_attempt_of_an_acknowledged_delivery_tells_how_long_it_took(held: Place) -> None:
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        [row] = post(held, "hello")
        fetch(held)
        clock.shift(timedelta(seconds=2))
        settle(held, OK, row)
    attempt = row.attempts.get()
    assert (attempt.verdict, attempt.duration_ms) == ("delivered", 2000)


def test_what_is_refused_for_good_has_failed_and_frees_its_conversation(held: Place) -> None:
    first, _second = post(held, "a1", "a2", conversation=TALK)
    fetch(held)
    settle(held, Outcome.failed("refused", "I can't read this."), first)
    assert (fresh(first).status, fresh(first).error_class) == ("failed", "refused")
    assert first.attempts.get().error == "I can't read this."
    assert fetch(held) == ["a2"]


def test_a_wait_that_is_asked_for_is_kept_and_climbs_no_rung(held: Place) -> None:
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        first, _second = post(held, "a1", "a2", conversation=TALK)
        fetch(held)
        settle(held, Outcome.retry("rate_limited", "busy", retry_after=90.0), first)
        clock.shift(timedelta(seconds=89))
        assert fetch(held) == []
        clock.shift(timedelta(seconds=11))
        assert fetch(held) == ["a1"]
    assert fresh(first).failures == 0


def test_eight_timeouts_climb_the_ladder_and_end_it(held: Place) -> None:
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        [row] = post(held, "hello")
        for rung in (0, 30, 120, 480, 1920, 7200, 21600):
            assert fetch(held) == ["hello"]
            settle(held, DOWN, row)
            if rung:
                clock.shift(timedelta(seconds=rung - 1))
                assert fetch(held) == []
                clock.shift(timedelta(seconds=1))
        assert held.gave_up == 0
        fetch(held)
        settle(held, DOWN, row)
    assert held.gave_up == 1
    assert fresh(row).status == "pending"
    assert Lane.objects.get(pk=held.lane_id).state == Lane.State.HELD


def test_restart_begins_every_climb_anew(held: Place) -> None:
    row, other = post(held, "one", "two")
    fetch(held)
    settle(held, DOWN, row)
    fetch(held)
    settle(held, DOWN, row)
    assert fetch(held) == []
    assert fetching.restart(held.lane_id) == 2
    assert (fresh(row).failures, fresh(other).claim) == (0, TOKEN)
    assert fetch(held) == ["one"]


def test_a_lease_that_runs_out_is_parked_by_the_runners_and_fetched_again(held: Place) -> None:
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        [row] = post(held, "hello")
        fetch(held)
        clock.shift(timedelta(seconds=LEASE + 1))
        run_until_idle()
        assert held.sent == []
        assert (fresh(row).claim, fresh(row).next_attempt_at) == (None, None)
        assert fetch(held, token=UUID(int=8)) == ["hello"]
    assert list(row.attempts.values_list("number", "error_class")) == [(2, ""), (1, "interrupted")]


def test_a_lease_that_runs_out_can_be_fetched_before_a_runner_looks(held: Place) -> None:
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        [row] = post(held, "hello")
        fetch(held)
        clock.shift(timedelta(seconds=LEASE + 1))
        assert fetch(held, token=UUID(int=8)) == ["hello"]
        assert settle(held, OK, row) == set()
    assert row.attempts.get(number=1).error_class == "interrupted"


def test_an_acknowledgement_that_comes_late_counts_while_nobody_else_has_it(held: Place) -> None:
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        [row] = post(held, "hello")
        fetch(held)
        clock.shift(timedelta(seconds=LEASE + 1))
        run_until_idle()
        assert settle(held, OK, row) == {row.pk}
    assert fresh(row).status == "delivered"
    assert fetch(held) == []


def test_a_retry_that_comes_late_changes_nothing(held: Place) -> None:
    [row] = post(held, "hello")
    fetch(held)
    fetching.give_back(TOKEN, "…")
    assert settle(held, DOWN, row) == set()
    assert fresh(row).failures == 0


def test_nobody_settles_what_was_never_out_or_is_of_another_lane(held: Place) -> None:
    other = make_place("other", state=Lane.State.HELD)
    [waiting], [theirs] = post(held, "waits"), post(other, "theirs")
    fetch(other)
    assert settle(held, OK, waiting, theirs) == set()
    assert {fresh(waiting).status, fresh(theirs).status} == {"pending"}


def test_what_is_given_back_costs_no_failure_and_comes_at_once(held: Place) -> None:
    [row] = post(held, "hello")
    fetch(held)
    assert fetching.give_back(TOKEN, "The connection ended.") == 1
    assert fetch(held, token=UUID(int=8)) == ["hello"]
    assert fresh(row).failures == 0
    first = Attempt.objects.get(delivery=row, number=1)
    assert (first.verdict, first.error) == ("retry", "The connection ended.")


def test_what_is_given_back_goes_to_the_runners_when_the_lane_is_theirs_by_now(
    held: Place,
) -> None:
    post(held, "hello")
    fetch(held)
    Lane.objects.filter(pk=held.lane_id).update(state=Lane.State.OPEN)
    fetching.give_back(TOKEN, "…")
    run_until_idle()
    assert held.texts == ["hello"]


def test_ready_names_the_lanes_that_have_something(held: Place) -> None:
    empty, blocked = (make_place(name, state=Lane.State.HELD) for name in ("empty", "blocked"))
    post(held, "hello")
    post(blocked, "out", "behind", conversation=TALK)
    fetch(blocked, token=UUID(int=8))
    lanes = [held.lane_id, empty.lane_id, blocked.lane_id]
    assert fetching.ready(lanes) == {held.lane_id}


def test_ready_waits_for_the_time_of_a_rung(held: Place) -> None:
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        [row] = post(held, "hello")
        Delivery.objects.filter(pk=row.pk).update(
            next_attempt_at=timezone.now() + timedelta(seconds=5)
        )
        assert fetching.ready([held.lane_id]) == set()
        clock.shift(timedelta(seconds=5))
        assert fetching.ready([held.lane_id]) == {held.lane_id}
