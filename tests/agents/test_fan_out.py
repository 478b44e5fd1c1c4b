"""An agent's answer goes to every place of its conversation."""

from typing import Any

import pytest

from agents.models import Agent, Conversation
from agents.selectors import places
from agents.services import post_message, tell_expired
from deliveries.models import Event, Lane
from deliveries.runner import run_until_idle
from platforms.models import Channel

from .conftest import deliver, make_conversation

HELLO = {"type": "text", "text": "你好"}


@pytest.fixture
def second(db: None) -> Channel:
    return Channel.objects.create(name="second", kind="log")


@pytest.fixture
def fanned(agent: Agent, channel: Channel, second: Channel) -> Conversation:
    conversation = make_conversation(agent, channel)
    conversation.fan_out = [{"channel_id": second.pk, "target": {"chat_id": "-100"}}]
    conversation.save()
    return conversation


def went_to(event: Event) -> list[tuple[int, Any]]:
    return list(event.deliveries.order_by("pk").values_list("lane_id", "target"))


def test_one_event_and_a_delivery_for_each_place(
    agent: Agent, fanned: Conversation, channel: Channel, second: Channel
) -> None:
    event = post_message(agent, fanned.pk, HELLO)
    assert Event.objects.filter(source="agent").count() == 1
    assert went_to(event) == [
        (channel.lane_id, fanned.target),
        (second.lane_id, {"chat_id": "-100"}),
    ]


def test_each_delivery_arrives(agent: Agent, fanned: Conversation) -> None:
    event = post_message(agent, fanned.pk, HELLO)
    run_until_idle()
    statuses = event.deliveries.values_list("status", flat=True)
    assert list(statuses) == ["delivered", "delivered"]


def test_two_targets_on_one_channel_are_two_places(
    agent: Agent, fanned: Conversation, channel: Channel
) -> None:
    fanned.fan_out = [{"channel_id": channel.pk, "target": {"number": "8"}}]
    fanned.save()
    event = post_message(agent, fanned.pk, HELLO)
    assert [target for _lane, target in went_to(event)] == [fanned.target, {"number": "8"}]


def test_targets_that_come_to_the_same_place_are_told_once(
    agent: Agent, fanned: Conversation, channel: Channel
) -> None:
    fanned.fan_out = [{"channel_id": channel.pk, "target": fanned.target}]
    fanned.save()
    assert post_message(agent, fanned.pk, HELLO).deliveries.count() == 1


@pytest.mark.parametrize("gone", ["notes", "second"])
def test_a_channel_that_was_deleted_leaves_the_others(
    agent: Agent, fanned: Conversation, gone: str
) -> None:
    Channel.objects.get(name=gone).delete()
    event = post_message(agent, fanned.pk, HELLO)
    [(lane_id, _target)] = went_to(event)
    assert Lane.objects.get(pk=lane_id).label != gone


def test_a_channel_that_is_off_fails_where_it_is_seen(
    agent: Agent, fanned: Conversation, second: Channel
) -> None:
    second.enabled = False
    second.save()
    event = post_message(agent, fanned.pk, HELLO)
    run_until_idle()
    statuses = event.deliveries.order_by("pk").values_list("status", flat=True)
    assert list(statuses) == ["delivered", "failed"]


def test_an_expiry_is_told_at_the_first_place_only(
    agent: Agent, fanned: Conversation, channel: Channel
) -> None:
    tell_expired(agent, deliver(agent, fanned))
    assert went_to(Event.objects.get(type="delivery.expired")) == [(channel.lane_id, fanned.target)]


def test_an_expiry_is_told_at_the_next_place_when_the_first_is_gone(
    agent: Agent, fanned: Conversation, channel: Channel, second: Channel
) -> None:
    channel.delete()
    tell_expired(agent, deliver(agent, fanned))
    [(lane_id, _target)] = went_to(Event.objects.get(type="delivery.expired"))
    assert lane_id == second.lane_id


def test_the_places_are_found_in_one_query_and_no_secret_is_opened(
    fanned: Conversation, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1) as asked:
        found = [place.channel.name for place in places(fanned)]
    assert found == ["notes", "second"]
    assert "config" not in asked.captured_queries[0]["sql"]
