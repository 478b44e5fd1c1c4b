"""Every entry of the agents' REST API with a foreign token, and with bodies that are none.

The entries are those of the addresses: one that is added is held here without being named.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.serializers import serialize
from django.test import Client

from agents.api.staff import StaffView
from agents.api.urls import urlpatterns
from agents.models import Agent, Artifact, Conversation, Relation, StoredObject
from agents.services import issue_token
from agents.services.artifacts import ask
from agents.services.events import emit
from agents.services.relations import establish
from agents.services.staff_tokens import issue_staff_token
from agents.storage import keep
from deliveries.ids import new_id
from deliveries.models import Delivery, Event
from platforms.models import Channel

from .conftest import make_agent, make_conversation

pytestmark = pytest.mark.django_db

FIELDS = [{"name": "go", "type": "boolean", "label": "Go?"}]
TEXT = {"type": "text", "text": "提醒:你的部署完成了"}


def entries() -> Iterator[tuple[str, str, bool]]:
    """Yield method, address with its ``<names>``, and whether it is for staff."""
    for pattern in urlpatterns:
        view: Any = pattern.callback.view_class  # type: ignore[attr-defined]
        for method in view.http_method_names:
            if hasattr(view, method) and method != "options":
                yield method, f"/agents/{pattern.pattern}", issubclass(view, StaffView)


ENTRIES = list(entries())
AGENTS_OWN = [(method, address) for method, address, staff in ENTRIES if not staff]
FOR_STAFF = [(method, address) for method, address, staff in ENTRIES if staff]
BELOW = [(method, address) for method, address in AGENTS_OWN if address.count("<") > 1]


@pytest.fixture
def agent(db: None) -> Agent:
    return make_house("reviewer")


@pytest.fixture
def other(db: None) -> Agent:
    return make_house("other")


@pytest.fixture
def token(agent: Agent) -> str:
    return issue_token(agent)


def make_house(name: str) -> Agent:
    """Make an agent with one of everything that has an id."""
    agent = make_agent(name)
    channel, _new = Channel.objects.get_or_create(name="notes", kind="log")
    make_conversation(agent, channel)
    ask(agent, title="Go?", fields=FIELDS)
    establish(agent, user_id="telegram:1", by="ann")
    emit(agent, "message.new", TEXT)
    issue_token(agent)
    return agent


def ids_of(agent: Agent | None) -> dict[str, Any]:
    """Return what stands in the addresses, of this agent or, without one, of nobody."""
    if agent is None:
        names = ("agent_id", "conversation_id", "artifact_id", "relation_id")
        return {name: uuid4() for name in names} | {"token_id": 10**6}
    token = agent.tokens.first()
    assert token
    return {
        "agent_id": agent.pk,
        "conversation_id": Conversation.objects.get(agent=agent).pk,
        "artifact_id": Artifact.objects.get(agent=agent).pk,
        "relation_id": Relation.objects.get(agent=agent).pk,
        "token_id": token.pk,
    }


def call(token: str, method: str, address: str, body: Any = None, **ids: Any) -> Any:
    path = re.sub(r"<(\w+)>", lambda found: str(ids[found[1]]), address)
    text = body if isinstance(body, bytes) else json.dumps(body)
    client = Client(headers={"Authorization": f"Bearer {token}"})
    return client.generic(
        method.upper(), path, b"" if body is None else text, content_type="application/json"
    )


def everything() -> list[str]:
    """Return all rows that a call could change; when a token was used does not count."""
    models = (Agent, Artifact, Conversation, Relation, StoredObject, Event, Delivery)
    rows = [serialize("json", model.objects.order_by("pk")) for model in models]
    tokens = Agent.objects.order_by("pk").values_list("tokens__pk", "tokens__not_after")
    return [*rows, str(list(tokens.order_by("tokens__pk")))]


def body_for(method: str, address: str, conversation: object) -> Any:
    return next((body for of, body in bodies(conversation) if of == (method, address)), None)


def bodies(conversation: object) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """Return a body that is taken for each entry that reads one."""
    base = "/agents/<agent_id>"
    return [
        (("post", f"{base}/messages"), {"conversation_id": str(conversation), "payload": TEXT}),
        (("post", f"{base}/deliveries/ack"), {"ids": [], "failed": [{"id": str(uuid4())}]}),
        (
            ("post", f"{base}/artifacts"),
            {"title": "Go?", "text": "Now", "fields": FIELDS, "expires_in": 600},
        ),
        (("post", f"{base}/connection/switch"), {"mode": "pull", "url": "", "secret": ""}),
        (("put", f"{base}/manifest"), {"name": "Reviewer", "skills": ["review"]}),
        (("put", f"{base}/public-key"), {"public_key": None}),
        (("post", f"{base}/tokens/rotate"), {"overlap_seconds": 60}),
        (("post", f"{base}/relations"), {"user_id": "telegram:2", "name": "Ann"}),
        (("post", f"{base}/relations/<relation_id>"), {"change": "suspend"}),
        (
            ("post", f"{base}/events"),
            {"type": "reaction.update", "payload": {"emoji": "👍"}, "user_id": "telegram:1"},
        ),
        (("post", "/system"), {"text": "status"}),
        (("post", "/system/artifacts/<artifact_id>"), {"decision": "confirm", "anyway": False}),
    ]


# Foreign tokens ------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "address"), AGENTS_OWN)
def test_a_foreign_token_is_answered_like_one_for_nobody_and_changes_nothing(
    agent: Agent, other: Agent, token: str, method: str, address: str
) -> None:
    ids = ids_of(other)
    body = body_for(method, address, ids["conversation_id"])
    before = everything()
    theirs = call(token, method, address, body, **ids)
    nobodys = call(token, method, address, body, **ids_of(None))
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content
    assert everything() == before


@pytest.mark.parametrize(("method", "address"), BELOW)
def test_what_is_anothers_is_not_found_below_the_own_address_either(
    agent: Agent, other: Agent, token: str, method: str, address: str
) -> None:
    before = everything()
    theirs = call(token, method, address, **ids_of(other) | {"agent_id": agent.pk})
    nobodys = call(token, method, address, **ids_of(None) | {"agent_id": agent.pk})
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content
    assert everything() == before


@pytest.mark.parametrize(("method", "address"), AGENTS_OWN)
def test_the_own_token_is_let_in(agent: Agent, token: str, method: str, address: str) -> None:
    ids = ids_of(agent)
    answer = call(token, method, address, body_for(method, address, ids["conversation_id"]), **ids)
    # 409: an agent in webhook mode has nothing to pull.
    assert answer.status_code < 300 or (answer.status_code, address[-11:]) == (409, "/deliveries")


@pytest.mark.parametrize(
    ("method", "address"),
    [*FOR_STAFF, ("post", "/system"), ("get", "/system/artifacts/<artifact_id>")],
)
def test_no_agents_token_opens_what_is_for_staff(
    agent: Agent, other: Agent, token: str, method: str, address: str
) -> None:
    before = everything()
    for whose in (agent, other, None):
        ids = ids_of(whose)
        body = body_for(method, address, ids["conversation_id"])
        assert call(token, method, address, body, **ids).status_code == 401
    assert everything() == before


def test_a_large_body_of_another_is_not_found(agent: Agent, other: Agent, token: str) -> None:
    cache.clear()
    stored = keep(other, new_id(), b"x")
    address = "/r2/<key>"
    theirs = call(token, "get", address, key=stored.key)
    nobodys = call(token, "get", address, key="ref://abc123")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content


# Bodies that are none ------------------------------------------------------------------------

READING = [of for of, _body in bodies(None)]
# In JSON, so that what Python can't write is among it.
NASTY = [
    "null", "true", "0", "-1", "1e400", "-1e400", "1" * 400, '""', '"x"', '"\\u0000"',
    '"a\\ud800"', '"' + "x" * 70_000 + '"', "[]", "[[]]", "[null]", "[1e400]", '["a\\u0000"]', "{}",
    '{"a": null}', '{"a": 1e400}', '{"a": "\\ud800"}', '{"\\u0000": 1}', '{"\\ud800": 1}',
    '{"a": 18446744073709551616}', '{"type": "text", "text": "a\\ud800"}',
    '{"type": "text", "text": "a\\u0000"}', '{"type": "text", "text": 1e400}',
    "[" * 90 + "]" * 90,
]  # fmt: skip


@pytest.fixture
def tokens(agent: Agent, token: str, admin_user: User) -> dict[str, str]:
    """The token that an entry asks for, by its method and address."""
    staff = issue_staff_token(admin_user)
    own = dict.fromkeys(AGENTS_OWN, token)
    return {f"{method} {address}": own.get((method, address), staff) for method, address in READING}


def test_every_entry_that_reads_a_body_is_among_them() -> None:
    writing = {
        (method, address)
        for method, address, _staff in ENTRIES
        if method in ("post", "put", "patch")
    }
    silent = {("post", "/agents/<agent_id>/connection/recover")}
    assert writing - silent <= set(READING)


@pytest.mark.parametrize(("method", "address"), READING)
def test_what_is_no_json_object_is_a_400_and_too_much_a_413(
    agent: Agent, tokens: dict[str, str], method: str, address: str
) -> None:
    token, ids = tokens[f"{method} {address}"], ids_of(agent)
    before = everything()
    nested = b"[" * 100_000 + b"]" * 100_000
    for body in (b"{", b"\xff\xfe", b"nan", b'{"a": NaN}', b"[]", b'"x"', b"7", nested):
        answer = call(token, method, address, body, **ids)
        assert answer.status_code == 400, (body[:20], answer.content)
        assert answer.json()
    large = b'{"x": "' + b"x" * 1_060_000 + b'"}'
    assert call(token, method, address, large, **ids).status_code == 413
    assert everything() == before


@pytest.mark.parametrize(("method", "address"), READING)
def test_whatever_stands_in_a_field_is_taken_or_a_400_that_names_it(
    agent: Agent, tokens: dict[str, str], method: str, address: str
) -> None:
    ids, rotates = ids_of(agent), address.endswith("/tokens/rotate")
    good = body_for(method, address, ids["conversation_id"])
    for name in good:
        for nasty in NASTY:
            token = issue_token(agent) if rotates else tokens[f"{method} {address}"]
            body = json.dumps(good | {name: "@"}).replace('"@"', nasty).encode()
            answer = call(token, method, address, body, **ids)
            said = (name, nasty[:60], answer.status_code, answer.content[:200])
            assert answer.status_code in (200, 201, 202, 204, 400, 404, 409, 429), said
            if answer.status_code == 400:
                assert isinstance(answer.json(), dict), said


# Queries that are none -----------------------------------------------------------------------

READ = [address for method, address in AGENTS_OWN if method == "get"]
PARAMETERS = ("limit", "cursor", "status", "event_type", "error_class", "since", "until", "key")
STRANGE = [
    "", "0", "-1", "1e400", "9" * 400, "x", "%00", "%ed%a0%80", "a" * 5000, "null", "٣",
    "0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "2026-02-30", "AA==",
    "gICA", "7aCA", str(uuid4()).upper(),
]  # fmt: skip


@pytest.mark.parametrize("address", READ)
def test_whatever_stands_in_a_query_is_taken_or_a_400_that_names_it(
    agent: Agent, token: str, address: str
) -> None:
    ids = ids_of(agent)
    for name in (*PARAMETERS, "wait", "lease"):
        for strange in STRANGE:
            answer = call(token, "get", f"{address}?{name}={strange}", **ids)
            said = (name, strange[:60], answer.status_code, answer.content[:200])
            assert answer.status_code in (200, 400, 409), said
            if answer.status_code == 400:
                assert list(answer.json()) == [name], said
