"""Which conversation an event belongs to, and for how long one is kept."""

from datetime import timedelta
from threading import Thread
from uuid import UUID

import pytest
import time_machine
from django.db import connections
from django.utils import timezone

from agents.models import Agent, Conversation
from agents.services import conversation_id, post_message, purge_conversations
from deliveries.clockwork import every_minute, purge
from deliveries.models import Delivery, Event
from deliveries.transactions import write_transaction
from platforms.models import Channel

from .conftest import deliver, make_agent, make_conversation

HELLO = {"type": "text", "text": "你好"}
KEY = "acme/site#7"
MONTH = timedelta(days=32)


def test_the_id_of_a_key_is_always_the_same() -> None:
    agent_id = UUID("01930b1e-7a00-7000-8000-000000000001")
    expected = UUID("07687d83-afca-57f2-9714-1d60b54f383b")
    assert conversation_id(agent_id, "acme/site#7 – 尺寸") == expected


def test_another_key_or_another_agent_is_another_conversation(agent: Agent) -> None:
    other = make_agent("other")
    ids = {conversation_id(one.pk, key) for one in (agent, other) for key in (KEY, f"{KEY}7")}
    assert len(ids) == 4


@pytest.fixture
def shared(agent: Agent, channel: Channel) -> Conversation:
    """A conversation of a key, begun now."""
    conversation = make_conversation(agent, channel, KEY)
    Conversation.objects.filter(pk=conversation.pk).update(id=conversation_id(agent.pk, KEY))
    return Conversation.objects.get(key=KEY)


def single(agent: Agent, channel: Channel) -> Conversation:
    """A conversation of one event, under its id."""
    conversation = make_conversation(agent, channel, "webhook:pulls:1")
    delivery = deliver(agent, conversation)
    Delivery.objects.filter(pk=delivery.pk).update(status="delivered", pending_lane=None)
    Conversation.objects.filter(pk=conversation.pk).update(id=delivery.event_id)
    return Conversation.objects.get(pk=delivery.event_id)


def finish(delivery: Delivery) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(
        status="delivered", pending_lane=None, next_attempt_at=None
    )


def purged_after(wait: timedelta) -> int:
    with time_machine.travel(timezone.now() + wait):
        purge(timezone.now())
        return purge_conversations(timezone.now())


def test_a_conversation_that_was_not_used_for_a_month_is_forgotten(shared: Conversation) -> None:
    assert purged_after(MONTH) == 1
    assert not Conversation.objects.exists()


def test_a_conversation_of_one_event_goes_with_its_event(agent: Agent, channel: Channel) -> None:
    single(agent, channel)
    assert purged_after(MONTH) == 1
    assert not Event.objects.exists()


def test_a_young_conversation_stays(agent: Agent, shared: Conversation, channel: Channel) -> None:
    single(agent, channel)
    assert purged_after(timedelta(days=29)) == 0


def test_a_message_of_the_agent_keeps_its_conversation(agent: Agent, shared: Conversation) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=20)):
        event = post_message(agent, shared.pk, HELLO)
        Delivery.objects.filter(event=event).update(status="delivered", pending_lane=None)
    assert purged_after(timedelta(days=40)) == 0
    assert purged_after(timedelta(days=20) + MONTH) == 1


@pytest.mark.parametrize(("hours", "noted"), [(23, False), (25, True)])
def test_the_use_of_a_conversation_is_noted_once_a_day(
    agent: Agent, shared: Conversation, hours: int, noted: bool
) -> None:
    begun = shared.created_at
    with time_machine.travel(timezone.now() + timedelta(hours=hours)):
        post_message(agent, shared.pk, HELLO)
    shared.refresh_from_db()
    assert (shared.created_at > begun) is noted


def test_what_is_pending_keeps_its_conversation(agent: Agent, shared: Conversation) -> None:
    delivery = deliver(agent, shared)
    assert purged_after(MONTH) == 0
    finish(delivery)
    assert purged_after(MONTH) == 1


def test_more_than_a_batch_is_forgotten_at_a_time(
    agent: Agent, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.services.conversations.PURGE_BATCH", 2)
    for number in range(5):
        make_conversation(agent, channel, f"acme/site#{number}")
    assert purged_after(MONTH) == 5


def test_the_clockwork_forgets_conversations(shared: Conversation) -> None:
    with time_machine.travel(timezone.now() + MONTH):
        every_minute()
    assert not Conversation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_that_an_event_is_being_written_to_is_left_alone(
    agent: Agent, shared: Conversation
) -> None:
    if connections["default"].vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    forgotten: list[int] = []

    def forget() -> None:
        try:
            forgotten.append(purged_after(MONTH))
        finally:
            connections.close_all()

    with write_transaction():
        Conversation.objects.filter(pk=shared.pk).update(sender_id="written to")
        thread = Thread(target=forget)
        thread.start()
        thread.join(10)
    assert forgotten == [0]
    assert Conversation.objects.get().sender_id == "written to"
