"""Whatever happens, in whatever order: nothing is lost, caps hold, nothing sticks."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import time_machine
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from deliveries.clockwork import expire, unstick
from deliveries.lanes import hold, touch
from deliveries.models import Attempt, Delivery, Lane
from deliveries.outcomes import Outcome
from deliveries.runner import LaneRunner, run_until_idle
from deliveries.services import redeliver, release

from .places import DOWN, OK, REFUSED, Later, make_place, post

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
BUSY = Outcome.retry("rate_limited", "429", status=429, retry_after=20.0)


class Engine(RuleBasedStateMachine):
    """Two runners, two places, a clock, a person with buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = time_machine.travel(START, tick=False)
        self.now = self.clock.start()
        self.places = [make_place("one", cap=1), make_place("two", cap=3)]
        self.threads = [Later(), Later()]
        self.runners = [LaneRunner(threads, places=4) for threads in self.threads]
        self.conversations: list[UUID | None] = [None, uuid4()]
        self.was_set_back = False

    def teardown(self) -> None:
        """Let everything come back to life: then all must end, in order, and once each."""
        try:
            for threads in self.threads:
                threads.run_all()
            for place in self.places:
                place.always = OK
                release(place.lane_id)
            for _ in range(6):
                for runner, threads in zip(self.runners, self.threads, strict=True):
                    while runner.cycle() or threads.work:
                        threads.run_all()
                self.now.shift(timedelta(minutes=10))
                unstick(timezone.now())
                run_until_idle()
            assert not Delivery.objects.filter(status="pending").exists()
            assert not Attempt.objects.filter(verdict="sending").exists()
            states = Lane.objects.filter(kind="place").values_list("state", flat=True)
            assert set(states) == {"open"}
            for delivery in Delivery.objects.all():
                numbers = delivery.attempts.order_by("number").values_list("number", flat=True)
                assert list(numbers) == list(range(1, delivery.attempt_count + 1))
        finally:
            self.clock.stop()
            Attempt.objects.all().delete()
            Delivery.objects.all().delete()
            Lane.objects.filter(kind="place").delete()

    place = st.sampled_from([0, 1])
    which = st.sampled_from([0, 1])

    @rule(place=place, conversation=which, count=st.integers(1, 6))
    def arrive(self, place: int, conversation: int, count: int) -> None:
        post(self.places[place], *"abcdef"[:count], conversation=self.conversations[conversation])

    @rule(place=place, outcome=st.sampled_from([OK, DOWN, REFUSED, BUSY]))
    def answers(self, place: int, outcome: Outcome) -> None:
        self.places[place].always = outcome

    @rule(which=which)
    def cycle(self, which: int) -> None:
        self.runners[which].cycle()

    @rule(which=which)
    def finish(self, which: int) -> None:
        if self.threads[which].work:
            self.threads[which].run_one()

    @rule(which=which)
    def die(self, which: int) -> None:
        self.threads[which] = Later()
        self.runners[which] = LaneRunner(self.threads[which], places=4)

    @rule(seconds=st.sampled_from([1, 16, 31, 130, 500, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.now.shift(seconds)

    @rule()
    def clock_is_set_back(self) -> None:
        self.now.shift(-90)
        self.was_set_back = True

    @rule(place=place, act=st.sampled_from([hold, release, touch]))
    def press(self, place: int, act: Any) -> None:
        act(self.places[place].lane_id)

    @rule(number=st.integers(0, 5))
    def press_redeliver(self, number: int) -> None:
        rows = Delivery.objects.order_by("id")[number : number + 1]
        for delivery in rows:
            redeliver(delivery)

    @rule()
    def minute(self) -> None:
        unstick(timezone.now())
        expire(timezone.now())

    @invariant()
    def caps_hold(self) -> None:
        if self.was_set_back:
            return  # a lease that had run out runs once more
        for place in self.places:
            out = Delivery.objects.filter(
                lane_id=place.lane_id, claim__isnull=False, next_attempt_at__gt=timezone.now()
            )
            assert out.count() <= Lane.objects.get(pk=place.lane_id).cap
            talks = [row.conversation_id for row in out if row.conversation_id]
            assert len(talks) == len(set(talks))

    @invariant()
    def what_ended_is_not_scheduled(self) -> None:
        ended = Delivery.objects.exclude(status="pending")
        assert not ended.exclude(pending_lane=None, next_attempt_at=None, claim=None).exists()


class TestEngine(TestCase):
    def test_in_any_order(self) -> None:
        run_state_machine_as_test(
            Engine,
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
