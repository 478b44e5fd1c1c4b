"""Forms before a person: decisions, answers, the system agent, relations, suspension."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from agents.models import Agent, Artifact, Relation
from agents.services import propose_switch
from agents.services.artifacts import ask
from agents.services.consequences import BY_AGENT
from agents.services.manifests import propose_manifest
from agents.services.relations import establish, revoke
from agents.services.system import converse
from deliveries.models import Delivery
from tests.agents.receiver import Receiver

from .rows import a_delivery

pytestmark = pytest.mark.django_db

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTAwMDE="
FIELDS = [
    {"name": "go", "type": "choice", "label": "Go?", "options": ["yes", "no"], "required": True}
]


def page(artifact: Artifact, act: str = "change") -> str:
    return f"/admin/agents/artifact/{artifact.pk}/{act}/"


def of(agent: Agent, act: str = "change") -> str:
    return f"/admin/agents/agent/{agent.pk}/{act}/"


@pytest.fixture
def question(agent: Agent) -> Artifact:
    return ask(agent, title="Deploy <b>now</b>?", text="Two\nlines", fields=FIELDS)


@pytest.fixture
def manifest(agent: Agent) -> Artifact:
    artifact = propose_manifest(agent, {"abilities": ["deploy"]})
    assert artifact is not None
    return artifact


def logged() -> list[str]:
    return list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True))


# A switch in doubt -------------------------------------------------------------------------


def test_a_webhook_that_answers_wrongly_needs_a_tick(
    operator: Client, agent: Agent, hook: Receiver
) -> None:
    hook.status = 503
    operator.post(of(agent, "switch"), {"mode": "webhook", "url": hook.url})
    artifact = Artifact.objects.get()
    shown = operator.get(page(artifact, "decide")).content.decode()
    assert "answered a signed ping with 503" in shown
    assert 'name="anyway"' in shown

    response = operator.post(page(artifact, "decide"), {"decision": "confirm"}, follow=True)
    assert "Tick that you want it anyway" in response.content.decode()
    agent.refresh_from_db()
    assert agent.webhook_url != hook.url

    operator.post(page(artifact, "decide"), {"decision": "confirm", "anyway": "on"})
    agent.refresh_from_db()
    assert agent.webhook_url == hook.url


def test_the_url_can_be_checked_again(operator: Client, agent: Agent, hook: Receiver) -> None:
    hook.status = 503
    operator.post(of(agent, "switch"), {"mode": "webhook", "url": hook.url})
    artifact = Artifact.objects.get()
    hook.status = 200
    response = operator.post(page(artifact, "decide"), {"decision": "check"}, follow=True)
    shown = response.content.decode()
    assert "answered a signed ping with 200" in shown
    assert 'name="anyway"' not in shown
    assert len(hook.requests) == 2


@pytest.mark.parametrize("mode", ["websocket", "pull"])
def test_a_mode_without_settings_is_chosen_alone(operator: Client, agent: Agent, mode: str) -> None:
    response = operator.post(of(agent, "switch"), {"mode": mode}, follow=True)
    assert "As soon as you confirm" in response.content.decode()


def test_completions_are_chosen_with_endpoint_and_key(operator: Client, agent: Agent) -> None:
    sent = {
        "mode": "completions",
        "base_url": "https://93.184.215.14/v1",
        "model": "llama3",
        "key": "sk-tell-nobody",
    }
    response = operator.post(of(agent, "switch"), sent, follow=True)
    shown = response.content.decode()
    assert "https://93.184.215.14/v1 llama3" in shown
    assert "sk-tell-nobody" not in shown
    operator.post(page(Artifact.objects.get(), "decide"), {"decision": "confirm"})
    agent.refresh_from_db()
    assert (agent.connection_mode, agent.endpoint_key) == ("completions", "sk-tell-nobody")
    shown = operator.get(of(agent)).content.decode()
    assert "sk-tell-nobody" not in shown
    assert "Chat endpoint" in shown
    assert "Test the model" in shown


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"base_url": "", "model": "m"}, "base_url"),
        ({"base_url": "http://127.0.0.1/v1", "model": "m"}, "base_url"),
        ({"base_url": "https://93.184.215.14/v1", "model": ""}, "model"),
        ({"base_url": "https://93.184.215.14/v1", "model": "m", "key": "a b"}, "key"),
    ],
)
def test_a_wrong_endpoint_shows_the_form_again(
    operator: Client, agent: Agent, sent: dict[str, str], field: str
) -> None:
    response = operator.post(of(agent, "switch"), sent | {"mode": "completions"})
    assert response.status_code == 200
    assert response.context["form"].errors[field]


def test_what_the_agent_itself_proposes_is_marked(operator: Client, agent: Agent) -> None:
    artifact = propose_switch(agent, "pull", by=BY_AGENT)
    assert (
        "The agent itself proposes this" in operator.get(page(artifact, "decide")).content.decode()
    )
    persons = propose_switch(agent, "pull", by="ann")
    assert "itself proposes" not in operator.get(page(persons, "decide")).content.decode()


# Manifests ---------------------------------------------------------------------------------


def test_a_manifest_is_shown_as_a_difference_and_accepted(
    operator: Client, agent: Agent, manifest: Artifact
) -> None:
    shown = operator.get(page(manifest, "decide")).content.decode()
    assert "abilities: [&quot;deploy&quot;]" in shown
    response = operator.post(page(manifest, "decide"), {"decision": "confirm"}, follow=True)
    assert "is accepted" in response.content.decode()
    agent.refresh_from_db()
    assert agent.manifest == {"abilities": ["deploy"]}
    assert "deploy" in operator.get(of(agent)).content.decode()
    assert logged() == ["The manifest of DemoBot is accepted."]


def test_a_rejected_manifest_changes_nothing(
    operator: Client, agent: Agent, manifest: Artifact
) -> None:
    operator.post(page(manifest, "decide"), {"decision": "cancel"})
    agent.refresh_from_db()
    assert agent.manifest == {}
    assert Delivery.objects.get().event_type == "agent.capability_changed"
    assert logged() == ["Rejected a manifest."]


# Questions ---------------------------------------------------------------------------------


def test_a_question_is_answered_in_the_admin(
    operator: Client, agent: Agent, question: Artifact
) -> None:
    shown = operator.get(page(question, "answer")).content.decode()
    assert "Deploy &lt;b&gt;now&lt;/b&gt;?" in shown
    response = operator.post(page(question, "answer"), {"answer-go": "yes"}, follow=True)
    assert "Your answer is on its way to DemoBot." in response.content.decode()
    question.refresh_from_db()
    assert (question.answer, question.decided_by) == ({"go": "yes"}, "admin")
    assert Delivery.objects.get().event_type == "artifact_response"
    shown = operator.get(page(question)).content.decode()
    assert "<strong>Go?</strong><br>yes" in shown


def test_a_wrong_answer_shows_the_question_again(operator: Client, question: Artifact) -> None:
    for sent in ({}, {"answer-go": "perhaps"}):
        response = operator.post(page(question, "answer"), sent)
        assert response.status_code == 200
        assert response.context["form"].errors["go"]


def test_a_question_is_answered_once(operator: Client, question: Artifact) -> None:
    operator.post(page(question, "answer"), {"answer-go": "yes"})
    response = operator.post(page(question, "answer"), {"answer-go": "no"}, follow=True)
    assert "no longer open" in response.content.decode()
    question.refresh_from_db()
    assert question.answer == {"go": "yes"}


def test_the_agents_page_shows_what_waits_for_a_person(
    operator: Client, agent: Agent, question: Artifact, manifest: Artifact
) -> None:
    shown = operator.get(of(agent)).content.decode()
    assert page(question) in shown
    assert page(manifest) in shown


def test_the_list_of_forms_says_what_each_is_about(
    operator: Client, agent: Agent, question: Artifact, manifest: Artifact
) -> None:
    propose_switch(agent, "websocket", by="ann")
    converse("suspend DemoBot", by="ann", may=lambda wanted: True)
    shown = operator.get("/admin/agents/artifact/").content.decode()
    for title in (
        "Deploy &lt;b&gt;now",
        "Change of abilities",
        "Switch connection mode",
        "Suspend the agent",
    ):
        assert title in shown
    for artifact in Artifact.objects.all():
        assert operator.get(page(artifact)).status_code == 200


def test_no_page_of_a_form_shows_its_secret(operator: Client, agent: Agent) -> None:
    converse(f"change the secret of DemoBot to {SECRET}", by="ann", may=lambda wanted: True)
    artifact = Artifact.objects.get()
    assert artifact.secret == SECRET
    for address in (page(artifact), page(artifact, "decide"), of(agent), "/admin/agents/artifact/"):
        assert SECRET not in operator.get(address).content.decode()


@pytest.mark.parametrize(
    ("kind", "act", "permission"),
    [
        ("switch", "decide", "agents.switch_agent"),
        ("manifest", "decide", "agents.change_agent"),
        ("form", "answer", "agents.change_artifact"),
        ("act", "decide", "agents.change_agent"),
    ],
)
def test_a_decision_needs_the_permission_of_what_it_does(
    person_with: Callable[..., Client],
    agent: Agent,
    question: Artifact,
    manifest: Artifact,
    kind: str,
    act: str,
    permission: str,
) -> None:
    propose_switch(agent, "websocket", by="ann")
    converse("suspend DemoBot", by="ann", may=lambda wanted: True)
    artifact = Artifact.objects.get(kind=kind)
    reader = person_with("agents.view_artifact")
    assert reader.get(page(artifact)).status_code == 200
    assert f"{act}/" not in reader.get(page(artifact)).content.decode()
    assert reader.get(page(artifact, act)).status_code == 403
    assert reader.post(page(artifact, act), {"decision": "confirm"}).status_code == 403
    artifact.refresh_from_db()
    assert artifact.state == "open"
    reader.cookies.clear()
    from django.contrib.auth.models import User

    User.objects.all().delete()
    decider = person_with(permission)
    assert decider.get(page(artifact, act)).status_code == 200


def test_a_question_is_not_decided_and_a_switch_not_answered(
    operator: Client, agent: Agent, question: Artifact
) -> None:
    switch = propose_switch(agent, "websocket")
    assert operator.post(page(question, "decide"), {"decision": "confirm"}).status_code == 403
    assert operator.get(page(switch, "answer")).status_code == 403


@pytest.mark.parametrize("pk", ["x", "01930b1e-7a00-7000-8000-000000000003"])
def test_a_form_that_there_is_not_is_a_404(operator: Client, pk: str) -> None:
    assert operator.get(f"/admin/agents/artifact/{pk}/decide/").status_code == 404


def test_an_expired_form_says_so(operator: Client, question: Artifact, agent: Agent) -> None:
    switch = propose_switch(agent, "websocket")
    past = timezone.now() - timedelta(seconds=1)
    Artifact.objects.update(expires_at=past, state="expired")
    assert "has expired" in operator.get(page(switch, "decide")).content.decode()
    assert "This form is expired." in operator.get(page(question, "answer")).content.decode()


# The system agent --------------------------------------------------------------------------


def say(operator: Client, sentence: str) -> Any:
    return operator.post("/admin/agents/agent/system/", {"sentence": sentence})


def test_the_system_agent_shows_a_form_and_changes_nothing(
    operator: Client, agent: Agent, hook: Receiver
) -> None:
    assert operator.get("/admin/agents/agent/system/").status_code == 200
    sentence = f"把 DemoBot 的连接模式改成 webhook\nURL: {hook.url}\nsecret: {SECRET}"
    response = say(operator, sentence)
    shown = response.content.decode()
    assert hook.url in shown
    assert page(Artifact.objects.get(), "decide") in shown
    assert SECRET not in shown
    assert "no-store" in response.headers["Cache-Control"]
    agent.refresh_from_db()
    assert agent.webhook_url != hook.url


def test_the_system_agent_answers_status_and_gives_examples(operator: Client, agent: Agent) -> None:
    assert "DemoBot: Webhook" in say(operator, "status").content.decode()
    assert "I did not understand that." in say(operator, "sing").content.decode()
    assert "This field is required." in say(operator, "").content.decode()


def test_a_sentence_is_not_shown_again(operator: Client, agent: Agent) -> None:
    for sentence in (f"sing {SECRET}", f"secret {SECRET}", f"status {SECRET}"):
        assert SECRET not in say(operator, sentence).content.decode()


def test_the_system_agent_is_linked_and_needs_the_permissions(
    operator: Client, person_with: Callable[..., Client], agent: Agent
) -> None:
    assert "/admin/agents/agent/system/" in operator.get("/admin/agents/agent/").content.decode()
    reader = person_with("agents.view_agent")
    assert "DemoBot: Webhook" in say(reader, "status").content.decode()
    assert "You don&#x27;t have the permission" in say(reader, "suspend DemoBot").content.decode()
    assert not Artifact.objects.exists()
    assert Client().get("/admin/agents/agent/system/").status_code == 302


# Suspension --------------------------------------------------------------------------------


def test_an_agent_is_suspended_and_restored(operator: Client, agent: Agent) -> None:
    a_delivery(agent.lane_id, "pending")
    assert "1 delivery waits already" in operator.get(of(agent, "suspend")).content.decode()
    operator.post(of(agent, "suspend"), {"reason": "Too loud."})
    agent.refresh_from_db()
    assert agent.suspended_at is not None
    shown = operator.get(of(agent)).content.decode()
    assert "It is sent nothing." in shown
    assert f'{of(agent, "suspend")}"' not in shown
    assert "suspended" in operator.get("/admin/agents/agent/").content.decode()
    operator.post(of(agent, "restore"))
    agent.refresh_from_db()
    assert agent.suspended_at is None
    assert logged() == ["Suspended: Too loud.", "Restored."]


# Relations ---------------------------------------------------------------------------------


def test_a_relation_is_established_by_adding_it(operator: Client, agent: Agent) -> None:
    sent = {"agent": str(agent.pk), "user_id": "telegram:7", "name": "Ann"}
    response = operator.post("/admin/agents/relation/add/", sent, follow=True)
    assert response.status_code == 200
    relation = Relation.objects.get()
    assert (relation.status, relation.name) == ("established", "Ann")
    assert Delivery.objects.get().event_type == "relation.established"
    again = operator.post("/admin/agents/relation/add/", sent)
    assert again.context["adminform"].form.errors


@pytest.mark.parametrize(
    ("act", "status", "event"),
    [("suspend", "suspended", "relation.suspended"), ("revoke", "revoked", "relation.revoked")],
)
def test_a_relation_is_changed_by_acts(
    operator: Client, agent: Agent, act: str, status: str, event: str
) -> None:
    relation = establish(agent, "telegram:7", by="ann")
    address = f"/admin/agents/relation/{relation.pk}"
    assert operator.get(f"{address}/{act}/").status_code == 200
    relation.refresh_from_db()
    assert relation.status == "established"
    operator.post(f"{address}/{act}/")
    relation.refresh_from_db()
    assert relation.status == status
    assert Delivery.objects.latest("pk").event_type == event
    assert "restore/" in operator.get(f"{address}/change/").content.decode() or act == "revoke"


def test_a_revoked_relation_is_established_anew(operator: Client, agent: Agent) -> None:
    relation = establish(agent, "telegram:7", by="ann")
    revoke(relation, by="ann")
    operator.post(f"/admin/agents/relation/{relation.pk}/establish/")
    relation.refresh_from_db()
    assert relation.status == "established"


def test_what_can_not_follow_is_explained(operator: Client, agent: Agent) -> None:
    relation = establish(agent, "telegram:7", by="ann")
    address = f"/admin/agents/relation/{relation.pk}/restore/"
    assert "That can't follow" in operator.get(address).content.decode()
    operator.post(address)
    assert Delivery.objects.count() == 1


def test_a_relations_name_is_changed_and_whom_it_is_between_is_not(
    operator: Client, agent: Agent
) -> None:
    relation = establish(agent, "telegram:7", by="ann")
    sent = {"name": "Ann", "user_id": "telegram:8", "status": "revoked"}
    operator.post(f"/admin/agents/relation/{relation.pk}/change/", sent)
    relation.refresh_from_db()
    assert (relation.name, relation.user_id, relation.status) == (
        "Ann",
        "telegram:7",
        "established",
    )
    assert operator.post(f"/admin/agents/relation/{relation.pk}/delete/").status_code == 403
