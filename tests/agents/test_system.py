"""The system agent: answers, forms, and no change before a confirmation."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agents.models import Agent, AgentSecret, Artifact
from agents.services import DecisionRefused, mark_unreachable, suspend
from agents.services.decisions import confirm, describe, permission_for, reject
from agents.services.relations import establish, suspend_relation
from agents.services.system import EXAMPLES, Reply, converse

from .conftest import SECRET, deliver, make_agent
from .receiver import Receiver

pytestmark = pytest.mark.django_db

USER = "telegram:12345"


def say(text: str, *permissions: str) -> Reply:
    may = (lambda wanted: wanted in permissions) if permissions else (lambda wanted: True)
    return converse(text, by="ann", may=may)


def proposed(text: str) -> Artifact:
    artifact = say(text).artifact
    assert artifact is not None
    return artifact


def snapshot() -> list[Any]:
    return [
        list(Agent.objects.values()),
        list(AgentSecret.objects.values_list("pk", "not_after")),
    ]


def test_status_is_answered_at_once(agent: Agent) -> None:
    deliver(agent)
    mark_unreachable(agent)
    reply = say("状态")
    [line] = [line for line in reply.lines if line.startswith("reviewer")]
    assert "https://93.184.215.14/hashee/webhook" in line
    assert "1" in line
    assert reply.artifact is None
    assert len(say("status of reviewer").lines) == 1


def test_help_and_what_is_not_understood_get_examples(db: None) -> None:
    assert say("help").lines == EXAMPLES
    reply = say("make me a sandwich")
    assert reply.lines == EXAMPLES
    assert "did not understand" in reply.said


def test_a_sentence_without_an_agent_asks_for_one(agent: Agent) -> None:
    reply = say("recover")
    assert "reviewer" in reply.said
    assert reply.artifact is None
    make_agent("second")
    assert "one agent at a time" in say("suspend reviewer and second").said


def test_a_switch_is_proposed_pinged_and_changes_nothing(agent: Agent, receiver: Receiver) -> None:
    before = snapshot()
    reply = say(f"把 reviewer 的连接模式改成 webhook\nURL: {receiver.url}\nsecret: {SECRET}")
    assert reply.artifact is not None
    assert snapshot() == before
    assert len(receiver.requests) == 1
    assert SECRET not in str(reply)
    change = describe(reply.artifact)
    assert change.then == f"Webhook: {receiver.url}"
    done = confirm(reply.artifact, "ann")
    assert done.secret is None
    assert Agent.objects.get(pk=agent.pk).webhook_url == receiver.url


def test_a_generated_secret_comes_with_the_confirmation(agent: Agent, receiver: Receiver) -> None:
    done = confirm(proposed(f"switch reviewer to webhook {receiver.url}"), "ann")
    assert done.secret == AgentSecret.objects.live().filter(agent=agent)[0].value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("switch reviewer to webhook url: http://127.0.0.1/", "not allowed"),
        ("switch reviewer to webhook https://93.184.215.14/ secret: tooshort", "at least 32"),
        ("switch reviewer to completions", "This is needed."),
    ],
)
def test_what_can_not_be_proposed_is_explained(agent: Agent, text: str, said: str) -> None:
    reply = say(text)
    assert said in " ".join(reply.lines)
    assert "tooshort" not in " ".join(reply.lines)
    assert reply.artifact is None
    assert not Artifact.objects.exists()


def test_recover_is_proposed_then_done(agent: Agent) -> None:
    assert "nothing to recover" in say("recover reviewer").said
    mark_unreachable(agent)
    deliver(agent)
    artifact = proposed("恢复 reviewer")
    assert Agent.objects.get(pk=agent.pk).connection_status == "unreachable"
    assert "1 delivery" in describe(artifact).effects[0]
    assert "1 delivery" in confirm(artifact, "ann").said
    assert Agent.objects.get(pk=agent.pk).connection_status == "ready"


def test_a_recover_that_is_no_longer_needed_is_refused_and_stays_open(agent: Agent) -> None:
    mark_unreachable(agent)
    artifact = proposed("recover reviewer")
    Agent.objects.filter(pk=agent.pk).update(connection_status="ready")
    with pytest.raises(DecisionRefused):
        confirm(artifact, "ann")
    artifact.refresh_from_db()
    assert artifact.state == "open"


def test_to_recover_a_suspended_agent_is_to_restore_it(agent: Agent) -> None:
    suspend(agent, by="bob")
    artifact = proposed("恢复 reviewer")
    assert artifact.proposal["act"] == "restore_agent"
    confirm(artifact, "ann")
    assert Agent.objects.get(pk=agent.pk).suspended_at is None


def test_an_agent_is_suspended_on_confirmation_only(agent: Agent) -> None:
    artifact = proposed("suspend reviewer")
    assert Agent.objects.get(pk=agent.pk).suspended_at is None
    confirm(artifact, "ann")
    assert Agent.objects.get(pk=agent.pk).suspended_at is not None
    assert "suspended already" in say("suspend reviewer").said


def test_a_secret_is_rotated_and_shown_by_the_confirmation(agent: Agent) -> None:
    artifact = proposed("轮换 reviewer 的密钥")
    assert len(AgentSecret.objects.all()) == 1
    done = confirm(artifact, "ann")
    assert AgentSecret.objects.live()[0].value == done.secret


def test_a_given_secret_is_kept_encrypted_until_the_decision(agent: Agent) -> None:
    given = "0123456789abcdef" * 4
    artifact = proposed(f"change the secret of reviewer to {given}")
    assert given not in str(artifact.proposal)
    assert artifact.secret == given
    assert confirm(artifact, "ann").secret is None
    artifact.refresh_from_db()
    assert artifact.secret == ""
    assert AgentSecret.objects.live()[0].value == given


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("suspend the relation of telegram:12345 with reviewer", "established", "suspended"),
        ("恢复 reviewer 与 telegram:12345 的关系", "suspended", "established"),
        ("revoke the relation of Ann Example with reviewer", "established", ""),
        ("revoke the relation of telegram:12345 with reviewer", "suspended", "revoked"),
    ],
)
def test_a_relation_is_changed_on_confirmation(
    agent: Agent, text: str, before: str, after: str
) -> None:
    relation = establish(agent, USER, "Ann Example", by="bob")
    if before == "suspended":
        suspend_relation(relation, by="bob")
    reply = say(text)
    if not after:
        assert "Whose relation?" in reply.said
        return
    assert reply.artifact is not None
    relation.refresh_from_db()
    assert relation.status == before
    confirm(reply.artifact, "ann")
    relation.refresh_from_db()
    assert relation.status == after


def test_a_relation_that_there_is_not_is_told(agent: Agent) -> None:
    assert "no relation" in say("suspend the relation of telegram:1 with reviewer").said
    establish(agent, USER, by="bob")
    assert "can't follow" in say(f"restore the relation of {USER} with reviewer").said


def test_a_rejected_form_changes_nothing_and_is_decided(agent: Agent) -> None:
    artifact = proposed("suspend reviewer")
    reject(artifact, "ann")
    with pytest.raises(DecisionRefused):
        confirm(artifact, "ann")
    assert Agent.objects.get(pk=agent.pk).suspended_at is None


def test_a_form_of_the_system_agent_expires(agent: Agent) -> None:
    artifact = proposed("suspend reviewer")
    Artifact.objects.filter(pk=artifact.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(DecisionRefused, match="expired"):
        confirm(artifact, "ann")


@pytest.mark.parametrize(
    ("text", "permission"),
    [
        ("status", "agents.view_agent"),
        ("switch reviewer to pull", "agents.switch_agent"),
        ("rotate the secret of reviewer", "agents.switch_agent"),
        ("recover reviewer", "agents.recover_agent"),
        ("suspend reviewer", "agents.change_agent"),
        ("suspend the relation of telegram:12345 with reviewer", "agents.change_relation"),
    ],
)
def test_each_sentence_needs_the_permission_of_what_it_does(
    agent: Agent, text: str, permission: str
) -> None:
    mark_unreachable(agent)
    establish(agent, USER, by="bob")
    assert "permission" in say(text, "agents.nothing").said
    assert not Artifact.objects.exists()
    reply = say(text, permission)
    assert "permission" not in reply.said
    assert reply.artifact is None or permission_for(reply.artifact) == permission


def test_no_secret_is_logged(
    agent: Agent, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for text in (
        f"switch reviewer to webhook {receiver.url} secret {SECRET}",
        f"gibberish secret: {SECRET}",
        f"change the secret of reviewer to {SECRET}",
    ):
        reply = say(text)
        assert SECRET not in f"{reply.said} {reply.lines}"
    assert SECRET not in caplog.text


# By REST -----------------------------------------------------------------------------------


@pytest.fixture
def staff(admin_client: Client) -> Client:
    return admin_client


def post(client: Client, path: str, said: Any) -> Any:
    return client.post(path, said, content_type="application/json")


def test_a_sentence_by_rest_and_its_confirmation(
    staff: Client, agent: Agent, receiver: Receiver
) -> None:
    response = post(staff, "/system", {"text": f"switch reviewer to webhook {receiver.url}"})
    artifact = response.json()["artifact"]
    assert response.headers["Cache-Control"] == "no-store"
    assert artifact["change"]["then"] == f"Webhook: {receiver.url}"
    address = f"/system/artifacts/{artifact['artifact_id']}"
    assert staff.get(address).json()["state"] == "open"

    done = post(staff, address, {"decision": "confirm"}).json()
    assert done["secret"] == AgentSecret.objects.live().filter(agent=agent)[0].value
    assert done["artifact"]["answered_by"] == "admin"
    assert post(staff, address, {"decision": "confirm"}).status_code == 409
    assert done["secret"] not in staff.get(address).content.decode()


def test_a_doubtful_webhook_needs_anyway_by_rest(
    staff: Client, agent: Agent, receiver: Receiver
) -> None:
    receiver.status = 500
    said = post(staff, "/system", {"text": f"switch reviewer to webhook {receiver.url}"}).json()
    address = f"/system/artifacts/{said['artifact']['artifact_id']}"
    assert said["artifact"]["change"]["in_doubt"]
    assert post(staff, address, {"decision": "confirm"}).status_code == 409
    assert post(staff, address, {"decision": "confirm", "anyway": True}).status_code == 200


def test_cancelling_by_rest(staff: Client, agent: Agent) -> None:
    said = post(staff, "/system", {"text": "suspend reviewer"}).json()
    address = f"/system/artifacts/{said['artifact']['artifact_id']}"
    assert post(staff, address, {"decision": "cancel"}).status_code == 200
    assert post(staff, address, {"decision": "perhaps"}).status_code == 400
    assert Agent.objects.get(pk=agent.pk).suspended_at is None


@pytest.mark.parametrize(
    "said", [{}, {"text": ""}, {"text": 7.5, "x": 1}, {"text": "x" * 4001}, []]
)
def test_what_is_no_sentence_is_a_400_or_answered(staff: Client, said: Any) -> None:
    response = post(staff, "/system", said)
    assert response.status_code in (200, 400)
    assert response.status_code == 200 or response.json()


def test_without_staff_there_is_no_system(
    client: Client, agent: Agent, django_user_model: Any
) -> None:
    assert post(client, "/system", {"text": "status"}).status_code == 401
    client.force_login(django_user_model.objects.create_user("visitor"))
    assert post(client, "/system", {"text": "status"}).status_code == 403


def test_a_confirmation_needs_the_permission_too(
    client: Client, agent: Agent, django_user_model: Any
) -> None:
    artifact = proposed("suspend reviewer")
    client.force_login(django_user_model.objects.create_user("reader", is_staff=True))
    address = f"/system/artifacts/{artifact.pk}"
    assert client.get(address).status_code == 403
    assert post(client, address, {"decision": "confirm"}).status_code == 403
    assert Agent.objects.get(pk=agent.pk).suspended_at is None


@pytest.mark.parametrize("pk", ["x", "01930b1e-7a00-7000-8000-000000000003"])
def test_a_form_that_there_is_not_is_a_404(staff: Client, pk: str) -> None:
    assert staff.get(f"/system/artifacts/{pk}").status_code == 404


# By command --------------------------------------------------------------------------------


def run(*words: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("system", *words, stdout=out, **options)
    return out.getvalue()


def test_the_command_shows_what_would_happen_and_how_to_confirm_it(
    agent: Agent, receiver: Receiver
) -> None:
    shown = run(f"switch reviewer to webhook {receiver.url}")
    artifact = Artifact.objects.get()
    assert f"then: Webhook: {receiver.url}" in shown
    assert f"manage.py system --confirm {artifact.pk}" in shown
    assert Agent.objects.get(pk=agent.pk).webhook_url != receiver.url
    done = run(confirm=artifact.pk)
    assert AgentSecret.objects.live().filter(agent=agent)[0].value in done
    assert Agent.objects.get(pk=agent.pk).webhook_url == receiver.url


def test_the_command_takes_words_and_standard_input(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "reviewer" in run("show", "status")
    monkeypatch.setattr("sys.stdin", io.StringIO("恢复 reviewer\n"))
    assert "reviewer" in run("-")
    with pytest.raises(CommandError):
        run("")


def test_the_command_confirms_at_once_when_told_so(agent: Agent) -> None:
    run("suspend reviewer", yes=True)
    assert Agent.objects.get(pk=agent.pk).suspended_at is not None


def test_the_command_refuses_a_doubtful_webhook_without_anyway(
    agent: Agent, settings: Settings
) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    with pytest.raises(CommandError, match="anyway"):
        run("switch reviewer to webhook http://127.0.0.1:9/", yes=True)
    run(confirm=Artifact.objects.get().pk, anyway=True)
    assert Agent.objects.get(pk=agent.pk).webhook_url == "http://127.0.0.1:9/"


def test_the_command_cancels(agent: Agent) -> None:
    run("suspend reviewer")
    run(cancel=Artifact.objects.get().pk)
    assert Artifact.objects.get().state == "cancelled"
    with pytest.raises(CommandError):
        run(confirm=Artifact.objects.get().pk)


def test_nothing_of_a_sentence_is_kept_in_the_history(agent: Agent, staff: Client) -> None:
    post(staff, "/system", {"text": f"change the secret of reviewer to {SECRET}"})
    assert not LogEntry.objects.filter(change_message__contains=SECRET).exists()
