"""What people write on a channel becomes an event, a conversation and a delivery."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.utils import timezone

from agents.models import Agent, Conversation, Relation
from agents.selectors import NoDefaultAgent
from agents.services import post_message
from agents.services.chats import take_chat
from deliveries.models import Delivery, Event, Payload
from platforms.chats import ChatMessage, Unanswered, receive_chat, register
from platforms.models import Channel

pytestmark = pytest.mark.django_db

CHAT = "dingtalk:cidGroup0123456789abcdEFGH=="


def message(**facts: Any) -> ChatMessage:
    defaults: dict[str, Any] = {
        "id": "msg-1",
        "chat": CHAT,
        "sender_id": "dingtalk:manager7788",
        "text": "Hello 你好",
        "target": {"chat_id": "cidGroup0123456789abcdEFGH=="},
        "original": {"msgId": "msg-1", "text": {"content": "Hello 你好"}},
    }
    return ChatMessage(**defaults | facts)


@pytest.fixture
def channel() -> Channel:
    return Channel.objects.create(name="ding", kind="dingtalk")


@pytest.fixture
def default() -> Agent:
    return Agent.objects.get(is_default=True)


def taken(channel: Channel, said: ChatMessage) -> Event:
    event_id = receive_chat(channel, said)
    assert event_id is not None
    return Event.objects.get(pk=event_id)


def test_a_message_goes_to_the_default_agent(channel: Channel, default: Agent) -> None:
    event = taken(channel, message())
    assert (event.source, event.type, event.dedupe_key) == ("chat", "message.new", "msg-1")
    assert event.trace == event.pk
    [delivery] = event.deliveries.all()
    assert (delivery.lane_id, delivery.event_type) == (default.lane_id, "message.new")
    assert delivery.metadata == {"sender_id": "dingtalk:manager7788"}
    body = bytes(Payload.objects.get(pk=delivery.pk).body).decode()
    assert body == '{"type":"text","text":"Hello 你好"}'


def test_a_channel_may_have_an_agent_of_its_own(channel: Channel, default: Agent) -> None:
    channel.agent = own = Agent.objects.create(name="own")
    channel.save()
    [delivery] = taken(channel, message()).deliveries.all()
    assert delivery.lane_id == own.lane_id


def test_the_conversation_is_the_chats_and_its_place_the_channel(
    channel: Channel, default: Agent
) -> None:
    first = taken(channel, message())
    second = taken(channel, message(id="msg-2"))
    [conversation] = Conversation.objects.all()
    assert first.conversation_id == second.conversation_id == conversation.pk
    assert (conversation.agent, conversation.key) == (default, CHAT)
    assert (conversation.channel, conversation.target) == (channel, message().target)
    assert conversation.sender_id == "dingtalk:manager7788"


def test_the_answer_goes_to_the_chat(channel: Channel, default: Agent) -> None:
    event = taken(channel, message())
    answer = post_message(default, event.conversation_id, {"type": "text", "text": "Hi"})
    [delivery] = answer.deliveries.all()
    assert (delivery.lane_id, delivery.target) == (channel.lane_id, message().target)


def test_the_same_message_twice_is_one(channel: Channel) -> None:
    assert receive_chat(channel, message()) is not None
    assert receive_chat(channel, message(text="told again")) is None
    assert Event.objects.count() == Delivery.objects.count() == 1


def test_the_same_id_on_another_channel_is_another_message(channel: Channel) -> None:
    other = Channel.objects.create(name="other", kind="dingtalk")
    assert receive_chat(channel, message()) is not None
    assert receive_chat(other, message()) is not None


@pytest.mark.parametrize("status", ["suspended", "revoked"])
def test_who_may_not_speak_to_the_agent_is_recorded_and_not_sent(
    channel: Channel, default: Agent, status: str
) -> None:
    Relation.objects.create(agent=default, user_id="dingtalk:manager7788", status=status)
    [delivery] = taken(channel, message()).deliveries.all()
    assert (delivery.status, delivery.error_class) == ("skipped", f"relation_{status}")


def test_without_an_agent_nothing_is_kept_and_the_reason_named(channel: Channel) -> None:
    Agent.objects.update(is_default=False)
    with pytest.raises(NoDefaultAgent):
        receive_chat(channel, message())
    assert not Event.objects.exists()
    Agent.objects.update(is_default=True)
    assert receive_chat(channel, message()) is not None


def test_text_that_json_spells_and_utf8_does_not_is_kept(channel: Channel) -> None:
    event = taken(channel, message(original={"text": "\ud83d half"}))
    assert b"ud83d half" in bytes(Payload.objects.get(pk=event.pk).body)


def test_use_keeps_a_conversation(channel: Channel) -> None:
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False):
        receive_chat(channel, message(received_at=timezone.now()))
    with time_machine.travel("2026-02-01T00:00:00Z", tick=False):
        receive_chat(channel, message(id="msg-2", received_at=timezone.now()))
        assert Conversation.objects.get().created_at == timezone.now()


@pytest.fixture
def no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platforms.chats._handlers", [])


@pytest.mark.usefixtures("no_handler")
def test_without_a_handler_a_message_is_refused_aloud(channel: Channel) -> None:
    with pytest.raises(Unanswered):
        receive_chat(channel, message())


@pytest.mark.usefixtures("no_handler")
def test_the_last_handler_that_registered_takes_the_messages(channel: Channel) -> None:
    seen: list[str] = []

    def handler(name: str) -> Callable[[Channel, ChatMessage], UUID | None]:
        return lambda _channel, said: seen.append(f"{name} {said.id}")

    register(handler("first"))
    register(handler("second"))
    receive_chat(channel, message())
    assert seen == ["second msg-1"]


def test_agents_take_the_messages() -> None:
    from platforms import chats

    assert chats._handlers == [take_chat]
