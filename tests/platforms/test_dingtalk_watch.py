"""The watch over session webhooks: who is told before one ends, and how often."""

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from deliveries.models import Delivery, Event, Payload
from platforms.dingtalk import sessions
from platforms.dingtalk.watch import watch_sessions
from platforms.models import Channel

from .test_dingtalk_sessions import NOW, callback, channel, note

__all__ = ["channel"]

pytestmark = pytest.mark.django_db

OPS = "cidOps0123456789abcdefgh=="


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "ends at" in record.getMessage()
    ]


def test_nobody_is_warned_while_there_is_time(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    note(channel, callback("private_text"))
    assert watch_sessions(NOW + timedelta(minutes=79)) == 0
    assert warnings(caplog) == []


def test_the_log_warns_before_the_end_once(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    note(channel, callback("private_text"))
    for minute in range(81, 100):
        watch_sessions(NOW + timedelta(minutes=minute))
    [said] = warnings(caplog)
    assert "channel ding: the session webhook of chat cidPrivate" in said
    assert "2023-11-14 23:43:20 UTC (in 9 min)" in said
    assert "the Robot OpenAPI takes over" in said
    assert not Event.objects.exists()


def test_a_renewed_session_is_warned_of_anew(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    note(channel, callback("private_text"))
    assert watch_sessions(NOW + timedelta(minutes=85)) == 1
    note(channel, callback("private_text", sessionWebhookExpiredTime=1700009000000))
    assert watch_sessions(NOW + timedelta(minutes=86)) == 0
    assert watch_sessions(NOW + timedelta(minutes=145)) == 1


def test_an_alert_is_raised_once_where_nothing_else_reaches_the_chat(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    note(channel, callback("outsider_rich_text"))
    for minute in (85, 86, 95):
        watch_sessions(NOW + timedelta(minutes=minute))
    [said] = warnings(caplog)
    assert "then nothing reaches that chat" in said
    [event] = Event.objects.all()
    assert (event.source, event.type) == ("system", "session.ending")
    body = json.loads(bytes(Payload.objects.get(pk=event.pk).body))
    assert body["chat_id"] == "cidOutsider0123456789abcdEF=="
    assert body["text"].startswith("Answers to “供应商” stop at 23:43 UTC, in 5 minutes")
    assert not Delivery.objects.exists()


def test_the_alert_is_said_at_the_channels_home(channel: Channel) -> None:
    Channel.objects.update(home={"chat_id": OPS})
    note(channel, callback("outsider_rich_text"))
    watch_sessions(NOW + timedelta(minutes=85))
    watch_sessions(NOW + timedelta(minutes=86))
    [delivery] = Delivery.objects.all()
    assert (delivery.event_type, delivery.lane_id) == ("notice", channel.lane_id)


def test_a_channel_that_needs_attention_has_no_other_road(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    note(channel, callback("group_text"))
    Channel.objects.update(health="needs_attention")
    watch_sessions(NOW + timedelta(minutes=85))
    assert "then nothing reaches that chat" in warnings(caplog)[0]


def test_a_session_that_ended_with_its_connection_is_not_warned_of(
    channel: Channel, time_machine: Any
) -> None:
    time_machine.move_to(NOW, tick=False)
    note(channel, callback("private_text"))
    sessions.end_all(channel.pk)
    assert watch_sessions(NOW + timedelta(minutes=85)) == 0


def nudges() -> list[Delivery]:
    return list(Delivery.objects.filter(event_type="notice"))


def test_nobody_is_nudged_unless_the_channel_wants_it(channel: Channel) -> None:
    note(channel, callback("group_text"))
    watch_sessions(NOW + timedelta(minutes=85))
    assert nudges() == []


def test_a_nudge_asks_once_in_the_chat_itself(channel: Channel) -> None:
    channel.config = {**channel.config, "nudge": True}
    channel.save()
    note(channel, callback("group_text"))
    for minute in (70, 81, 82, 89, 95):
        watch_sessions(NOW + timedelta(minutes=minute))
    [nudge] = nudges()
    assert nudge.target == {"chat_id": "cidGroup0123456789abcdEFGH=="}
    body = json.loads(bytes(Payload.objects.get(pk=nudge.pk).body))
    assert "for 9 more minutes" in body["text"]


@pytest.mark.parametrize(
    ("second", "asked"), [(10, False), (190, False), (210, True), (250, False)]
)
def test_a_short_session_is_nudged_in_its_last_third_alone(
    channel: Channel, second: int, asked: bool
) -> None:
    channel.config = {**channel.config, "nudge": True}
    channel.save()
    note(channel, callback("group_text", sessionWebhookExpiredTime=1700000300000))
    watch_sessions(NOW + timedelta(seconds=second))
    assert bool(nudges()) == asked


def test_the_watch_is_one_of_the_clockworks_duties(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    from deliveries.clockwork import every_minute

    soon = int((timezone.now() + timedelta(minutes=5)).timestamp() * 1000)
    note(channel, callback("group_text", sessionWebhookExpiredTime=soon), timezone.now())
    every_minute()
    assert len(warnings(caplog)) == 1
