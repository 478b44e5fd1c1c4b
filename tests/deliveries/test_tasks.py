"""Slots: who runs the lanes, for how long, and who comes next."""

import threading
import time
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connections
from django.utils import timezone
from django_q.models import OrmQ

from deliveries import tasks, wake
from deliveries.models import Runner
from deliveries.runner import LaneRunner
from deliveries.selectors import runner_age
from deliveries.tasks import ensure_runners, replace_runners, run_lanes

from .places import make_place, post

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _short_slices(settings, tmp_path, monkeypatch):
    settings.HERMES_DATA_DIR = tmp_path
    monkeypatch.setattr(tasks, "SLICE_SECONDS", 0.2)
    monkeypatch.setattr(tasks, "LONGEST_SECONDS", 0.6)
    monkeypatch.setattr(tasks, "BEAT_SECONDS", 0.1)


def held_slot(age=timedelta(0), slot=0, **fields):
    return Runner.objects.create(slot=slot, token=uuid4(), beat_at=timezone.now() - age, **fields)


def queued():
    return [row.task["args"] for row in OrmQ.objects.order_by("id")]


@pytest.mark.django_db
class TestTakingTheSlot:
    def test_a_slot_with_a_fresh_heartbeat_is_taken(self):
        before = held_slot()
        assert run_lanes(0) == "the slot is taken"
        assert Runner.objects.get().token == before.token

    def test_a_silent_slot_is_free(self):
        held_slot(timedelta(seconds=6))
        assert tasks._take_slot(0, uuid4(), None)

    def test_a_heartbeat_of_the_future_is_no_heartbeat(self):
        held_slot(-HOUR)  # written before the clock was set back
        assert ensure_runners() == 1
        assert tasks._take_slot(0, uuid4(), None)

    def test_a_successor_takes_over_and_ends_the_wait_for_it(self):
        before = held_slot(handover_at=timezone.now())
        token = uuid4()
        assert tasks._take_slot(0, token, before.token)
        row = Runner.objects.get()
        assert (row.token, row.handover_at) == (token, None)

    def test_a_successor_of_one_that_is_long_gone_finds_the_slot_taken(self):
        held_slot()
        assert not tasks._take_slot(0, uuid4(), uuid4())

    def test_a_slot_beyond_our_runners_does_not_count_as_silent(self):
        held_slot()
        held_slot(HOUR, slot=7)
        age = runner_age()
        assert age is not None
        assert age < timedelta(seconds=2)
        assert ensure_runners() == 0

    def test_replacing_names_the_holder_so_that_even_a_fresh_slot_is_taken(self):
        before = held_slot()
        replace_runners()
        [(slot, predecessor)] = queued()
        assert tasks._take_slot(slot, uuid4(), UUID(predecessor))
        assert before.token != Runner.objects.get().token

    def test_replacing_where_there_is_nobody_enqueues_one(self):
        replace_runners()
        assert queued() == [(0, None)]


@pytest.mark.django_db(transaction=True)
class TestASlice:
    def test_it_shows_that_it_waits_for_its_successor_and_sends_meanwhile(self):
        ran = in_thread(lambda: run_lanes(0))
        until(lambda: Runner.objects.filter(handover_at__isnull=False).exists())
        [(slot, predecessor)] = queued()
        assert (slot, UUID(predecessor)) == (0, Runner.objects.get().token)
        place = make_place()
        post(place, "a")
        until(lambda: place.texts == ["a"])
        ran.join()

    def test_with_no_successor_it_ends_and_lets_go_of_its_slot(self):
        run_lanes(0)
        assert not Runner.objects.exists()
        assert runner_age() is None

    def test_when_it_is_told_to_stop_it_lets_go_at_once(self, monkeypatch):
        monkeypatch.setattr(tasks, "LONGEST_SECONDS", 30)
        monkeypatch.setattr(tasks, "SLICE_SECONDS", 20)
        ran = in_thread(lambda: run_lanes(0))
        until(wake.stop)
        ran.join(2)
        assert not ran.is_alive()
        assert not Runner.objects.exists()
        assert wake.stop() == 0

    def test_when_its_successor_has_the_slot_it_leaves_it_alone(self, monkeypatch):
        monkeypatch.setattr(tasks, "LONGEST_SECONDS", 30)
        ran = in_thread(lambda: run_lanes(0))
        until(queued)
        successor = uuid4()
        tasks._take_slot(0, successor, UUID(queued()[0][1]))
        ran.join(2)
        assert not ran.is_alive()
        assert Runner.objects.get().token == successor

    def test_a_database_that_is_away_for_a_moment_costs_a_moment(self, monkeypatch):
        monkeypatch.setattr(tasks, "LONGEST_SECONDS", 2.0)
        cycle, sleep = LaneRunner.cycle, LaneRunner.sleep

        def fail_once(method):
            def call(self, *args, **options):
                if next(pending, None):
                    raise OperationalError("the database is away")
                return method(self, *args, **options)

            pending = iter([True])
            return call

        monkeypatch.setattr(LaneRunner, "cycle", fail_once(cycle))
        monkeypatch.setattr(LaneRunner, "sleep", fail_once(sleep))
        place = make_place()
        post(place, "a")
        run_lanes(0)
        assert place.texts == ["a"]


def in_thread(work):
    def run():
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(true, seconds=3.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
