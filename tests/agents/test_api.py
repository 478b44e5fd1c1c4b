"""The agents' REST API."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from agents.models import Agent, AgentToken, Conversation
from agents.services import issue_token, mark_unreachable
from deliveries.models import Delivery, Event
from platforms.models import Channel

from .conftest import deliver, make_agent, make_conversation

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.agents.urls")]

HELLO = {"type": "text", "text": "提醒:你的部署完成了"}

ENDPOINTS = [
    ("post", "connection/recover"),
    ("get", "delivery-logs"),
    ("post", "messages"),
]


class Api:
    """An agent's own client."""

    def __init__(self, agent: Agent, token: str) -> None:
        self.agent, self.token = agent, token

    def call(self, method: str, path: str, body: Any = None, *, agent_id: object = None) -> Any:
        return Client(headers={"Authorization": f"Bearer {self.token}"}).generic(
            method.upper(),
            f"/agents/{agent_id or self.agent.pk}/{path}",
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body),
            content_type="application/json",
        )


@pytest.fixture
def api(agent: Agent) -> Api:
    return Api(agent, issue_token(agent))


def is_json(response: Any) -> bool:
    return bool(response.headers["Content-Type"] == "application/json")


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer",
        "Bearer ",
        "Bearer hsk_wrong",
        "Bearer hsk_wrong and more",
        "Bearer \xff\xfe",
        "Basic aHNrXzp4",
        "Token hsk_x",
    ],
)
def test_without_a_valid_token_every_endpoint_answers_401(
    agent: Agent, method: str, path: str, header: str | None
) -> None:
    issue_token(agent)
    client = Client(headers={} if header is None else {"Authorization": header})
    response = client.generic(method.upper(), f"/agents/{agent.pk}/{path}")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert is_json(response)


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_a_token_that_has_ended_answers_401(api: Api, method: str, path: str) -> None:
    AgentToken.objects.update(not_after=timezone.now() - timedelta(seconds=1))
    assert api.call(method, path).status_code == 401


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("whose", ["another", "nobody", "no uuid"])
def test_the_id_of_another_agent_answers_404_and_changes_nothing(
    api: Api, channel: Channel, method: str, path: str, whose: str
) -> None:
    other = make_agent("other")
    mark_unreachable(other)
    conversation = make_conversation(other, channel)
    agent_id = {"another": other.pk, "nobody": uuid4(), "no uuid": "me"}[whose]
    body = {"conversation_id": str(conversation.pk), "payload": HELLO}
    response = api.call(method, path, body, agent_id=agent_id)
    assert response.status_code == 404
    assert is_json(response)
    assert not Event.objects.exists()
    other.refresh_from_db()
    assert other.connection_status == "unreachable"


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_the_own_id_is_let_in(api: Api, conversation: Conversation, method: str, path: str) -> None:
    body = {"conversation_id": str(conversation.pk), "payload": HELLO}
    assert api.call(method, path, body).status_code in (200, 202)
    assert api.call(method, path, body, agent_id=str(api.agent.pk).upper()).status_code < 300


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_another_method_answers_405_in_json(api: Api, method: str, path: str) -> None:
    response = api.call("delete", path)
    assert response.status_code == 405
    assert is_json(response)


def test_recover_tells_the_status_and_how_many_wait(api: Api) -> None:
    mark_unreachable(api.agent)
    deliver(api.agent)
    deliver(api.agent)
    response = api.call("post", "connection/recover")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "pending_count": 2})
    again = api.call("post", "connection/recover")
    assert (again.status_code, again.json()) == (200, {"status": "ready", "pending_count": 0})


def test_recover_of_an_agent_in_websocket_mode_tells_that_it_is_offline(api: Api) -> None:
    Agent.objects.update(connection_mode="websocket", connection_status="offline")
    response = api.call("post", "connection/recover")
    assert response.json() == {"status": "offline", "pending_count": 0}


def test_a_line_of_the_delivery_log_has_exactly_the_fields_of_the_spec(api: Api) -> None:
    delivery = deliver(api.agent)
    start = datetime(2026, 5, 15, 10, 24, 11, tzinfo=UTC)
    Delivery.objects.update(
        status="delivered",
        created_at=start,
        completed_at=start + timedelta(seconds=1),
        attempt_count=2,
        latency_ms=1000,
    )
    assert api.call("get", "delivery-logs").json() == [
        {
            "delivery_id": str(delivery.pk),
            "agent_id": str(api.agent.pk),
            "event_type": "message.new",
            "created_at": "2026-05-15T10:24:11Z",
            "completed_at": "2026-05-15T10:24:12Z",
            "attempt_count": 2,
            "final_status": "delivered",
            "latency_ms": 1000,
            "error_class": None,
        }
    ]


@pytest.mark.parametrize(
    ("status", "final"),
    [
        ("pending", None),
        ("delivered", "delivered"),
        ("failed", "failed"),
        ("unreachable", "unreachable"),
    ],
)
def test_final_status_is_null_until_it_is_final(api: Api, status: str, final: str | None) -> None:
    deliver(api.agent)
    Delivery.objects.update(status=status, error_class="timeout")
    [line] = api.call("get", "delivery-logs").json()
    assert (line["final_status"], line["error_class"]) == (final, "timeout")


def test_what_was_skipped_is_not_in_the_delivery_log(api: Api) -> None:
    skipped, sent = deliver(api.agent), deliver(api.agent)
    Delivery.objects.filter(pk=skipped.pk).update(status="skipped", error_class="superseded")
    assert [line["delivery_id"] for line in api.call("get", "delivery-logs").json()] == [
        str(sent.pk)
    ]


def test_the_delivery_log_is_newest_first_and_leads_through_its_pages(api: Api) -> None:
    made = [str(deliver(api.agent).pk) for _number in range(5)]
    deliver(make_agent("other"))
    seen: list[str] = []
    query = "?limit=2"
    while True:
        response = api.call("get", f"delivery-logs{query}")
        seen += [line["delivery_id"] for line in response.json()]
        if "X-Next-Cursor" not in response.headers:
            break
        query = f"?limit=2&cursor={response.headers['X-Next-Cursor']}"
    assert seen == made[::-1]


def test_the_delivery_log_shows_fifty_lines_unless_asked(api: Api) -> None:
    for _number in range(51):
        deliver(api.agent)
    assert len(api.call("get", "delivery-logs").json()) == 50
    response = api.call("get", "delivery-logs?limit=51")
    assert len(response.json()) == 51
    assert "X-Next-Cursor" not in response.headers


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("cursor=here", "cursor"),
    ],
)
def test_a_bad_page_names_its_field(api: Api, query: str, field: str) -> None:
    response = api.call("get", f"delivery-logs?{query}")
    assert response.status_code == 400
    assert list(response.json()) == [field]


def test_a_message_is_taken_and_its_event_named(api: Api, conversation: Conversation) -> None:
    body = {"conversation_id": str(conversation.pk), "payload": HELLO}
    response = api.call("post", "messages", body)
    assert response.status_code == 202
    event = Event.objects.get(pk=response.json()["event_id"])
    assert (event.source, event.deliveries.count()) == ("agent", 1)


def test_a_message_may_say_which_delivery_it_answers(api: Api, conversation: Conversation) -> None:
    asked = deliver(api.agent, conversation)
    deliver(api.agent, conversation)
    body = {"conversation_id": str(conversation.pk), "payload": HELLO}
    assert api.call("post", "messages", body | {"in_reply_to": str(asked.pk)}).status_code == 202
    assert Event.objects.get(source="agent").trace == asked.event.trace


@pytest.mark.parametrize("unknown", [str(uuid4()), "x", 7])
def test_an_answer_to_what_was_never_sent_there_is_a_400_and_not_kept(
    api: Api, conversation: Conversation, unknown: Any
) -> None:
    body = {"conversation_id": str(conversation.pk), "payload": HELLO, "in_reply_to": unknown}
    response = api.call("post", "messages", body)
    assert response.status_code == 400
    assert "in_reply_to" in response.json()
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "conversation_id"),
        ({"conversation_id": "x", "payload": HELLO}, "conversation_id"),
        ({"conversation_id": str(uuid4())}, "payload"),
        ({"conversation_id": str(uuid4()), "payload": None}, "payload"),
        ({"conversation_id": str(uuid4()), "payload": "hello"}, "payload"),
        ({"conversation_id": str(uuid4()), "payload": {"type": "text", "text": ""}}, "payload"),
        ([], "non_field_errors"),
        ("text", "non_field_errors"),
        (b'{"conversation_id": ', "detail"),
        (b"\xff", "detail"),
        (b'{"conversation_id": "x", "payload": NaN}', "detail"),
        (b"[" * 100_000, "detail"),
    ],
    ids=str,
)
def test_a_bad_message_is_a_400_that_names_what_is_wrong(api: Api, body: Any, field: str) -> None:
    response = api.call("post", "messages", body)
    assert response.status_code == 400
    assert field in response.json()
    assert not Event.objects.exists()


def test_a_message_into_another_agents_conversation_is_a_404(api: Api, channel: Channel) -> None:
    foreign = make_conversation(make_agent("other"), channel)
    body = {"conversation_id": str(foreign.pk), "payload": HELLO}
    response = api.call("post", "messages", body)
    assert response.status_code == 404
    assert is_json(response)
    assert not Event.objects.exists()


def test_a_body_above_the_limit_is_a_413(api: Api, conversation: Conversation) -> None:
    payload = {"type": "text", "text": "x" * 1_200_000}
    body = {"conversation_id": str(conversation.pk), "payload": payload}
    response = api.call("post", "messages", body)
    assert response.status_code == 413
    assert is_json(response)


def test_a_body_that_is_not_json_by_its_type_is_a_415(api: Api) -> None:
    response = Client(headers={"Authorization": f"Bearer {api.token}"}).post(
        f"/agents/{api.agent.pk}/messages", {"payload": "x"}
    )
    assert response.status_code == 415
    assert is_json(response)


def test_a_token_is_kept_as_a_digest_only(agent: Agent) -> None:
    token = issue_token(agent)
    assert token.startswith("hsk_")
    assert len(token) == 4 + 43
    [row] = AgentToken.objects.values()
    assert token not in repr(row)
    assert token[4:] not in repr(row)
    assert row["last_four"] == token[-4:]


def test_the_use_of_a_token_is_noted_once_a_minute(api: Api) -> None:
    start = datetime(2026, 5, 15, 10, 0, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        for second, noted in [(0, 0), (59, 0), (60, 60)]:
            clock.move_to(start + timedelta(seconds=second))
            api.call("get", "delivery-logs")
            assert AgentToken.objects.get().last_used_at == start + timedelta(seconds=noted)
