"""What was said before in a conversation goes along with a message."""

from collections.abc import Iterator

import pytest
from django.utils import timezone

from agents.models import Agent, Conversation
from agents.services import completions_history, post_message
from agents.services.completions_history import earlier, merged
from deliveries.ids import new_id
from deliveries.models import Delivery, Event
from deliveries.outcomes import Message
from deliveries.record import NewDelivery, NewEvent, record
from deliveries.runner import run_until_idle
from deliveries.services import redeliver

from .asking import saved
from .conftest import make_conversation, make_message
from .fake_model import FakeModel, fixture, says, sends, serving

pytestmark = pytest.mark.django_db


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with serving(FakeModel()) as fake:
        yield fake


@pytest.fixture
def thinker(model: FakeModel) -> Agent:
    return saved(model)


@pytest.fixture
def thread(thinker: Agent) -> Conversation:
    return make_conversation(thinker, None)


def hear(conversation: Conversation, text: str) -> Delivery:
    """Record a message for the conversation's agent."""
    event = NewEvent(
        source=Event.Source.ROUTE, type="push", body=b"{}", conversation_id=conversation.pk
    )
    new = NewDelivery(
        event=event,
        lane_id=conversation.agent.lane_id,
        event_type="message.new",
        payload={"type": "text", "text": text},
        conversation_id=conversation.pk,
        id=new_id(),
    )
    record([event], [new])
    return Delivery.objects.get(pk=new.id)


def talk(conversation: Conversation, text: str) -> Delivery:
    """Record a message and let it be answered."""
    delivery = hear(conversation, text)
    run_until_idle()
    return delivery


def before(conversation: Conversation, most: int = 20) -> list[str]:
    """Return what would go along with a message that comes now."""
    message = make_message(id=new_id(), event_id=new_id(), conversation_id=conversation.pk)
    return [
        f"{turn['role']}: {turn['content']}" for turn in earlier(conversation.agent, message, most)
    ]


def test_the_model_is_told_what_was_said_before_in_its_order(
    model: FakeModel, thread: Conversation
) -> None:
    model.script = [says("One."), says("Two."), says("Three.")]
    for text in ("First?", "Second?", "Third?"):
        talk(thread, text)
    assert model.requests[2]["messages"] == [
        {"role": "user", "content": "First?"},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "Second?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Third?"},
    ]


def test_an_answer_follows_what_it_answers_even_if_more_had_come_in(
    model: FakeModel, thread: Conversation
) -> None:
    model.script = [says("One."), says("Two.")]
    hear(thread, "First?")
    hear(thread, "Second?")
    run_until_idle()
    assert before(thread) == [
        "user: First?", "assistant: One.", "user: Second?", "assistant: Two.",
    ]  # fmt: skip


def test_only_so_many_are_sent_and_the_latest(model: FakeModel, thread: Conversation) -> None:
    for number in range(4):
        talk(thread, f"Question {number}")
    assert len(before(thread, 3)) == 3
    assert before(thread, 2) == ["user: Question 3", "assistant: Looks good to me."]
    assert before(thread, 0) == []


def test_other_conversations_are_none_of_its_business(
    model: FakeModel, thinker: Agent, thread: Conversation
) -> None:
    talk(make_conversation(thinker, None, key="another"), "Something else")
    talk(thread, "First?")
    assert before(thread) == ["user: First?", "assistant: Looks good to me."]


def test_what_the_agent_said_of_itself_is_part_of_it(
    model: FakeModel, thread: Conversation
) -> None:
    talk(thread, "First?")
    post_message(thread.agent, thread.pk, {"type": "text", "text": "By the way."})
    assert before(thread)[-1] == "assistant: By the way."


def test_what_never_reached_the_model_is_not(model: FakeModel, thread: Conversation) -> None:
    model.script = [sends(fixture("error__openai_401.json"), 401)]
    talk(thread, "First?")
    assert before(thread) == []


def test_what_comes_later_is_not_before(model: FakeModel, thread: Conversation) -> None:
    first = talk(thread, "First?")
    talk(thread, "Second?")
    message = make_message(id=first.pk, event_id=first.event_id, conversation_id=thread.pk)
    assert earlier(thread.agent, message, 20) == []


def test_an_answer_of_its_own_is_not_before_a_message_that_is_sent_again(
    model: FakeModel, thread: Conversation
) -> None:
    talk(thread, "First?")
    second = talk(thread, "Second?")
    assert redeliver(second)
    run_until_idle()
    assert model.requests[2] == model.requests[1]


def test_the_longest_are_left_out_from_the_oldest_on(
    model: FakeModel, thread: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions_history, "HISTORY_LIMIT", 60)
    talk(thread, "x" * 50)
    talk(thread, "Second?")
    assert before(thread) == [
        "assistant: Looks good to me.", "user: Second?", "assistant: Looks good to me.",
    ]  # fmt: skip


def test_an_event_of_its_own_asks_the_ledger_nothing(
    thinker: Agent, django_assert_num_queries: object
) -> None:
    event_id = new_id()
    message = make_message(event_id=event_id, conversation_id=event_id)
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert earlier(thinker, message, 20) == []


def test_nobody_speaks_twice_in_a_row_and_the_model_not_first() -> None:
    turns = [("assistant", "0"), ("user", "1"), ("user", "2"), ("assistant", "3"), ("user", "4")]
    assert merged({"role": role, "content": text} for role, text in turns) == [
        {"role": "user", "content": "1\n\n2"},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "4"},
    ]


@pytest.mark.parametrize("name", ["openai", "vllm", "llamacpp", "anthropic", "gemini"])
def test_a_conversation_that_is_too_long_is_sent_once_without_it(
    model: FakeModel, thread: Conversation, name: str
) -> None:
    talk(thread, "First?")
    model.script = [sends(fixture(f"error__{name}_400_context.json"), 400), says("Two.")]
    delivery = talk(thread, "Second?")
    assert [len(request["messages"]) for request in model.requests] == [1, 3, 1]
    delivery.refresh_from_db()
    attempt = delivery.attempts.get()
    assert (delivery.status, attempt.verdict) == ("delivered", "delivered")
    assert "without earlier messages" in attempt.error


def test_a_message_that_is_too_long_by_itself_has_failed(
    model: FakeModel, thread: Conversation
) -> None:
    talk(thread, "First?")
    model.always = sends(fixture("error__openai_400_context.json"), 400)
    delivery = talk(thread, "Second?")
    assert len(model.requests) == 3
    delivery.refresh_from_db()
    assert (delivery.status, delivery.error_class) == ("failed", "context_length")


def test_a_message_without_a_conversation_has_no_history(thinker: Agent) -> None:
    message = Message(
        id=new_id(),
        event_type="message.new",
        payload={"type": "text", "text": "x"},
        created_at=timezone.now(),
        event_id=new_id(),
        trace=new_id(),
    )
    assert earlier(thinker, message, 20) == []
