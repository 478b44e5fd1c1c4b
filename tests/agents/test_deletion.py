"""Deleting an agent: its conversations go, the ledger stays."""

from typing import Any

from agents.models import Agent, Conversation
from agents.services import tell_expired
from deliveries.models import Lane
from platforms.models import Channel

from .conftest import deliver, make_conversation


def test_however_many_conversations_there_are_the_same_few_queries_delete_them(
    agent: Agent, channel: Channel, django_assert_max_num_queries: Any
) -> None:
    for number in range(300):
        make_conversation(agent, channel, key=f"acme/site#{number}")
    with django_assert_max_num_queries(15):
        agent.delete()
    assert not Conversation.objects.exists()


def test_the_ledger_is_not_changed(agent: Agent, conversation: Conversation) -> None:
    delivery = deliver(agent, conversation)
    agent.delete()
    delivery.refresh_from_db()
    assert delivery.conversation_id == conversation.pk
    assert delivery.event.conversation_id == conversation.pk


def test_what_expires_afterwards_has_nobody_to_be_told(
    agent: Agent, conversation: Conversation
) -> None:
    delivery = deliver(agent, conversation)
    gone = Agent.objects.get(pk=agent.pk)
    agent.delete()
    tell_expired(gone, delivery)


def test_every_runner_notices(agent: Agent) -> None:
    version = agent.lane.version
    agent.delete()
    assert Lane.objects.get(pk=agent.lane_id).version > version
