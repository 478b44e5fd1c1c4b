"""What an agent says, and what is said on its behalf."""

import json
import logging
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.utils import timezone

from agents.connections import load
from agents.models import Agent, Conversation
from agents.services import UnknownConversation, post_message
from deliveries.models import Delivery, Event, Payload
from deliveries.outcomes import Outcome
from platforms.models import Channel

from .conftest import deliver, make_agent, make_conversation, make_message

HELLO = {"type": "text", "text": "你好"}


def body_of(row: Event | Delivery) -> Any:
    return json.loads(bytes(Payload.objects.get(pk=row.pk).body))


def sent(delivery: Delivery) -> Delivery:
    """Let a delivery have been tried."""
    Delivery.objects.filter(pk=delivery.pk).update(attempt_count=1)
    return delivery


def test_a_message_goes_to_the_conversations_place(
    agent: Agent, conversation: Conversation, channel: Channel
) -> None:
    event = post_message(agent, conversation.pk, HELLO)
    assert (event.source, event.type, event.conversation_id) == (
        "agent",
        "message.new",
        conversation.pk,
    )
    assert body_of(event) == HELLO
    [delivery] = event.deliveries.all()
    assert delivery.lane_id == channel.lane_id
    assert delivery.target == {"repo": "acme/site", "number": "7"}
    assert delivery.conversation_id == conversation.pk
    assert body_of(delivery) == HELLO


def test_a_message_carries_on_the_trace_it_is_given(
    agent: Agent, conversation: Conversation
) -> None:
    trace = deliver(agent, conversation).event.trace
    assert post_message(agent, conversation.pk, HELLO, trace=trace).trace == trace


def test_a_message_without_a_trace_joins_what_the_agent_got_last_in_there(
    agent: Agent, conversation: Conversation, channel: Channel
) -> None:
    sent(deliver(agent, conversation))
    latest = sent(deliver(agent, conversation)).event.trace
    sent(deliver(agent, make_conversation(agent, channel, "acme/site#8")))
    assert post_message(agent, conversation.pk, HELLO).trace == latest


def test_what_the_agent_was_not_sent_yet_it_does_not_answer(
    agent: Agent, conversation: Conversation
) -> None:
    asked = sent(deliver(agent, conversation)).event.trace
    deliver(agent, conversation)
    assert post_message(agent, conversation.pk, HELLO).trace == asked


@pytest.mark.parametrize("named", ["pk", "event_id"])
def test_an_answer_may_name_the_delivery_or_the_event_it_is_for(
    agent: Agent, conversation: Conversation, named: str
) -> None:
    asked = sent(deliver(agent, conversation))
    sent(deliver(agent, conversation))
    answer = post_message(agent, conversation.pk, HELLO, in_reply_to=getattr(asked, named))
    assert answer.trace == asked.event.trace


def test_an_answer_to_a_message_of_another_conversation_is_a_field_error(
    agent: Agent, conversation: Conversation, channel: Channel
) -> None:
    elsewhere = sent(deliver(agent, make_conversation(agent, channel, "acme/site#8")))
    with pytest.raises(ValidationError) as caught:
        post_message(agent, conversation.pk, HELLO, in_reply_to=elsewhere.pk)
    assert list(caught.value.message_dict) == ["in_reply_to"]
    assert not Event.objects.filter(source="agent").exists()


def test_a_conversation_of_one_event_finds_it_however_long_ago(
    agent: Agent, channel: Channel
) -> None:
    event = deliver(agent).event
    conversation = make_conversation(agent, channel, "webhook:github-pr")
    Conversation.objects.filter(pk=conversation.pk).update(id=event.pk)
    conversation = Conversation.objects.get(pk=event.pk)
    assert post_message(agent, conversation.pk, HELLO).trace == event.trace


def test_a_message_out_of_the_blue_starts_a_trace(agent: Agent, conversation: Conversation) -> None:
    event = post_message(agent, conversation.pk, HELLO)
    assert event.trace == event.pk


def test_a_conversation_without_a_channel_keeps_the_event_and_says_so(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    event = post_message(agent, make_conversation(agent, None).pk, HELLO)
    assert not event.deliveries.exists()
    assert "has no place" in caplog.text


@pytest.mark.parametrize("unknown", [uuid4(), str(uuid4()), "acme/site#7", "", None])
def test_a_conversation_that_does_not_exist_is_unknown(
    agent: Agent, conversation: Conversation, unknown: Any
) -> None:
    with pytest.raises(UnknownConversation):
        post_message(agent, unknown, HELLO)


def test_another_agents_conversation_is_unknown(conversation: Conversation) -> None:
    with pytest.raises(UnknownConversation):
        post_message(make_agent("other"), conversation.pk, HELLO)
    assert not Event.objects.exists()


def deep(levels: int) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for _level in range(levels):
        nested = {"in": nested}
    return nested


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "hello",
        [HELLO],
        {},
        {"type": "text"},
        {"text": "hello"},
        {"type": "form", "text": "hello"},
        {"type": "text", "text": ""},
        {"type": "text", "text": " \n"},
        {"type": "text", "text": 7},
        {"type": "text", "text": "\ud800"},
        {"type": "text", "text": "x", "more": 2**70},
        {"type": "text", "text": "x", "more": deep(400)},
        {"type": "text", "text": "x" * 1_048_577},
    ],
    ids=lambda payload: str(payload)[:40].encode("ascii", "replace").decode(),
)
def test_a_payload_that_is_no_message_is_a_field_error(
    agent: Agent, conversation: Conversation, payload: Any
) -> None:
    with pytest.raises(ValidationError) as caught:
        post_message(agent, conversation.pk, payload)
    assert list(caught.value.message_dict) == ["payload"]
    assert not Event.objects.exists()


def test_a_saying_with_a_name_is_said_once_in_its_chain(
    agent: Agent, conversation: Conversation
) -> None:
    trace = deliver(agent, conversation).event.trace
    first = post_message(agent, conversation.pk, HELLO, trace=trace, dedupe="a")
    again = post_message(agent, conversation.pk, HELLO, trace=trace, dedupe="a")
    other = post_message(agent, conversation.pk, HELLO, trace=trace, dedupe="b")
    assert first == again != other
    assert first.deliveries.count() == 1


def acknowledge(delivery: Delivery, answer: Any) -> None:
    """Let the engine hand over an answer that came with an acknowledgement."""
    destination = load([delivery.lane])[delivery.lane_id]
    message = make_message(
        id=delivery.pk,
        trace=delivery.event.trace,
        event_id=delivery.event_id,
        conversation_id=delivery.conversation_id,
    )
    destination.answered(delivery, message, Outcome.delivered(answer=answer))


def test_an_answer_in_the_acknowledgement_is_posted(
    agent: Agent, conversation: Conversation
) -> None:
    delivery = deliver(agent, conversation)
    acknowledge(delivery, HELLO)
    answer = Event.objects.get(source="agent")
    assert answer.trace == delivery.event.trace
    assert answer.deliveries.count() == 1


def test_a_delivery_that_is_repeated_does_not_answer_twice(
    agent: Agent, conversation: Conversation
) -> None:
    delivery = deliver(agent, conversation)
    acknowledge(delivery, HELLO)
    acknowledge(delivery, {"type": "text", "text": "said differently"})
    assert Event.objects.filter(source="agent").count() == 1


def test_two_deliveries_of_one_chain_each_have_their_answer(
    agent: Agent, conversation: Conversation
) -> None:
    first = deliver(agent, conversation)
    second = deliver(agent, conversation, trace=first.event.trace)
    acknowledge(first, HELLO)
    acknowledge(second, HELLO)
    assert Event.objects.filter(source="agent").count() == 2


def test_an_answer_without_a_conversation_is_logged_and_not_raised(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = deliver(agent)
    acknowledge(delivery, HELLO)
    assert str(delivery.pk) in caplog.text
    assert not Event.objects.filter(source="agent").exists()


def test_no_answer_posts_nothing(agent: Agent, conversation: Conversation) -> None:
    acknowledge(deliver(agent, conversation), None)
    assert not Event.objects.filter(source="agent").exists()


def expire(*deliveries: Delivery) -> None:
    """Drop deliveries the way the clockwork does."""
    for delivery in deliveries:
        Delivery.objects.filter(pk=delivery.pk).update(status="unreachable", pending_lane=None)
        load([delivery.lane])[delivery.lane_id].expired(delivery)


def test_the_sender_is_told_in_the_conversation_when_a_delivery_expires(
    agent: Agent, conversation: Conversation, channel: Channel
) -> None:
    delivery = deliver(agent, conversation)
    expire(delivery)
    notice = Event.objects.get(type="delivery.expired")
    assert (notice.source, notice.trace) == ("system", delivery.event.trace)
    assert body_of(notice)["delivery_id"] == str(delivery.pk)
    [told] = notice.deliveries.all()
    assert (told.lane_id, told.target) == (channel.lane_id, conversation.target)
    assert "reviewer could not be reached" in body_of(told)["text"]


def test_what_expires_together_is_told_once_per_conversation(
    agent: Agent, conversation: Conversation, channel: Channel
) -> None:
    other = make_conversation(agent, channel, "acme/site#8")
    expire(*(deliver(agent, place) for place in (conversation, conversation, other)))
    notices = Event.objects.filter(type="delivery.expired")
    assert {notice.conversation_id for notice in notices} == {conversation.pk, other.pk}
    assert notices.count() == 2


@pytest.mark.parametrize(("minutes", "told"), [(50, 1), (70, 2)])
def test_an_expiry_more_than_an_hour_later_is_told_anew(
    agent: Agent, conversation: Conversation, minutes: int, told: int
) -> None:
    expire(deliver(agent, conversation))
    Delivery.objects.filter(event_type="delivery.expired").update(
        status="delivered", pending_lane=None
    )
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
        expire(deliver(agent, conversation))
    assert Event.objects.filter(type="delivery.expired").count() == told


def test_no_second_notice_is_made_while_one_waits(agent: Agent, conversation: Conversation) -> None:
    expire(deliver(agent, conversation))
    with time_machine.travel(timezone.now() + timedelta(hours=3)):
        expire(deliver(agent, conversation))
    assert Event.objects.filter(type="delivery.expired").count() == 1


def test_an_expiry_without_a_place_to_tell_is_logged(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = deliver(agent, make_conversation(agent, None))
    with caplog.at_level(logging.WARNING):
        expire(delivery)
    assert str(delivery.pk) in caplog.text
    assert not Event.objects.filter(type="delivery.expired").exists()
