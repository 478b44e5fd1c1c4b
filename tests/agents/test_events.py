"""Events that Hermes records for an agent."""

import pytest

from agents.connections.webhook import WEBHOOK_EVENTS
from agents.event_types import ALL_EVENTS
from agents.models import Agent, Conversation
from agents.services import emit
from agents.services.relations import establish, revoke, suspend_relation
from deliveries.models import Delivery, Event, Payload

from .conftest import make_agent

# Spec 002, 事件类型: what a webhook carries, and what only a WebSocket does.
BY_WEBHOOK = {
    "message.new",
    "relation.established",
    "relation.revoked",
    "relation.suspended",
    "relation.restored",
    "artifact_response",
    "agent.capability_changed",
}
BY_SOCKET_ONLY = {
    "agent.governance",
    "reaction.update",
    "group.updated",
    "artifact.expired",
    "session.invalidated",
    "auth.expiring",
    "system.group_key_rotated",
}


def delivery_of(event: Event) -> Delivery:
    return Delivery.objects.get(event=event)


def test_the_event_types_are_those_of_the_protocol() -> None:
    assert WEBHOOK_EVENTS == BY_WEBHOOK
    assert ALL_EVENTS == BY_WEBHOOK | BY_SOCKET_ONLY


@pytest.mark.parametrize("type_", sorted(ALL_EVENTS))
@pytest.mark.parametrize("mode", ["websocket", "pull"])
def test_an_agent_that_fetches_gets_every_type(db: None, mode: str, type_: str) -> None:
    agent = Agent.objects.create(name="fetcher", connection_mode=mode)
    delivery = delivery_of(emit(agent, type_, {"a": 1}))
    assert (delivery.status, delivery.lane_id) == ("pending", agent.lane_id)
    assert delivery.event_type == type_


@pytest.mark.parametrize("type_", sorted(ALL_EVENTS))
def test_a_webhook_gets_its_subset_and_the_rest_is_kept_as_skipped(
    agent: Agent, type_: str
) -> None:
    delivery = delivery_of(emit(agent, type_, {}))
    expected = ("pending", "") if type_ in BY_WEBHOOK else ("skipped", "not_for_webhook")
    assert (delivery.status, delivery.error_class) == expected


@pytest.mark.parametrize("type_", sorted(ALL_EVENTS - {"message.new"}))
def test_a_model_is_told_messages_only(db: None, type_: str) -> None:
    agent = Agent.objects.create(name="model", connection_mode="completions")
    assert delivery_of(emit(agent, type_, {})).error_class == "not_for_completions"
    assert delivery_of(emit(agent, "message.new", {})).status == "pending"


def test_the_mode_that_counts_is_the_one_in_the_database(agent: Agent) -> None:
    stale = Agent.objects.get(pk=agent.pk)
    Agent.objects.filter(pk=agent.pk).update(connection_mode="websocket")
    assert delivery_of(emit(stale, "agent.governance", {})).status == "pending"


def test_whom_it_is_about_and_its_conversation_travel_with_it(
    agent: Agent, conversation: Conversation
) -> None:
    event = emit(
        agent,
        "relation.established",
        {"user_id": "telegram:7"},
        conversation=conversation,
        user_id="telegram:7",
    )
    delivery = delivery_of(event)
    assert delivery.metadata == {"sender_id": "telegram:7"}
    assert delivery.conversation_id == conversation.pk
    assert bytes(Payload.objects.get(pk=delivery.pk).body) == b'{"user_id":"telegram:7"}'
    assert event.source == "system"


def test_a_type_that_there_is_not_is_an_error(agent: Agent) -> None:
    with pytest.raises(ValueError, match="no event of type"):
        emit(agent, "agent.exploded", {})


@pytest.mark.parametrize(
    ("change", "reason"),
    [(suspend_relation, "relation_suspended"), (revoke, "relation_revoked")],
)
def test_what_a_person_says_who_is_kept_away_is_skipped(
    agent: Agent, change: object, reason: str
) -> None:
    relation = establish(agent, "telegram:7", by="ann")
    change(relation, by="ann")  # type: ignore[operator]
    other = make_agent("other")
    said = {"type": "text", "text": "Hello"}
    kept = delivery_of(emit(agent, "message.new", said, user_id="telegram:7"))
    assert (kept.status, kept.error_class) == ("skipped", reason)
    assert delivery_of(emit(agent, "message.new", said, user_id="telegram:8")).status == "pending"
    assert delivery_of(emit(other, "message.new", said, user_id="telegram:7")).status == "pending"
