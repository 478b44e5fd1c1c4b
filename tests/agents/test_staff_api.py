"""What staff and trusted producers do by REST: relations and events; their tokens."""

import io
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from agents.models import Agent, Relation
from agents.services import issue_token
from agents.services.staff_tokens import issue_staff_token, staff_of
from deliveries.models import Delivery

from .conftest import make_agent, make_conversation

pytestmark = pytest.mark.django_db

USER = "telegram:12345"


@pytest.fixture
def robot() -> User:
    """A member of staff under whose name a program calls."""
    user = User.objects.create_user("robot", is_staff=True)
    for name in ("add_relation", "view_relation", "change_relation", "add_event"):
        user.user_permissions.add(Permission.objects.get(codename=name))
    return user


@pytest.fixture
def staff(robot: User) -> Client:
    return Client(headers={"Authorization": f"Bearer {issue_staff_token(robot)}"})


def post(client: Client, path: str, said: Any) -> Any:
    return client.post(path, said, content_type="application/json")


# Relations ---------------------------------------------------------------------------------


def test_the_life_of_a_relation_by_rest(staff: Client, agent: Agent) -> None:
    base = f"/agents/{agent.pk}/relations"
    made = post(staff, base, {"user_id": USER, "name": "Ann"}).json()
    assert (made["status"], made["user_id"]) == ("established", USER)
    address = f"{base}/{made['relation_id']}"
    states = [
        post(staff, address, {"change": change}).json()["status"]
        for change in ("suspend", "restore", "revoke")
    ]
    assert states == ["suspended", "established", "revoked"]
    assert post(staff, address, {"change": "restore"}).status_code == 409
    assert staff.get(address).json()["status"] == "revoked"
    assert post(staff, base, {"user_id": USER}).json()["status"] == "established"
    events = Delivery.objects.filter(lane_id=agent.lane_id).order_by("pk")
    assert list(events.values_list("event_type", flat=True)) == [
        "relation.established",
        "relation.suspended",
        "relation.restored",
        "relation.revoked",
        "relation.established",
    ]


def test_relations_are_listed_newest_first_in_pages(staff: Client, agent: Agent) -> None:
    base = f"/agents/{agent.pk}/relations"
    for number in range(3):
        post(staff, base, {"user_id": f"telegram:{number}"})
    post(staff, f"/agents/{make_agent('other').pk}/relations", {"user_id": "telegram:9"})
    first = staff.get(base, {"limit": 2})
    assert [row["user_id"] for row in first.json()] == ["telegram:2", "telegram:1"]
    second = staff.get(base, {"limit": 2, "cursor": first.headers["X-Next-Cursor"]})
    assert [row["user_id"] for row in second.json()] == ["telegram:0"]
    assert "X-Next-Cursor" not in second.headers


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\0"}, "user_id"),
        ({"user_id": "x" * 256}, "user_id"),
        ({"user_id": "a", "name": []}, "name"),
    ],
)
def test_a_wrong_relation_is_a_400(staff: Client, agent: Agent, said: Any, field: str) -> None:
    response = post(staff, f"/agents/{agent.pk}/relations", said)
    assert response.status_code == 400
    assert list(response.json()) == [field]


def test_another_agents_relation_is_a_404(staff: Client, agent: Agent) -> None:
    other = make_agent("other")
    relation = Relation.objects.create(agent=other, user_id=USER)
    for pk in (relation.pk, uuid4(), "x"):
        address = f"/agents/{agent.pk}/relations/{pk}"
        assert staff.get(address).status_code == 404
        assert post(staff, address, {"change": "revoke"}).status_code == 404
    relation.refresh_from_db()
    assert relation.status == "established"


@pytest.mark.parametrize("agent_id", ["x", uuid4()])
def test_an_agent_that_there_is_not_is_a_404(staff: Client, agent_id: object) -> None:
    assert staff.get(f"/agents/{agent_id}/relations").status_code == 404
    said = {"type": "group.updated", "payload": {}}
    assert post(staff, f"/agents/{agent_id}/events", said).status_code == 404


@pytest.mark.parametrize("path", ["relations", "events"])
def test_an_agents_own_token_opens_neither(agent: Agent, path: str) -> None:
    client = Client(headers={"Authorization": f"Bearer {issue_token(agent)}"})
    assert post(client, f"/agents/{agent.pk}/{path}", {"user_id": USER}).status_code == 401
    assert not Relation.objects.exists()


@pytest.mark.parametrize("path", ["relations", "events"])
def test_staff_without_the_permission_is_refused(agent: Agent, path: str) -> None:
    user = User.objects.create_user("reader", is_staff=True)
    client = Client(headers={"Authorization": f"Bearer {issue_staff_token(user)}"})
    said = {"user_id": USER, "type": "group.updated", "payload": {}}
    assert post(client, f"/agents/{agent.pk}/{path}", said).status_code == 403


def test_a_session_works_too_but_not_from_elsewhere(admin_user: User, agent: Agent) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert post(strict, f"/agents/{agent.pk}/relations", {"user_id": USER}).status_code == 403
    client = Client()
    client.force_login(admin_user)
    assert post(client, f"/agents/{agent.pk}/relations", {"user_id": USER}).status_code == 200


# Events ------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["reaction.update", "group.updated", "system.group_key_rotated"])
def test_a_trusted_producer_sends_what_hermes_has_no_source_for(staff: Client, type_: str) -> None:
    agent = Agent.objects.create(name="fetcher")
    conversation = make_conversation(agent, None)
    said = {
        "type": type_,
        "payload": {"emoji": "👍"},
        "conversation_id": str(conversation.pk),
        "user_id": USER,
    }
    response = post(staff, f"/agents/{agent.pk}/events", said)
    assert response.status_code == 202
    delivery = Delivery.objects.get(event_id=response.json()["event_id"])
    assert (delivery.event_type, delivery.status) == (type_, "pending")
    assert delivery.conversation_id == conversation.pk
    assert response.json()["skipped"] == ""


def test_to_a_webhook_it_is_kept_as_skipped(staff: Client, agent: Agent) -> None:
    said = {"type": "group.updated", "payload": {}}
    response = post(staff, f"/agents/{agent.pk}/events", said)
    assert response.json()["skipped"] == "not_for_webhook"
    assert Delivery.objects.get().status == "skipped"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "message.new"}, "type"),
        ({"type": "agent.governance"}, "type"),
        ({"type": None}, "type"),
        ({"payload": []}, "payload"),
        ({"payload": "x"}, "payload"),
        ({"payload": {"a": 10**40}}, "payload"),
        ({"conversation_id": "x"}, "conversation_id"),
        ({"user_id": "x" * 256}, "user_id"),
    ],
)
def test_a_wrong_event_is_a_400(staff: Client, agent: Agent, change: Any, field: str) -> None:
    said = {"type": "group.updated", "payload": {}} | change
    response = post(staff, f"/agents/{agent.pk}/events", said)
    assert response.status_code == 400
    assert list(response.json()) == [field]
    assert not Delivery.objects.exists()


def test_a_conversation_of_another_agent_is_a_404(staff: Client, agent: Agent) -> None:
    foreign = make_conversation(make_agent("other"), None)
    said = {"type": "group.updated", "payload": {}, "conversation_id": str(foreign.pk)}
    assert post(staff, f"/agents/{agent.pk}/events", said).status_code == 404


# Tokens of staff ---------------------------------------------------------------------------


def test_a_token_ends_by_itself(robot: User) -> None:
    token = issue_staff_token(robot, timedelta(days=1))
    assert staff_of(token) == robot
    with time_machine.travel(timezone.now() + timedelta(days=1, seconds=1), tick=False):
        assert staff_of(token) is None


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_a_token_ends_with_the_persons_standing(robot: User, change: dict[str, bool]) -> None:
    token = issue_staff_token(robot)
    User.objects.filter(pk=robot.pk).update(**change)
    assert staff_of(token) is None


def test_a_new_password_ends_every_token(robot: User) -> None:
    token = issue_staff_token(robot)
    robot.set_password("another")
    robot.save()
    assert staff_of(token) is None


@pytest.mark.parametrize("token", ["", "hst_", "hst_x", "hst_a:b:c", "hsk_x", "hst_\xff"])
def test_what_is_no_token_is_a_401(agent: Agent, token: str) -> None:
    assert staff_of(token) is None
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert client.get(f"/agents/{agent.pk}/relations").status_code == 401


def test_the_command_issues_a_token(robot: User) -> None:
    out = io.StringIO()
    call_command("staff_token", "robot", "--days", "7", stdout=out)
    assert staff_of(out.getvalue().strip()) == robot
    for wrong in (["nobody"], ["robot", "--days", "0"]):
        with pytest.raises(CommandError):
            call_command("staff_token", *wrong)
