"""Questions of agents: asked by REST, answered once, expired, taken back."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from agents.models import Agent, Artifact, Conversation
from agents.services import issue_token
from agents.services.artifacts import (
    DecisionRefused,
    answer,
    ask,
    cancel,
    expire_artifacts,
    find_by_link,
    link_to,
    purge_artifacts,
)
from deliveries.clockwork import every_minute
from deliveries.models import Delivery, Payload

from .conftest import make_agent, make_conversation
from .test_api import Api

pytestmark = pytest.mark.django_db

FIELDS = [{"name": "go", "type": "choice", "options": ["yes", "no"], "required": True}]
QUESTION = {"title": "Deploy to production?", "text": "All checks are green.", "fields": FIELDS}


@pytest.fixture
def api(agent: Agent) -> Api:
    return Api(agent, issue_token(agent))


@pytest.fixture
def artifact(agent: Agent) -> Artifact:
    return ask(agent, **QUESTION)


def event_for(agent: Agent, type_: str) -> tuple[Delivery, str]:
    delivery = Delivery.objects.get(lane_id=agent.lane_id, event_type=type_)
    return delivery, bytes(Payload.objects.get(pk=delivery.pk).body).decode()


def test_a_question_is_asked_by_rest(api: Api, agent: Agent) -> None:
    response = api.call("post", "artifacts", QUESTION)
    assert response.status_code == 201
    artifact = Artifact.objects.get()
    said = response.json()
    assert said["artifact_id"] == str(artifact.pk)
    assert (said["kind"], said["state"], said["title"]) == ("form", "open", QUESTION["title"])
    assert said["url"] == link_to(artifact)
    assert said["answer"] is None
    assert artifact.expires_at - artifact.created_at == timedelta(days=1)


def test_the_link_is_sent_to_the_conversations_place(
    api: Api, agent: Agent, conversation: Conversation
) -> None:
    asked = QUESTION | {"conversation_id": str(conversation.pk)}
    said = api.call("post", "artifacts", asked).json()
    delivery = Delivery.objects.get()
    assert delivery.lane_id == conversation.channel.lane_id  # type: ignore[union-attr]
    text = bytes(Payload.objects.get(pk=delivery.pk).body).decode()
    assert "Deploy to production?" in text
    assert said["url"] in text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": 7}, "title"),
        ({"fields": [{"name": "x", "type": "file"}]}, "fields[0].type"),
        ({"fields": "x"}, "fields"),
        ({"expires_in": 59}, "expires_in"),
        ({"expires_in": 31 * 86400}, "expires_in"),
        ({"expires_in": 10**30}, "expires_in"),
        ({"expires_in": "soon"}, "expires_in"),
        ({"conversation_id": "x"}, "conversation_id"),
    ],
)
def test_a_wrong_question_is_a_400_that_names_its_field(
    api: Api, change: dict[str, Any], field: str
) -> None:
    response = api.call("post", "artifacts", QUESTION | change)
    assert response.status_code == 400
    assert list(response.json()) == [field]
    assert not Artifact.objects.exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"title": "x"}'])
def test_what_is_no_question_is_a_400(api: Api, body: bytes) -> None:
    assert api.call("post", "artifacts", body).status_code == 400


def test_a_conversation_of_another_agent_is_a_404(api: Api) -> None:
    foreign = make_conversation(make_agent("other"), None)
    for pk in (foreign.pk, uuid4()):
        asked = QUESTION | {"conversation_id": str(pk)}
        assert api.call("post", "artifacts", asked).status_code == 404
    assert not Artifact.objects.exists()


def test_an_agent_in_a_loop_is_stopped(api: Api, agent: Agent) -> None:
    for _ in range(100):
        ask(agent, **QUESTION)
    response = api.call("post", "artifacts", QUESTION)
    assert response.status_code == 429
    cancel(Artifact.objects.latest("pk"))
    assert api.call("post", "artifacts", QUESTION).status_code == 201


def test_another_agents_form_is_a_404(artifact: Artifact) -> None:
    other = make_agent("other")
    api = Api(other, issue_token(other))
    for method in ("get", "delete"):
        assert api.call(method, f"artifacts/{artifact.pk}").status_code == 404
        mine = api.call(method, f"artifacts/{artifact.pk}", agent_id=artifact.agent_id)
        assert mine.status_code == 404
    artifact.refresh_from_db()
    assert artifact.state == "open"


@pytest.mark.parametrize("pk", ["x", str(uuid4())])
def test_a_form_that_there_is_not_is_a_404(api: Api, pk: str) -> None:
    assert api.call("get", f"artifacts/{pk}").status_code == 404


def test_an_answer_goes_to_the_agent(agent: Agent, conversation: Conversation, api: Api) -> None:
    artifact = ask(agent, conversation_id=conversation.pk, **QUESTION)
    answer(artifact, {"go": "yes"}, by="ann")
    delivery, payload = event_for(agent, "artifact_response")
    assert delivery.status == "pending"
    assert delivery.conversation_id == conversation.pk
    assert f'"artifact_id":"{artifact.pk}"' in payload
    assert '"answer":{"go":"yes"}' in payload
    assert '"answered_by":"ann"' in payload
    assert '"answered_at":"' in payload

    said = api.call("get", f"artifacts/{artifact.pk}").json()
    assert (said["state"], said["answer"], said["answered_by"]) == (
        "confirmed",
        {"go": "yes"},
        "ann",
    )
    assert said["url"] is None


def test_a_form_is_answered_once(agent: Agent, artifact: Artifact) -> None:
    same = Artifact.objects.get(pk=artifact.pk)
    answer(artifact, {"go": "yes"}, by="ann")
    with pytest.raises(DecisionRefused, match="answered already"):
        answer(same, {"go": "no"}, by="bob")
    artifact.refresh_from_db()
    assert (artifact.answer, artifact.decided_by) == ({"go": "yes"}, "ann")
    assert Delivery.objects.count() == 1


def test_an_agent_takes_its_question_back_once(api: Api, artifact: Artifact) -> None:
    assert api.call("delete", f"artifacts/{artifact.pk}").status_code == 204
    assert api.call("delete", f"artifacts/{artifact.pk}").status_code == 409
    with pytest.raises(DecisionRefused, match="cancelled"):
        answer(artifact, {"go": "yes"}, by="ann")
    assert api.call("get", f"artifacts/{artifact.pk}").json()["state"] == "cancelled"


def test_what_nobody_answered_expires_and_an_agent_that_fetches_is_told() -> None:
    agent = Agent.objects.create(name="fetcher")
    artifact = ask(agent, life=timedelta(minutes=5), **QUESTION)
    with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
        with pytest.raises(DecisionRefused, match="expired"):
            answer(artifact, {"go": "yes"}, by="ann")
        assert expire_artifacts(timezone.now()) == 1
        assert expire_artifacts(timezone.now()) == 0
    artifact.refresh_from_db()
    assert artifact.state == "expired"
    delivery, payload = event_for(agent, "artifact.expired")
    assert delivery.status == "pending"
    assert f'"artifact_id":"{artifact.pk}"' in payload


def test_to_a_webhook_the_expiry_is_skipped(agent: Agent) -> None:
    ask(agent, life=timedelta(minutes=5), **QUESTION)
    with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
        every_minute()
    delivery, _payload = event_for(agent, "artifact.expired")
    assert (delivery.status, delivery.error_class) == ("skipped", "not_for_webhook")


def test_many_expire_at_once(agent: Agent) -> None:
    Artifact.objects.bulk_create(
        Artifact(
            agent=agent,
            kind="form",
            form=QUESTION,
            created_at=timezone.now(),
            expires_at=timezone.now(),
        )
        for _ in range(250)
    )
    assert expire_artifacts(timezone.now()) == 250


def test_what_was_decided_is_forgotten_with_the_ledger(agent: Agent) -> None:
    old = ask(agent, title="old", fields=FIELDS)
    ask(agent, title="late", fields=FIELDS)
    answer(old, {"go": "yes"}, by="ann")
    still_open = ask(agent, life=timedelta(days=30), title="open", fields=FIELDS)
    with time_machine.travel(timezone.now() + timedelta(days=29), tick=False):
        expire_artifacts(timezone.now())
        assert purge_artifacts(timezone.now()) == 0
    with time_machine.travel(timezone.now() + timedelta(days=32), tick=False):
        assert purge_artifacts(timezone.now()) == 2
        assert list(Artifact.objects.all()) == [still_open]


# The link ----------------------------------------------------------------------------------


def test_a_link_leads_to_its_form_and_no_other_does(artifact: Artifact) -> None:
    signed = link_to(artifact).rsplit("/", 1)[1]
    assert find_by_link(signed) == artifact
    pk, signature = signed.split(".")
    assert pk == artifact.pk.hex
    for wrong in (pk, f"{pk}.", f"{uuid4().hex}.{signature}", signed[:-1], f"{signed}x", "", "."):
        assert find_by_link(wrong) is None


@pytest.mark.parametrize("kind", ["switch", "manifest", "act"])
def test_a_link_leads_to_questions_only(artifact: Artifact, kind: str) -> None:
    Artifact.objects.filter(pk=artifact.pk).update(kind=kind)
    assert find_by_link(link_to(artifact).rsplit("/", 1)[1]) is None


def test_without_a_token_nothing_is_asked(agent: Agent) -> None:
    path = f"/agents/{agent.pk}/artifacts"
    assert Client().post(path, QUESTION, content_type="application/json").status_code == 401
