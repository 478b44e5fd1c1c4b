"""Incidents begin, are told once, end, and that is told once."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
import time_machine
from django.utils import timezone

from agents.models import Agent
from agents.services import mark_unreachable, recover
from deliveries.models import Delivery, Event, Payload, Runner
from deliveries.runner import run_until_idle
from hermes_site import alerts
from hermes_site.models import AlertSettings, Incident
from platforms.models import Channel
from tests.admin.rows import a_refusal

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands until it is moved."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def _alive(clock: Any, runner: Runner) -> None:
    """A runner that is alive now."""


def minutes_pass(clock: time_machine.Traveller, minutes: float = 1) -> list[str]:
    """Let a look be taken every minute; return what was told."""
    before = len(texts())
    for _ in range(round(minutes)):
        clock.shift(timedelta(minutes=1))
        Runner.objects.update(beat_at=timezone.now())
        alerts.watch(timezone.now())
    return texts()[before:]


def texts() -> list[str]:
    notices = Event.objects.filter(type="notice").order_by("pk")
    bodies = Payload.objects.in_bulk([event.pk for event in notices])
    return [orjson.loads(bytes(bodies[event.pk].body))["text"] for event in notices]


def test_an_unreachable_agent_is_told_once_and_its_recovery_once(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    mark_unreachable(agent)
    [text] = minutes_pass(clock)
    assert text.startswith("Hermes: An agent is unreachable: DemoBot\nSince 2026-03-04 12:00 UTC;")
    assert text.endswith(f"http://localhost:8644/admin/agents/agent/{agent.pk}/change/")
    assert minutes_pass(clock, 30) == []
    recover(agent)
    [text] = minutes_pass(clock)
    assert text == "Hermes: over after 31\xa0minutes: An agent is unreachable: DemoBot"
    assert minutes_pass(clock, 30) == []


def test_the_next_time_is_another_incident(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    for _ in range(2):
        mark_unreachable(agent)
        assert len(minutes_pass(clock)) == 1
        recover(agent)
        assert len(minutes_pass(clock)) == 1
    assert Incident.objects.count() == 2


def test_an_alert_is_a_delivery_in_the_history(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    mark_unreachable(agent)
    minutes_pass(clock)
    incident = Incident.objects.get()
    delivery = Delivery.objects.get(event=incident.told_event)
    assert (delivery.lane_id, delivery.status) == (told.channel.lane_id, "pending")
    run_until_idle()
    delivery.refresh_from_db()
    assert delivery.status == "delivered"


def test_two_workers_at_once_tell_once(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    mark_unreachable(agent)
    clock.shift(timedelta(minutes=1))
    alerts.watch(timezone.now())
    alerts.watch(timezone.now())
    assert len(texts()) == 1


def test_what_begins_in_one_minute_is_one_message(
    told: AlertSettings, agent: Agent, channel: Channel, clock: time_machine.Traveller
) -> None:
    mark_unreachable(agent)
    Channel.objects.filter(pk=channel.pk).update(health="needs_attention", health_reason="401.")
    [text] = minutes_pass(clock)
    assert "An agent is unreachable: DemoBot" in text
    assert "A channel needs attention: team-chat\n401." in text


def test_a_message_names_twenty_and_counts_the_rest(
    told: AlertSettings, clock: time_machine.Traveller
) -> None:
    for number in range(23):
        Channel.objects.create(name=f"c{number}", kind="log", health="needs_attention")
    [text] = minutes_pass(clock)
    assert text.count("A channel needs attention") == 20
    assert "And 3 more." in text
    assert minutes_pass(clock, 3) == []


def test_a_kind_that_is_not_ticked_is_kept_and_not_told(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    told.kinds = ["channel"]
    told.save()
    mark_unreachable(agent)
    assert minutes_pass(clock, 2) == []
    assert Incident.objects.filter(kind="agent", told_at=None).exists()


def test_without_a_channel_incidents_are_kept_and_told_once_there_is_one(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    AlertSettings.objects.update(channel=None)
    mark_unreachable(agent)
    assert minutes_pass(clock, 5) == []
    AlertSettings.objects.update(channel=told.channel)
    assert len(minutes_pass(clock)) == 1


def test_the_channel_of_the_alerts_is_not_told_that_it_ails_itself(
    told: AlertSettings, clock: time_machine.Traveller
) -> None:
    ops = Channel.objects.filter(pk=told.channel_id)
    ops.update(health="needs_attention")
    assert minutes_pass(clock, 30) == []
    assert Incident.objects.get().label == "ops"
    ops.update(health="ok")
    assert minutes_pass(clock, 30) == []


def test_its_substitute_is_told(
    told: AlertSettings, channel: Channel, clock: time_machine.Traveller
) -> None:
    AlertSettings.objects.update(substitute=channel)
    Channel.objects.filter(pk=told.channel_id).update(enabled=True, health="needs_attention")
    [text] = minutes_pass(clock)
    assert "A channel needs attention: ops" in text
    assert Delivery.objects.get().lane_id == channel.lane_id


def test_an_alert_that_fails_makes_no_further_alert(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    mark_unreachable(agent)
    minutes_pass(clock)
    Delivery.objects.update(status="failed", completed_at=timezone.now(), pending_lane=None)
    assert minutes_pass(clock, 30) == []


def test_errors_that_come_and_go_are_one_incident(
    told: AlertSettings, route: Any, clock: time_machine.Traveller
) -> None:
    def refuse() -> None:
        for _ in range(10):
            a_refusal(at=timezone.now())

    refuse()
    assert len(minutes_pass(clock)) == 1
    assert minutes_pass(clock, 17) == []  # they are out of the window, for two minutes
    refuse()
    assert minutes_pass(clock, 15) == []
    [over] = minutes_pass(clock, 6)
    assert over.startswith("Hermes: over after")


@pytest.mark.parametrize(
    ("begin", "end", "at", "quiet"),
    [
        (None, None, "03:00", False),
        ("22:00", "07:00", "23:00", True),
        ("22:00", "07:00", "06:59", True),
        ("22:00", "07:00", "07:00", False),
        ("22:00", "07:00", "21:59", False),
        ("12:00", "14:00", "12:00", True),
        ("12:00", "14:00", "14:00", False),
    ],
)
def test_quiet_hours_are_by_the_clock_of_their_zone(
    begin: str | None, end: str | None, at: str, quiet: bool
) -> None:
    limits = AlertSettings(
        quiet_from=begin and time.fromisoformat(begin),
        quiet_until=end and time.fromisoformat(end),
        quiet_zone="Asia/Shanghai",
    )
    there = datetime.combine(START.date(), time.fromisoformat(at), ZoneInfo("Asia/Shanghai"))
    assert alerts.is_quiet(limits, there.astimezone(UTC)) is quiet


def quiet_until_half_past_twelve() -> None:
    AlertSettings.objects.update(quiet_from=time(11), quiet_until=time(12, 30))


def test_what_begins_in_quiet_hours_is_told_when_they_end(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    quiet_until_half_past_twelve()
    mark_unreachable(agent)
    assert minutes_pass(clock, 29) == []
    assert len(minutes_pass(clock)) == 1


def test_what_begins_and_ends_in_quiet_hours_is_not_told(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    quiet_until_half_past_twelve()
    mark_unreachable(agent)
    minutes_pass(clock, 5)
    recover(agent)
    assert minutes_pass(clock, 60) == []
    assert Incident.objects.get().closed_at is not None


def test_an_end_in_quiet_hours_is_told_after_them(
    told: AlertSettings, agent: Agent, clock: time_machine.Traveller
) -> None:
    mark_unreachable(agent)
    minutes_pass(clock)
    quiet_until_half_past_twelve()
    recover(agent)
    assert minutes_pass(clock, 28) == []
    [text] = minutes_pass(clock, 2)
    assert "over after 1\xa0minute:" in text


def test_a_time_without_a_worker_is_told_when_one_is_back(
    told: AlertSettings, clock: time_machine.Traveller
) -> None:
    minutes_pass(clock)
    clock.shift(timedelta(hours=4))
    [text] = minutes_pass(clock)
    assert text.startswith("Hermes: The worker is not running\nNothing was sent from 2026-03-04")
    assert "12:01 UTC to 2026-03-04 16:02 UTC" in text
    assert minutes_pass(clock, 10) == []


def test_a_runner_that_stays_silent_is_told_after_a_minute(
    told: AlertSettings, clock: time_machine.Traveller
) -> None:
    def looked() -> list[str]:
        clock.shift(timedelta(minutes=1))
        alerts.watch(timezone.now())
        return texts()

    assert looked() == []  # the beat is a minute old
    assert looked() == []  # noticed
    assert len(looked()) == 1
    assert len(looked()) == 1


def test_a_clock_that_was_set_back_is_no_time_without_a_worker(
    told: AlertSettings, clock: time_machine.Traveller
) -> None:
    clock.shift(timedelta(hours=-5))
    assert minutes_pass(clock, 3) == []


def test_old_incidents_are_forgotten(told: AlertSettings, clock: time_machine.Traveller) -> None:
    long_ago = timezone.now() - timedelta(days=31)
    for closed in (long_ago, None):
        Incident.objects.create(
            kind="route", subject=f"r{closed}", opened_at=long_ago, seen_at=long_ago,
            closed_at=closed,
        )  # fmt: skip
    minutes_pass(clock)
    assert Incident.objects.get().closed_at is not None  # the one that had not ended, now has


def test_nothing_is_written_about_a_state_that_is_well(
    told: AlertSettings, clock: time_machine.Traveller, django_assert_max_num_queries: Any
) -> None:
    clock.shift(timedelta(minutes=1))
    Runner.objects.update(beat_at=timezone.now())
    with django_assert_max_num_queries(20):
        alerts.watch(timezone.now())
    assert not Incident.objects.exists()
