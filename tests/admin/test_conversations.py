"""Conversations: what belongs together, and where answers go."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import Agent, Conversation
from platforms.models import Channel

from .rows import a_delivery

pytestmark = pytest.mark.django_db

LIST = "/admin/agents/conversation/"


@pytest.fixture
def conversation(agent: Agent, channel: Channel) -> Conversation:
    second = Channel.objects.create(name="archive", kind="log")
    return Conversation.objects.create(
        agent=agent,
        key="acme/site#7 <b>",
        channel=channel,
        target={"chat_id": "-100200"},
        fan_out=[{"channel_id": second.pk, "target": {}}],
        created_at=timezone.now(),
    )


def page(client: Client, conversation: Conversation) -> str:
    return client.get(f"{LIST}{conversation.pk}/change/").content.decode()


def test_the_list_says_key_agent_and_how_many_places(
    operator: Client, conversation: Conversation
) -> None:
    shown = operator.get(LIST).content.decode()
    assert "acme/site#7 &lt;b&gt;" in shown
    assert "DemoBot" in shown
    assert "team-chat and 1 more" in shown


def test_it_is_found_by_its_whole_key_or_id(operator: Client, conversation: Conversation) -> None:
    def found(term: str) -> list[Conversation]:
        return list(operator.get(LIST, {"q": term}).context["cl"].result_list)

    assert found(conversation.key) == found(str(conversation.pk)) == [conversation]
    assert found("acme") == []


def test_the_page_shows_every_place_with_its_target(
    operator: Client, conversation: Conversation
) -> None:
    shown = page(operator, conversation)
    places = shown.index(">team-chat</a>"), shown.index("-100200"), shown.index(">archive</a>")
    assert list(places) == sorted(places)
    assert "its home" in shown


def test_the_page_of_one_without_a_place_says_so(
    operator: Client, conversation: Conversation
) -> None:
    Channel.objects.filter(name__in=["team-chat", "archive"]).delete()
    conversation.refresh_from_db()
    assert "Nowhere:" in page(operator, conversation)


def test_the_page_lists_what_belongs_together_newest_first(
    operator: Client, agent: Agent, channel: Channel, conversation: Conversation
) -> None:
    to_agent = a_delivery(agent.lane_id, conversation_id=conversation.pk)
    answer = a_delivery(channel.lane_id, conversation_id=conversation.pk)
    a_delivery(agent.lane_id)
    response = operator.get(f"{LIST}{conversation.pk}/change/")
    assert list(response.context["latest"]) == [answer, to_agent]


def test_a_deliverys_page_leads_to_its_conversation(
    operator: Client, agent: Agent, conversation: Conversation
) -> None:
    delivery = a_delivery(agent.lane_id, conversation_id=conversation.pk)
    address = f"/admin/deliveries/delivery/{delivery.pk}/change/"
    assert f'href="{LIST}{conversation.pk}/change/"' in operator.get(address).content.decode()
    conversation.delete()
    assert operator.get(address).status_code == 200


def test_it_can_only_be_looked_at(
    operator: Client, person_with: Callable[..., Client], conversation: Conversation
) -> None:
    address = f"{LIST}{conversation.pk}/change/"
    assert operator.post(address, {"key": "other"}).status_code == 403
    assert operator.post(f"{LIST}{conversation.pk}/delete/").status_code == 403
    assert person_with("agents.view_agent").get(address).status_code == 403


def test_the_page_keeps_to_the_content_security_policy(
    operator: Client, conversation: Conversation
) -> None:
    shown = page(operator, conversation)
    assert "style=" not in shown
    assert "<style" not in shown


def test_the_page_opens_no_secret_of_a_channel(
    operator: Client, conversation: Conversation
) -> None:
    with CaptureQueriesContext(connection) as asked:
        page(operator, conversation)
        operator.get(LIST)
    assert not [
        one for one in asked.captured_queries if '"platforms_channel"."config"' in one["sql"]
    ]
