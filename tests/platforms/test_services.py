import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from deliveries.models import Delivery, Event, Lane
from platforms.models import Channel
from platforms.registry import senders
from platforms.services import (
    UnknownChannel,
    channel_for,
    notice,
    save_config,
)
from platforms.services import (
    test_connection as check_connection,
)

from .fake import Answer, FakePlatform
from .test_telegram import TOKEN, no

pytestmark = pytest.mark.django_db

ME = Answer.json(200, {"ok": True, "result": {"username": "hermes_bot"}})


def telegram(name: str = "ops", **facts: Any) -> Channel:
    facts = {"config": {"bot_token": TOKEN}, **facts}
    return Channel.objects.create(name=name, kind="telegram", **facts)


def test_a_channel_is_found_by_its_name() -> None:
    ops, _other = telegram(), telegram("other")
    assert channel_for("ops") == ops


def test_a_channel_is_found_by_its_name_when_it_is_off() -> None:
    ops = telegram(enabled=False)
    assert channel_for("ops") == ops


def test_a_channel_is_found_by_a_platform_that_has_only_one() -> None:
    telegram("old", enabled=False)
    ops = telegram()
    assert channel_for("telegram") == ops


def test_a_name_goes_before_a_platform() -> None:
    telegram()
    named = Channel.objects.create(name="telegram", kind="log")
    assert channel_for("telegram") == named


def test_log_is_always_found() -> None:
    assert channel_for("log").kind == "log"


def test_several_of_a_platform_must_be_named() -> None:
    telegram("a"), telegram("b")
    with pytest.raises(UnknownChannel, match="a, b"):
        channel_for("telegram")


def test_a_platform_that_is_off_says_which_to_enable() -> None:
    telegram(enabled=False)
    with pytest.raises(UnknownChannel, match="ops"):
        channel_for("telegram")


def test_a_platform_without_a_channel_says_so() -> None:
    with pytest.raises(UnknownChannel, match="no telegram channel yet"):
        channel_for("telegram")


def test_an_unknown_name_says_which_platforms_there_are() -> None:
    known = re.escape(", ".join(senders()))
    with pytest.raises(UnknownChannel, match=rf"telegarm.*platforms: {known}\."):
        channel_for("telegarm")


def test_a_test_that_succeeds_frees_the_channel(fake: FakePlatform) -> None:
    ops = telegram(health="needs_attention", health_reason="HTTP 401")
    fake.script(ME)
    assert check_connection(ops).ok
    ops.refresh_from_db()
    assert (ops.health, ops.health_reason) == ("ok", "")
    assert ops.checked_at is not None


def test_a_test_that_fails_flags_the_channel(fake: FakePlatform) -> None:
    ops = telegram()
    fake.script(no(401, "Unauthorized"))
    check = check_connection(ops)
    ops.refresh_from_db()
    assert not check.ok
    assert (ops.health, ops.health_reason) == ("needs_attention", check.detail)
    assert TOKEN not in ops.health_reason


def test_a_second_test_within_ten_seconds_calls_nobody(fake: FakePlatform) -> None:
    ops = telegram()
    fake.script(ME)
    check_connection(ops)
    again = check_connection(ops)
    assert not again.ok
    assert "10 seconds" in again.detail
    assert len(fake.requests) == 1
    ops.refresh_from_db()
    assert ops.health == "ok"
    with time_machine.travel(timezone.now() + timedelta(seconds=11), tick=True):
        assert check_connection(ops).ok


def test_testing_an_unknown_platform_says_so() -> None:
    pigeon = Channel.objects.create(name="pigeon", kind="pigeon")
    assert not check_connection(pigeon).ok


def test_saving_keeps_a_secret_that_was_left_empty() -> None:
    ops = telegram()
    assert save_config(ops, {"bot_token": "", "api_base": ""}, {"chat_id": "5"}) == {}
    ops.refresh_from_db()
    assert ops.config == {"bot_token": TOKEN}
    assert ops.home == {"chat_id": "5"}


def test_saving_lets_the_runners_load_the_channel_anew() -> None:
    ops = telegram()
    before = Lane.objects.get(pk=ops.lane_id).version
    save_config(ops, {"bot_token": ""}, {})
    assert Lane.objects.get(pk=ops.lane_id).version == before + 1


def test_saving_leaves_what_the_engine_found_meanwhile() -> None:
    ops = telegram()
    Channel.objects.update(health="needs_attention", health_reason="HTTP 401")
    save_config(ops, {"bot_token": ""}, {})
    ops.refresh_from_db()
    assert ops.health == "needs_attention"


def test_a_generated_secret_is_returned_once() -> None:
    hook = Channel(name="hook", kind="webhook")
    form = {"url": "https://example.com/", "secret": "", "new_secret": False, "also_sign": []}
    generated = save_config(hook, form, {})
    assert generated == {"secret": hook.config["secret"]}
    assert save_config(hook, form, {}) == {}


def test_a_channels_secrets_are_not_in_the_database_in_clear() -> None:
    from django.db import connection

    telegram()
    with connection.cursor() as cursor:
        cursor.execute("SELECT config FROM platforms_channel WHERE name = 'ops'")
        assert TOKEN not in cursor.fetchone()[0]


def test_a_notice_is_an_event_and_a_delivery_to_the_channel() -> None:
    ops = telegram()
    event = Event.objects.get(pk=notice(ops, "Agent unreachable"))
    assert (event.source, event.type) == ("system", "notice")
    delivery = Delivery.objects.get(event=event)
    assert (delivery.lane_id, delivery.status) == (ops.lane_id, "pending")
