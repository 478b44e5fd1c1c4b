import logging
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deliveries import destinations
from deliveries.ids import new_id
from deliveries.ladder import CHANNEL_LADDER
from deliveries.models import Delivery, Lane
from deliveries.outcomes import Outcome, Verdict
from deliveries.record import NewDelivery, NewEvent, record
from deliveries.services import send_direct
from platforms.models import Channel
from platforms.services import channel_for
from platforms.services import test_connection as check_connection

from .fake import Answer, FakePlatform
from .sender_case import text_message
from .test_telegram import OK, TOKEN, no

pytestmark = pytest.mark.django_db


def channel(name: str = "ops", kind: str = "telegram", **facts: Any) -> Channel:
    config = {"bot_token": TOKEN} if kind == "telegram" else {}
    return Channel.objects.create(name=name, kind=kind, **{"config": config, **facts})


def loaded(channel: Channel) -> destinations.Destination:
    return destinations.load([channel.lane])[channel.lane_id]


def test_the_log_channel_is_there_from_the_start() -> None:
    log = Channel.objects.get(name="log")
    assert (log.kind, log.enabled, log.lane.kind, log.lane.cap) == ("log", True, "channel", 4)
    assert loaded(log).send(text_message()).verdict == Verdict.DELIVERED


def test_many_channels_are_loaded_with_one_query() -> None:
    lanes = [channel(f"c{number}").lane for number in range(20)]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = destinations.load(lanes)
    assert len(queries) == 1
    assert set(found) == {lane.pk for lane in lanes}


@pytest.fixture
def unreadable() -> Channel:
    """A channel that was stored with a key which is no more."""
    row = channel("lost")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE platforms_channel SET config = %s WHERE id = %s",
            [Fernet(Fernet.generate_key()).encrypt(b"{}").decode(), row.pk],
        )
    return Channel.objects.defer("config").get(pk=row.pk)


def test_a_configuration_that_no_key_opens_keeps_back_its_own_deliveries_and_no_others(
    unreadable: Channel,
) -> None:
    sound = channel()
    found = destinations.load([unreadable.lane, sound.lane])
    outcome = found[unreadable.lane_id].send(text_message())
    assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "vault_key")
    assert "vault key" in outcome.error
    assert outcome.faults_channel
    assert getattr(found[sound.lane_id], "readable", False)


def test_a_configuration_that_no_key_opens_does_not_hide_the_channel_from_routes(
    unreadable: Channel,
) -> None:
    assert channel_for("lost") == unreadable
    assert channel_for("telegram") == unreadable


def test_testing_a_configuration_that_no_key_opens_names_the_key(unreadable: Channel) -> None:
    check = check_connection(unreadable)
    assert not check.ok
    assert "vault key" in check.detail


def test_in_the_admin_a_configuration_that_no_key_opens_can_be_entered_anew(
    admin_client: Client, unreadable: Channel
) -> None:
    page = f"/admin/platforms/channel/{unreadable.pk}/change/"
    assert admin_client.get("/admin/platforms/channel/").status_code == 200
    Channel.objects.filter(pk=unreadable.pk).update(health="needs_attention")
    assert "lost" in admin_client.get("/admin/").content.decode()
    assert "The vault key does not open" in admin_client.get(page).content.decode()
    assert admin_client.get(page.replace("change", "test")).status_code == 200
    values = {"name": "lost", "enabled": "on"}
    assert admin_client.post(page, values).status_code == 200
    assert admin_client.post(page, {**values, "config-bot_token": TOKEN}).status_code == 302
    assert Channel.objects.get(pk=unreadable.pk).config == {"bot_token": TOKEN}


def test_a_lane_without_a_channel_is_missing() -> None:
    orphan = Lane.objects.create(kind="channel", label="gone")
    assert destinations.load([orphan]) == {}


def test_a_channel_has_its_own_shorter_ladder_and_ten_seconds() -> None:
    destination = loaded(channel())
    assert destination.ladder is CHANNEL_LADDER
    assert destination.budget == 10.0


def test_a_channel_that_is_off_fails_what_comes(fake: FakePlatform) -> None:
    outcome = loaded(channel(enabled=False, home={"chat_id": "5"})).send(text_message())
    assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "channel_disabled")
    assert fake.requests == []


def test_a_platform_that_is_no_more_fails_and_flags_the_channel() -> None:
    outcome = loaded(channel(kind="pigeon")).send(text_message())
    assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "unknown_platform")
    assert outcome.faults_channel


def test_a_fault_makes_the_channel_need_attention(caplog: pytest.LogCaptureFixture) -> None:
    row = channel()
    caplog.set_level(logging.WARNING)
    loaded(row).faulted(Outcome.failed("unauthorized", "HTTP 401", faults_channel=True))
    loaded(row).faulted(Outcome.failed("forbidden", "another", faults_channel=True))
    row.refresh_from_db()
    assert (row.health, row.health_reason) == ("needs_attention", "HTTP 401")
    assert [r.getMessage() for r in caplog.records if r.name == "platforms.destinations"] == [
        "channel ops needs attention: unauthorized"
    ]


def test_giving_up_changes_nothing() -> None:
    row = channel()
    loaded(row).give_up()
    row.refresh_from_db()
    assert row.health == "ok"


def test_an_expiry_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    delivery = Delivery()
    loaded(channel()).expired(delivery)
    assert str(delivery.pk) in caplog.text


def test_a_home_that_moved_is_taken_over(fake: FakePlatform) -> None:
    row = channel(home={"chat_id": "-5", "message_thread_id": "3"})
    before = Lane.objects.get(pk=row.lane_id).version
    fake.script(no(400, "Bad Request: upgraded", migrate_to_chat_id=-100777), OK)
    destination, message = loaded(row), text_message()
    outcome = destination.send(message)
    destination.answered(Delivery(), message, outcome)
    row.refresh_from_db()
    assert row.home == {"chat_id": "-100777", "message_thread_id": "3"}
    assert Lane.objects.get(pk=row.lane_id).version == before + 1


def test_another_chat_that_moved_leaves_the_home_alone(fake: FakePlatform) -> None:
    row = channel(home={"chat_id": "-9"})
    fake.script(no(400, "Bad Request: upgraded", migrate_to_chat_id=-100777), OK)
    destination, message = loaded(row), text_message(target={"chat_id": "-5"})
    destination.answered(Delivery(), message, destination.send(message))
    row.refresh_from_db()
    assert row.home == {"chat_id": "-9"}


def test_an_ordinary_success_has_no_more_to_say(fake: FakePlatform) -> None:
    fake.script(Answer.json(200, {"ok": True, "result": {}}))
    assert loaded(channel(home={"chat_id": "5"})).send(text_message()).answer is None


def sent_directly(row: Channel, **facts: Any) -> Delivery:
    """Record a delivery and send it through the engine, once."""
    token, now = new_id(), timezone.now()
    event = NewEvent(source="route", type="push", body=b"{}")
    payload = {"type": "text", "text": "Deployed"}
    lease = now + timedelta(seconds=20)
    new = NewDelivery(
        event, row.lane_id, "message.new", payload, claim=token, lease_until=lease, **facts
    )
    record([event], [new])
    send_direct(new.id, token)
    return Delivery.objects.get(pk=new.id)


def test_the_engine_delivers_to_a_channel(fake: FakePlatform) -> None:
    fake.script(OK)
    delivery = sent_directly(channel(), target={"chat_id": "5"})
    [attempt] = delivery.attempts.all()
    assert (delivery.status, attempt.verdict, attempt.status) == ("delivered", "delivered", 200)
    assert attempt.provider_ids == {"message_id": ["42"]}
    assert "sendMessage" in attempt.request
    assert TOKEN not in attempt.request + attempt.response + attempt.error


def test_the_engine_flags_a_channel_whose_credential_is_refused(fake: FakePlatform) -> None:
    row = channel(home={"chat_id": "5"})
    fake.script(no(401, "Unauthorized"))
    delivery = sent_directly(row)
    row.refresh_from_db()
    assert (delivery.status, delivery.error_class) == ("failed", "unauthorized")
    assert row.health == "needs_attention"
    assert "Unauthorized" in row.health_reason


def test_the_engine_moves_a_home(fake: FakePlatform) -> None:
    row = channel(home={"chat_id": "-5"})
    fake.script(no(400, "Bad Request: upgraded", migrate_to_chat_id=-100777), OK)
    assert sent_directly(row).status == "delivered"
    row.refresh_from_db()
    assert row.home == {"chat_id": "-100777"}


def test_what_goes_to_a_deleted_channel_fails(fake: FakePlatform) -> None:
    row = channel(home={"chat_id": "5"})
    fake.script(OK)
    assert sent_directly(row).status == "delivered"
    Channel.objects.get(pk=row.pk).delete()
    delivery = sent_directly(row)
    assert (delivery.status, delivery.error_class) == ("failed", "no_destination")
    assert len(fake.requests) == 1
