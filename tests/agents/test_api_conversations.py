"""An agent's conversations over REST."""

import base64
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from agents.models import Agent, Conversation
from agents.services import issue_token, post_message
from platforms.models import Channel

from .conftest import deliver, make_agent, make_conversation
from .test_api import HELLO, Api

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.agents.urls")]


@pytest.fixture
def api(agent: Agent) -> Api:
    return Api(agent, issue_token(agent))


def test_a_line_names_the_conversation_and_its_use(api: Api, conversation: Conversation) -> None:
    Conversation.objects.update(sender_id="github:octocat")
    [line] = api.call("get", "conversations").json()
    assert line == {
        "conversation_id": str(conversation.pk),
        "key": "acme/site#7",
        "sender_id": "github:octocat",
        "used_at": conversation.created_at.isoformat().replace("+00:00", "Z"),
    }


def test_the_pages_lead_through_all_in_the_order_of_their_keys(api: Api, channel: Channel) -> None:
    keys = ["b#2", "a#1", "c%3", "äö", "d/4?&=+"]
    for key in keys:
        make_conversation(api.agent, channel, key)
    make_conversation(make_agent("other"), channel, "b#1")
    seen: list[str] = []
    query = "?limit=2"
    while True:
        answer = api.call("get", f"conversations{query}")
        seen += [line["key"] for line in answer.json()]
        if "X-Next-Cursor" not in answer.headers:
            break
        query = f"?limit=2&cursor={answer.headers['X-Next-Cursor']}"
    assert seen == sorted(keys)


def test_one_is_found_by_its_key(api: Api, channel: Channel) -> None:
    make_conversation(api.agent, channel, "acme/site#7")
    make_conversation(api.agent, channel, "acme/site#8")
    [line] = api.call("get", "conversations?key=acme/site%238").json()
    assert line["key"] == "acme/site#8"
    assert api.call("get", "conversations?key=none").json() == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("cursor=%", "cursor"),
        ("cursor=abc", "cursor"),
        ("cursor=_w==", "cursor"),
        (f"key={'k' * 256}", "key"),
    ],
)
def test_a_bad_page_names_its_field(api: Api, query: str, field: str) -> None:
    answer = api.call("get", f"conversations?{query}")
    assert (answer.status_code, list(answer.json())) == (400, [field])


def test_a_cursor_with_a_nul_is_no_server_error(api: Api) -> None:
    cursor = base64.urlsafe_b64encode(b"a\0b").decode()
    assert api.call("get", f"conversations?cursor={cursor}").status_code == 400


def test_one_tells_its_places_and_its_latest_deliveries_newest_first(
    api: Api, channel: Channel, conversation: Conversation
) -> None:
    asked = deliver(api.agent, conversation)
    said = post_message(api.agent, conversation.pk, HELLO)
    answer = api.call("get", f"conversations/{conversation.pk}").json()
    assert answer["conversation_id"] == str(conversation.pk)
    assert answer["places"] == [
        {"channel": channel.name, "target": {"repo": "acme/site", "number": "7"}}
    ]
    assert [(line["to"], line["event_id"], line["status"]) for line in answer["latest"]] == [
        ("notes", str(said.pk), "pending"),
        ("agent", str(asked.event_id), "pending"),
    ]
    assert answer["latest"][1]["delivery_id"] == str(asked.pk)


def test_a_conversation_without_a_channel_has_no_place(api: Api) -> None:
    bare = make_conversation(api.agent, None)
    answer = api.call("get", f"conversations/{bare.pk}").json()
    assert (answer["places"], answer["latest"]) == ([], [])


@pytest.mark.parametrize("whose", ["another's", "nobody's", "no uuid"])
def test_what_is_not_the_agents_is_a_404_in_json(api: Api, channel: Channel, whose: str) -> None:
    other = make_conversation(make_agent("other"), channel)
    known: dict[str, Any] = {"another's": other.pk, "nobody's": uuid4(), "no uuid": "mine"}
    answer = api.call("get", f"conversations/{known[whose]}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/json")


def test_many_are_read_with_a_few_queries(
    api: Api, channel: Channel, django_assert_max_num_queries: Any
) -> None:
    now = timezone.now()
    Conversation.objects.bulk_create(
        Conversation(agent=api.agent, key=f"k{number:04}", channel=channel, created_at=now)
        for number in range(300)
    )
    api.call("get", "tokens")  # notes the use of the token
    with django_assert_max_num_queries(3):
        assert len(api.call("get", "conversations?limit=200").json()) == 200
