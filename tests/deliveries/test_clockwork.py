"""The clockwork: expiry after 24 hours, retention, lanes that were forgotten."""

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import time_machine
from django.db import OperationalError
from django.utils import timezone
from django_q.models import Schedule

from deliveries import clockwork
from deliveries.clockwork import every_minute, expire, install_schedules, purge, purge_keys, unstick
from deliveries.lanes import hold
from deliveries.models import Attempt, DedupeKey, Delivery, Event, Lane, Payload
from deliveries.runner import LaneRunner, run_until_idle
from deliveries.selectors import first_id_of
from deliveries.services import redeliver

from .places import DOWN, REFUSED, Later, by_status, make_place, post

pytestmark = pytest.mark.django_db
START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24)


def state(place):
    return Lane.objects.get(pk=place.lane_id).state


def count_of_everything():
    return [model.objects.count() for model in (Event, Payload, Delivery, Attempt)]


class TestExpiry:
    def test_after_24_hours_what_is_pending_is_dropped_and_its_senders_are_told(self):
        place = make_place(state="held")
        with time_machine.travel(START, tick=False) as clock:
            old = post(place, "a", "b")
            clock.shift(timedelta(hours=1))
            post(place, "c")
            clock.shift(timedelta(hours=23))
            assert expire(timezone.now()) == 2
        assert place.expirations == [delivery.pk for delivery in old]
        assert by_status(place) == {"unreachable": 2, "pending": 1}
        old[0].refresh_from_db()
        assert old[0].error_class == "expired"
        assert old[0].completed_at == START + DAY
        assert (old[0].pending_lane, old[0].next_attempt_at) == (None, None)

    def test_one_second_before_nothing_is_dropped(self):
        place = make_place(state="held")
        with time_machine.travel(START, tick=False):
            post(place, "a")
        assert expire(START + DAY - timedelta(seconds=1)) == 0

    def test_nobody_is_told_twice(self):
        place = make_place(state="held")
        with time_machine.travel(START, tick=False):
            post(place, "a")
        assert [expire(START + DAY), expire(START + DAY)] == [1, 0]
        assert len(place.expirations) == 1

    def test_an_attempt_that_is_out_may_end_first(self):
        place = make_place()
        with time_machine.travel(START, tick=False) as clock:
            [delivery] = post(place, "a")
            clock.shift(DAY)
            later = Later()
            runner = LaneRunner(later, places=1)
            runner.cycle()
            assert expire(timezone.now()) == 0
            later.run_all()
            runner.cycle()
        delivery.refresh_from_db()
        assert delivery.status == "delivered"

    def test_an_attempt_that_a_dead_worker_left_is_closed(self):
        place = make_place()
        with time_machine.travel(START, tick=False) as clock:
            [delivery] = post(place, "a")
            LaneRunner(Later(), places=1).cycle()
            clock.shift(DAY)
            assert expire(timezone.now()) == 1
        assert Attempt.objects.get(delivery=delivery).error_class == "interrupted"

    def test_what_comes_next_in_its_conversation_goes_out(self):
        place, conversation = make_place(), uuid4()
        place.always = lambda message: DOWN if message.text == "a" else REFUSED
        with time_machine.travel(START, tick=False) as clock:
            [first] = post(place, "a", conversation=conversation)
            run_until_idle()
            clock.shift(10)
            [second] = post(place, "b", conversation=conversation)
            Delivery.objects.filter(pk=first.pk).update(next_attempt_at=START + 2 * DAY)
            run_until_idle()
            assert "b" not in place.texts
            clock.move_to(START + DAY)
            assert expire(timezone.now()) == 1
            run_until_idle()
        second.refresh_from_db()
        assert second.status == "failed"  # as its receiver said, and not for want of a turn

    def test_a_sender_that_cannot_be_told_keeps_nothing_from_expiring(self):
        place, other = make_place("place", state="held"), make_place("other", state="held")

        def broken(delivery):
            raise RuntimeError

        place.expired = broken
        with time_machine.travel(START, tick=False):
            post(place, "a")
            post(other, "b")
        assert expire(START + DAY) == 2
        assert len(other.expirations) == 1

    def test_many_expire_in_bounded_batches(self, monkeypatch):
        monkeypatch.setattr(clockwork, "EXPIRE_BATCH", 3)
        place = make_place(state="held")
        with time_machine.travel(START, tick=False):
            post(place, *[str(number) for number in range(10)])
        assert expire(START + DAY) == 10

    def test_a_redelivered_one_has_another_24_hours(self):
        place = make_place(state="held")
        with time_machine.travel(START, tick=False) as clock:
            [delivery] = post(place, "a")
            clock.shift(DAY)
            expire(timezone.now())
            clock.shift(DAY)
            assert redeliver(delivery)
            clock.shift(timedelta(hours=23))
            assert expire(timezone.now()) == 0
            clock.shift(timedelta(hours=1))
            assert expire(timezone.now()) == 1


class TestRetention:
    """Ids carry the real time, whatever the tests' clock says; so these tests look ahead."""

    def test_what_is_past_its_30_days_goes_with_all_that_hangs_on_it(self):
        place = make_place()
        place.script = [DOWN]
        post(place, "a", "b")
        run_until_idle()
        assert purge(timezone.now() + timedelta(days=29)) == 0
        assert purge(timezone.now() + timedelta(days=31)) == 2
        assert count_of_everything() == [0, 0, 0, 0]

    def test_what_is_pending_stays_with_its_event_and_its_payload(self):
        place = make_place(state="held")
        [waiting] = post(place, "a")
        run_until_idle()
        assert purge(timezone.now() + timedelta(days=31)) == 0
        assert count_of_everything() == [1, 2, 1, 0]
        assert waiting.pk

    def test_what_is_pending_does_not_keep_the_rest(self, monkeypatch):
        monkeypatch.setattr(clockwork, "BATCH", 2)
        held, place = make_place("held", state="held"), make_place("place")
        for _ in range(3):
            post(held, "a")
            post(place, "b", "c")
        run_until_idle()
        assert purge(timezone.now() + timedelta(days=31)) == 6
        assert Event.objects.count() == 3

    def test_a_purge_stops_when_its_time_is_up(self, monkeypatch):
        monkeypatch.setattr(clockwork, "BATCH", 2)
        monkeypatch.setattr(clockwork, "SECONDS", 0.0)
        place = make_place()
        post(place, *"abcde")
        run_until_idle()
        later = timezone.now() + timedelta(days=31)
        assert [purge(later), purge(later), purge(later)] == [2, 2, 1]

    def test_idempotency_keys_are_forgotten_after_their_hour(self):
        now = timezone.now()
        for age in (59, 61):
            DedupeKey.objects.create(
                key=os.urandom(16), event_id=uuid4(), digest=b"", at=now - timedelta(minutes=age)
            )
        assert purge_keys(now) == 1
        assert DedupeKey.objects.count() == 1

    def test_the_first_id_of_a_moment_is_before_every_id_made_then(self):
        made = UUID("019a3c5e-7f00-7000-8000-000000000000")
        moment = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
        assert first_id_of(moment) <= made < first_id_of(moment + timedelta(milliseconds=1))


class TestForgottenLanes:
    def test_an_open_lane_with_parked_deliveries_flushes_all_of_them(self):
        place = make_place(cap=1)
        post(place, *"abc")
        Delivery.objects.update(next_attempt_at=None)
        # One that is scheduled far off must not hide the others.
        post(place, "later")
        Delivery.objects.filter(next_attempt_at__isnull=False).update(
            next_attempt_at=timezone.now() + timedelta(hours=1)
        )
        assert unstick(timezone.now()) == 1
        run_until_idle()
        assert place.texts == ["a", "b", "c"]
        assert state(place) == "open"

    def test_what_waits_behind_its_conversation_is_not_forgotten(self):
        place, conversation = make_place(), uuid4()
        place.always = DOWN
        post(place, "a", "b", conversation=conversation)
        run_until_idle()
        assert unstick(timezone.now()) == 0

    def test_a_deleted_conversation_leaves_nobody_waiting_behind(self):
        place, conversation = make_place(), uuid4()
        place.always = DOWN
        post(place, "a", "b", conversation=conversation)
        run_until_idle()
        Delivery.objects.update(conversation_id=None)
        unstick(timezone.now())
        run_until_idle()
        assert "b" in place.texts

    def test_a_failing_lane_whose_probe_expired_gets_another(self):
        place = make_place(state="failing", failed_at=timezone.now() - timedelta(minutes=6))
        post(place, "a", "b")
        Delivery.objects.update(next_attempt_at=None)
        assert unstick(timezone.now()) == 1
        run_until_idle()
        assert place.texts == ["a", "b"]

    def test_a_failing_lane_with_an_attempt_out_is_left_alone(self):
        place = make_place(state="failing", failed_at=timezone.now() - timedelta(minutes=6))
        post(place, "a", "b")
        LaneRunner(Later(), places=1).cycle()
        assert unstick(timezone.now()) == 0

    def test_a_held_lane_is_left_alone(self):
        place = make_place()
        hold(place.lane_id)
        post(place, "a")
        run_until_idle()
        assert unstick(timezone.now()) == 0


class TestEveryMinute:
    def test_one_duty_that_fails_does_not_keep_the_others_from_theirs(self, monkeypatch):
        def broken(now):
            raise RuntimeError

        monkeypatch.setattr(clockwork, "unstick", broken)
        place = make_place(state="held")
        with time_machine.travel(START, tick=False):
            post(place, "a")
        with time_machine.travel(START + DAY, tick=False):
            every_minute()
        assert by_status(place) == {"unreachable": 1}

    def test_a_database_that_is_away_is_not_asked_again_and_again(self, monkeypatch):
        def away(now):
            raise OperationalError

        monkeypatch.setattr(clockwork, "unstick", away)
        with pytest.raises(OperationalError):
            every_minute()

    def test_its_schedule_is_installed_once(self):
        install_schedules()
        [before] = Schedule.objects.filter(name__startswith="hermes")
        install_schedules()
        [after] = Schedule.objects.filter(name__startswith="hermes")
        assert (after.pk, after.next_run) == (before.pk, before.next_run)

    def test_a_schedule_that_was_installed_twice_or_changed_is_mended(self):
        install_schedules()
        [row] = Schedule.objects.filter(name__startswith="hermes")
        row.pk, row.func = None, "nowhere"
        row.save()
        Schedule.objects.update(minutes=7)
        install_schedules()
        [mended] = Schedule.objects.filter(name__startswith="hermes")
        assert (mended.func, mended.minutes) == ("deliveries.clockwork.every_minute", 1)
