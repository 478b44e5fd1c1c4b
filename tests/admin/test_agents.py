"""Agents: their page, recover, switch, tokens."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from agents.models import Agent, Artifact, Conversation
from agents.services import authenticate, issue_token, propose_switch
from deliveries.models import Lane
from routes.models import Route
from tests.agents.receiver import Receiver

from .rows import a_delivery

pytestmark = pytest.mark.django_db

LIST = "/admin/agents/agent/"
URL = "https://8.8.8.8/hashee/webhook"


def page(agent: Agent, act: str = "change") -> str:
    return f"{LIST}{agent.pk}/{act}/"


def decide(artifact: Artifact) -> str:
    return f"/admin/agents/artifact/{artifact.pk}/decide/"


def test_the_list_says_state_mode_and_how_many_wait(operator: Client, unreachable: Agent) -> None:
    a_delivery(unreachable.lane_id, "pending")
    a_delivery(unreachable.lane_id)
    shown = operator.get(LIST).content.decode()
    assert '<span class="state state-bad">unreachable</span>' in shown
    assert f"?to={unreachable.lane_id}&amp;status=pending" in shown


def test_the_list_asks_the_same_few_questions_however_long_it_is(
    operator: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        Agent.objects.create(name=f"bot-{number}")
    with django_assert_max_num_queries(8):
        operator.get(LIST)


def test_the_page_says_since_when_it_is_unreachable_and_what_waits(
    operator: Client, unreachable: Agent
) -> None:
    a_delivery(unreachable.lane_id, "pending", age=timedelta(hours=1, minutes=59))
    a_delivery(unreachable.lane_id, "pending")
    shown = operator.get(page(unreachable)).content.decode()
    assert "2 deliveries wait in the queue." in shown
    assert "The oldest is dropped in 22\xa0hours" in shown


def test_the_connection_is_read_only_on_the_page(operator: Client, agent: Agent) -> None:
    sent = {
        "name": "Renamed",
        "concurrency": "2",
        "connection_mode": "websocket",
        "webhook_url": "http://127.0.0.1/",
        "connection_status": "unreachable",
    }
    operator.post(page(agent), sent)
    agent.refresh_from_db()
    assert (agent.name, agent.concurrency) == ("Renamed", 2)
    assert (agent.connection_mode, agent.connection_status) == ("webhook", "ready")


def test_a_new_default_agent_takes_the_mark_from_the_old_one(
    operator: Client, agent: Agent
) -> None:
    Agent.objects.filter(is_default=True).update(is_default=False)
    old = Agent.objects.create(name="old", is_default=True)
    operator.post(page(agent), {"name": "DemoBot", "concurrency": "4", "is_default": "on"})
    assert Agent.objects.get(is_default=True) == agent
    response = operator.post(page(agent), {"name": "DemoBot", "concurrency": "4"})
    assert "There must be a default agent." in response.content.decode()
    old.refresh_from_db()
    assert not old.is_default


def test_recover_explains_and_changes_nothing_until_it_is_posted(
    operator: Client, unreachable: Agent
) -> None:
    for _ in range(3):
        a_delivery(unreachable.lane_id, "pending")
    shown = operator.get(page(unreachable, "recover")).content.decode()
    assert "send the 3 deliveries that wait, oldest first" in shown
    assert unreachable.webhook_url in shown
    unreachable.refresh_from_db()
    assert unreachable.connection_status == "unreachable"

    response = operator.post(page(unreachable, "recover"), follow=True)
    assert "3 deliveries are on their way, oldest first." in response.content.decode()
    unreachable.refresh_from_db()
    assert unreachable.connection_status == "ready"
    assert Lane.objects.get(pk=unreachable.lane_id).state != Lane.State.HELD
    assert LogEntry.objects.get().change_message == "Recovered; 3 deliveries waited."


def test_recovering_twice_does_nothing_the_second_time(
    operator: Client, unreachable: Agent
) -> None:
    operator.post(page(unreachable, "recover"))
    response = operator.post(page(unreachable, "recover"), follow=True)
    assert "is not unreachable; nothing was changed." in response.content.decode()
    assert LogEntry.objects.count() == 1


def test_recover_is_offered_only_to_an_unreachable_agent(operator: Client, agent: Agent) -> None:
    assert "recover/" not in operator.get(page(agent)).content.decode()
    assert "there is nothing to recover" in operator.get(page(agent, "recover")).content.decode()


@pytest.mark.parametrize("act", ["recover", "switch", "token"])
def test_without_its_permission_an_act_is_hidden_and_refused(
    person_with: Callable[..., Client], unreachable: Agent, act: str
) -> None:
    reader = person_with("agents.view_agent", "agents.change_agent")
    assert f"{act}/" not in reader.get(page(unreachable)).content.decode()
    assert reader.get(page(unreachable, act)).status_code == 403
    assert reader.post(page(unreachable, act)).status_code == 403
    unreachable.refresh_from_db()
    assert unreachable.connection_status == "unreachable"
    assert not unreachable.tokens.exists()


def test_an_act_needs_the_right_to_see_the_agent_too(
    person_with: Callable[..., Client], unreachable: Agent
) -> None:
    assert person_with("agents.recover_agent").post(page(unreachable, "recover")).status_code == 403


def test_a_switch_is_proposed_then_confirmed_and_its_secret_shown_once(
    operator: Client, agent: Agent, hook: Receiver
) -> None:
    response = operator.post(page(agent, "switch"), {"mode": "webhook", "url": hook.url})
    artifact = Artifact.objects.get()
    assert response.headers["Location"] == decide(artifact)
    agent.refresh_from_db()
    assert agent.webhook_url != hook.url

    shown = operator.get(decide(artifact)).content.decode()
    assert agent.webhook_url in shown
    assert hook.url in shown
    assert "The URL answered a signed ping with 200." in shown
    assert "This form expires in" in shown

    response = operator.post(decide(artifact), {"decision": "confirm"})
    agent.refresh_from_db()
    secret = agent.secrets.live().first().value  # type: ignore[union-attr]
    assert agent.webhook_url == hook.url
    assert secret in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]
    assert secret not in str(response.cookies)
    assert secret not in operator.get(page(agent)).content.decode()
    logged = LogEntry.objects.order_by("pk").values_list("object_id", "change_message")
    assert list(logged) == [
        (str(agent.pk), "Proposed to switch to Webhook."),
        (str(agent.pk), "Switched to Webhook."),
    ]


def test_a_confirmed_form_can_not_be_confirmed_again(operator: Client, agent: Agent) -> None:
    artifact = propose_switch(agent, "websocket")
    operator.post(decide(artifact), {"decision": "confirm"})
    response = operator.post(decide(artifact), {"decision": "confirm"}, follow=True)
    assert "This was confirmed already." in response.content.decode()
    assert "This form is confirmed since" in operator.get(decide(artifact)).content.decode()


def test_cancelling_changes_nothing(operator: Client, agent: Agent) -> None:
    artifact = propose_switch(agent, "websocket")
    response = operator.post(decide(artifact), {"decision": "cancel"}, follow=True)
    assert "Cancelled. Nothing was changed." in response.content.decode()
    agent.refresh_from_db()
    assert agent.connection_mode == "webhook"
    assert LogEntry.objects.get().change_message == "Cancelled the proposed switch."


def test_an_expired_form_has_no_buttons_and_changes_nothing(operator: Client, agent: Agent) -> None:
    artifact = propose_switch(agent, "websocket")
    with time_machine.travel(timezone.now() + timedelta(hours=1), tick=False):
        shown = operator.get(decide(artifact)).content.decode()
        assert "This form has expired." in shown
        assert 'value="confirm"' not in shown
        operator.post(decide(artifact), {"decision": "confirm"})
    agent.refresh_from_db()
    assert agent.connection_mode == "webhook"


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"mode": "webhook", "url": ""}, "url"),
        ({"mode": "webhook", "url": "http://127.0.0.1/hook"}, "url"),
        ({"mode": "webhook", "url": URL, "secret": "short"}, "secret"),
        ({"mode": "carrier-pigeon"}, "mode"),
    ],
)
def test_a_wrong_proposal_shows_the_form_again_with_its_error(
    operator: Client, agent: Agent, sent: dict[str, str], field: str
) -> None:
    response = operator.post(page(agent, "switch"), sent)
    assert response.status_code == 200
    assert response.context["form"].errors[field]
    assert "short" not in response.content.decode().replace("shortcut", "")
    assert not Artifact.objects.exists()


def test_a_given_secret_never_appears_on_the_page_of_its_form(
    operator: Client, agent: Agent, hook: Receiver
) -> None:
    secret = "c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLTMyLWJ5dGVzIQ=="
    operator.post(page(agent, "switch"), {"mode": "webhook", "url": hook.url, "secret": secret})
    artifact = Artifact.objects.get()
    for address in (decide(artifact), f"/admin/agents/artifact/{artifact.pk}/change/"):
        assert secret not in operator.get(address).content.decode()


def test_a_token_is_shown_once_and_works(operator: Client, agent: Agent) -> None:
    assert operator.get(page(agent, "token")).status_code == 200
    assert not agent.tokens.exists()
    response = operator.post(page(agent, "token"))
    token = response.context["secret"]
    assert token in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]
    found = authenticate(token)
    assert found is not None
    assert found.agent == agent
    assert token not in operator.get(page(agent, "token")).content.decode()
    assert LogEntry.objects.get().change_message == f"Issued a token that ends in {token[-4:]}."


def test_whoever_may_switch_sees_the_form_without_further_rights(
    person_with: Callable[..., Client], agent: Agent
) -> None:
    artifact = propose_switch(agent, "websocket")
    assert person_with("agents.switch_agent").get(decide(artifact)).status_code == 200


def test_the_default_agent_can_not_be_deleted(operator: Client, agent: Agent) -> None:
    Agent.objects.filter(is_default=True).update(is_default=False)
    Agent.objects.filter(pk=agent.pk).update(is_default=True)
    assert operator.post(page(agent, "delete"), {"post": "yes"}).status_code == 403
    many = {"action": "delete_selected", "_selected_action": str(agent.pk), "post": "yes"}
    operator.post(LIST, many)
    assert Agent.objects.filter(pk=agent.pk).exists()


def test_a_token_is_revoked_after_it_was_chosen(operator: Client, agent: Agent) -> None:
    assert "It has no valid token." in operator.get(page(agent, "revoke")).content.decode()
    kept, ended = issue_token(agent), issue_token(agent)
    shown = operator.get(page(agent, "revoke")).content.decode()
    assert f"hsk_…{kept[-4:]}" in shown
    token = agent.tokens.get(last_four=ended[-4:])
    response = operator.post(page(agent, "revoke"), {"token": token.pk}, follow=True)
    assert f"hsk_…{ended[-4:]} is revoked" in response.content.decode()
    assert authenticate(ended) is None
    assert authenticate(kept) is not None
    assert f"hsk_…{ended[-4:]}" not in operator.get(page(agent, "token")).content.decode()
    assert LogEntry.objects.get().change_message == f"Revoked the token hsk_…{ended[-4:]}."


def test_the_token_of_another_agent_is_no_choice(operator: Client, agent: Agent) -> None:
    issue_token(agent)
    other = Agent.objects.create(name="other")
    token = issue_token(other)
    operator.post(page(agent, "revoke"), {"token": other.tokens.get().pk})
    assert authenticate(token) is not None


def test_deleting_says_how_many_conversations_go_and_tells_the_lane(
    operator: Client, agent: Agent
) -> None:
    Conversation.objects.bulk_create(
        Conversation(agent=agent, key=str(number), created_at=timezone.now())
        for number in range(30)
    )
    version = agent.lane.version
    shown = operator.get(page(agent, "delete")).content.decode()
    assert "Conversations: 30" in shown
    operator.post(LIST, {"action": "delete_selected", "_selected_action": agent.pk, "post": "yes"})
    assert not Agent.objects.filter(pk=agent.pk).exists()
    assert Lane.objects.get(pk=agent.lane_id).version > version


def test_an_agent_of_a_route_can_not_be_deleted(
    operator: Client, agent: Agent, route: Route
) -> None:
    assert "github-pr" in operator.get(page(agent, "delete")).content.decode()
    operator.post(page(agent, "delete"), {"post": "yes"})
    assert Agent.objects.filter(pk=agent.pk).exists()
