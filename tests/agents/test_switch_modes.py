"""Switching between all four modes: proposals, the signed ping, and the agent's own door."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.utils import timezone
from pytest_django import Settings

from agents.models import Agent, AgentSecret, Artifact
from agents.services import (
    DecisionRefused,
    confirm_switch,
    describe_switch,
    issue_token,
    propose_switch,
    rotate_secret,
)
from agents.services.artifacts import expire_artifacts
from agents.services.pinging import check_of, ping
from deliveries.models import Lane
from tests.end_to_end.spec_verifier import verify

from .conftest import SECRET, deliver, make_agent
from .receiver import Receiver
from .test_api import Api

pytestmark = pytest.mark.django_db

URL = "https://93.184.215.14/hashee/new"
ENDPOINT = {"base_url": "https://93.184.215.14/v1", "model": "llama3"}
MODES = ["websocket", "webhook", "pull", "completions"]


def propose(agent: Agent, mode: str, **said: Any) -> Artifact:
    if mode == "webhook":
        said = {"url": URL} | said
    if mode == "completions":
        said = {"endpoint": ENDPOINT} | said
    return propose_switch(agent, mode, **said)


def now(agent: Agent) -> tuple[str, str, str]:
    fresh = Agent.objects.select_related("lane").get(pk=agent.pk)
    return fresh.connection_mode, fresh.connection_status, fresh.lane.state


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(MODES, 2)))
def test_every_mode_leads_to_every_other(db: None, before: str, after: str) -> None:
    agent = Agent.objects.create(name="mover")
    if before != "websocket":
        confirm_switch(propose(agent, before), "ann")
        agent.refresh_from_db()
    deliver(agent)
    told = describe_switch(propose(agent, after))
    assert told.now.startswith(str(Agent.Mode(before).label))
    assert told.then.startswith(str(Agent.Mode(after).label))
    assert "1 delivery" in " ".join(told.effects)

    confirm_switch(Artifact.objects.latest("pk"), "ann")
    fetches = after in ("websocket", "pull")
    status, lane = ("offline", "held") if fetches else ("ready", "flushing")
    assert now(agent) == (after, status, lane)


@pytest.mark.parametrize("mode", ["websocket", "pull"])
def test_a_mode_without_settings_is_not_switched_to_itself(db: None, mode: str) -> None:
    agent = Agent.objects.create(name="mover", connection_mode=mode)
    with pytest.raises(ValidationError, match="already"):
        propose_switch(agent, mode)


# Completions -------------------------------------------------------------------------------


def test_an_endpoint_and_its_key_are_taken_over(agent: Agent) -> None:
    artifact = propose(agent, "completions", secret="sk-123")
    assert "sk-123" not in str(artifact.proposal)
    assert confirm_switch(artifact, "ann") is None
    agent.refresh_from_db()
    assert agent.endpoint["model"] == "llama3"
    assert agent.endpoint_key == "sk-123"
    artifact.refresh_from_db()
    assert artifact.secret == ""


def test_a_key_stays_for_its_host_and_does_not_follow_to_another(agent: Agent) -> None:
    confirm_switch(propose(agent, "completions", secret="sk-123"), "ann")
    agent.refresh_from_db()
    confirm_switch(propose(agent, "completions", endpoint={"model": "other"}), "ann")
    agent.refresh_from_db()
    assert (agent.endpoint["model"], agent.endpoint_key) == ("other", "sk-123")

    elsewhere = propose(agent, "completions", endpoint={"base_url": "https://93.184.215.15/v1"})
    assert "No API key is used" in " ".join(describe_switch(elsewhere).effects)
    confirm_switch(elsewhere, "ann")
    agent.refresh_from_db()
    assert agent.endpoint_key == ""


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"endpoint": {}}, "base_url"),
        ({"endpoint": {"base_url": "http://127.0.0.1/v1", "model": "m"}}, "base_url"),
        ({"endpoint": {"base_url": "https://93.184.215.14/v1"}}, "model"),
        ({"secret": "two words"}, "secret"),
    ],
)
def test_a_wrong_endpoint_names_its_field(agent: Agent, said: Any, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        propose(agent, "completions", **said)
    assert field in caught.value.message_dict
    assert not Artifact.objects.exists()


# The signed ping ---------------------------------------------------------------------------


def test_a_ping_is_signed_as_a_delivery_with_the_secret_that_is_proposed(
    agent: Agent, receiver: Receiver
) -> None:
    artifact = propose_switch(agent, "webhook", receiver.url)
    assert ping(artifact).ok
    [got] = receiver.requests
    assert verify(artifact.secret, got.headers, got.body.decode())
    assert b'"type":"ping"' in got.body
    assert got.headers["X-Hashee-Agent-Id"] == str(agent.pk)
    assert confirm_switch(artifact, "ann") == artifact.secret


@pytest.mark.parametrize("status", [301, 400, 401, 404, 500])
def test_what_is_no_2xx_needs_a_second_word(agent: Agent, receiver: Receiver, status: int) -> None:
    receiver.status = status
    artifact = propose_switch(agent, "webhook", receiver.url)
    assert ping(artifact).status == status
    told = describe_switch(artifact)
    assert told.in_doubt
    assert str(status) in told.checked
    with pytest.raises(DecisionRefused, match="anyway"):
        confirm_switch(artifact, "ann")
    artifact.refresh_from_db()
    assert artifact.state == "open"
    assert Agent.objects.get(pk=agent.pk).webhook_url != receiver.url
    confirm_switch(artifact, "ann", anyway=True)
    assert Agent.objects.get(pk=agent.pk).webhook_url == receiver.url


def test_a_401_to_a_generated_secret_is_explained(agent: Agent, receiver: Receiver) -> None:
    receiver.status = 401
    artifact = propose_switch(agent, "webhook", receiver.url)
    ping(artifact)
    assert "can't know the generated secret" in describe_switch(artifact).checked
    given = propose_switch(agent, "webhook", receiver.url, SECRET)
    ping(given)
    assert "generated" not in describe_switch(given).checked


def test_a_url_that_does_not_answer_is_told_without_its_secrets(
    agent: Agent, settings: Settings
) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    artifact = propose_switch(agent, "webhook", "http://127.0.0.1:9/hook?token=tell-nobody", SECRET)
    check = ping(artifact)
    assert (check.status, check.error_class) == (None, "connect")
    told = describe_switch(artifact)
    assert "did not answer" in told.checked
    assert SECRET not in str(artifact.proposal)
    assert "tell-nobody" not in told.checked


def test_checking_again_replaces_what_was_found(agent: Agent, receiver: Receiver) -> None:
    receiver.status = 500
    artifact = propose_switch(agent, "webhook", receiver.url)
    ping(artifact)
    receiver.status = 204
    ping(artifact)
    artifact.refresh_from_db()
    check = check_of(artifact.proposal)
    assert check is not None
    assert check.ok
    confirm_switch(artifact, "ann")


def test_the_secret_of_an_expired_proposal_is_forgotten(agent: Agent) -> None:
    artifact = propose_switch(agent, "webhook", URL, SECRET)
    with time_machine.travel(timezone.now() + timedelta(minutes=11), tick=False):
        expire_artifacts(timezone.now())
    artifact.refresh_from_db()
    assert (artifact.state, artifact.secret) == ("expired", "")


# A new secret ------------------------------------------------------------------------------


def test_a_secret_is_rotated_with_an_overlap_and_the_lane_reloaded(agent: Agent) -> None:
    version = Lane.objects.get(pk=agent.lane_id).version
    new = rotate_secret(agent, by="ann")
    values = [secret.value for secret in AgentSecret.objects.live().filter(agent=agent)]
    assert values == [new, SECRET]
    assert Lane.objects.get(pk=agent.lane_id).version > version


def test_a_given_secret_is_not_told_again_and_a_short_one_refused(agent: Agent) -> None:
    given = "0123456789abcdef" * 4
    assert rotate_secret(agent, given, by="ann") is None
    with pytest.raises(ValidationError):
        rotate_secret(agent, "short", by="ann")


def test_only_a_webhook_has_a_secret(db: None) -> None:
    agent = Agent.objects.create(name="fetcher")
    with pytest.raises(DecisionRefused):
        rotate_secret(agent, by="ann")
    assert not AgentSecret.objects.exists()


# The agent's own door ----------------------------------------------------------------------


@pytest.fixture
def api(agent: Agent) -> Api:
    return Api(agent, issue_token(agent))


def test_an_agent_proposes_and_a_person_decides(api: Api, agent: Agent, receiver: Receiver) -> None:
    said = {"mode": "webhook", "url": receiver.url, "secret": SECRET}
    response = api.call("post", "connection/switch", said)
    assert response.status_code == 202
    shown = response.json()
    assert shown["change"]["then"] == f"Webhook: {receiver.url}"
    assert shown["change"]["in_doubt"] is False
    assert SECRET not in response.content.decode()
    assert len(receiver.requests) == 1
    agent.refresh_from_db()
    assert agent.webhook_url != receiver.url

    artifact = Artifact.objects.get()
    assert describe_switch(artifact).by_agent
    confirm_switch(artifact, "ann")
    state = api.call("get", f"artifacts/{artifact.pk}").json()
    assert (state["state"], state["answered_by"]) == ("confirmed", "ann")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "mode"),
        ({"mode": "carrier-pigeon"}, "mode"),
        ({"mode": "webhook"}, "url"),
        ({"mode": "webhook", "url": "http://127.0.0.1/"}, "url"),
        ({"mode": "webhook", "url": URL, "secret": "short"}, "secret"),
        ({"mode": "completions", "endpoint": {"base_url": "x"}}, "endpoint"),
        ({"mode": "completions", "endpoint": {"base_url": "x", "model": "m"}}, "base_url"),
    ],
)
def test_a_wrong_proposal_is_a_400(api: Api, said: Any, field: str) -> None:
    response = api.call("post", "connection/switch", said)
    assert response.status_code == 400
    assert field in response.json()


def test_an_agent_can_not_open_the_private_network(agent: Agent, api: Api) -> None:
    endpoint = {"base_url": "http://192.168.1.2/v1", "model": "m", "lan": True}
    said = {"mode": "completions", "endpoint": endpoint}
    response = api.call("post", "connection/switch", said)
    assert response.status_code == 400
    assert not Artifact.objects.exists()


def test_an_agent_does_not_take_the_place_of_a_persons_proposal(api: Api, agent: Agent) -> None:
    persons = propose_switch(agent, "pull", by="ann")
    assert api.call("post", "connection/switch", {"mode": "websocket"}).status_code == 409
    assert api.call("delete", f"artifacts/{persons.pk}").status_code == 409
    persons.refresh_from_db()
    assert persons.state == "open"


def test_a_person_takes_the_place_of_an_agents_proposal(api: Api, agent: Agent) -> None:
    api.call("post", "connection/switch", {"mode": "websocket"})
    propose_switch(agent, "pull", by="ann")
    assert Artifact.objects.earliest("pk").state == "cancelled"


def test_an_agent_takes_its_own_proposal_back(api: Api) -> None:
    pk = api.call("post", "connection/switch", {"mode": "websocket"}).json()["artifact_id"]
    assert api.call("delete", f"artifacts/{pk}").status_code == 204


def test_an_agent_that_proposes_on_and_on_is_stopped(api: Api) -> None:
    answers = [
        api.call("post", "connection/switch", {"mode": "websocket"}).status_code for _ in range(7)
    ]
    assert answers == [202] * 5 + [429] * 2


def test_a_foreign_token_proposes_nothing(agent: Agent) -> None:
    other = make_agent("other")
    api = Api(other, issue_token(other))
    said = {"mode": "websocket"}
    assert api.call("post", "connection/switch", said, agent_id=agent.pk).status_code == 404
    assert not Artifact.objects.exists()
