"""``GET /r2/<object_key>``: an agent's own large bodies, five in a second."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from agents.models import Agent, StoredObject
from agents.services import issue_token
from agents.storage import keep

from .conftest import make_agent

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.agents.urls")]

CONTENT = b'{"version":"v1.0","payload":{"text":"\xe9\x95\xbf"}}'


@pytest.fixture(autouse=True)
def _storage(settings: Settings, tmp_path: Path) -> Iterator[None]:
    objects = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": tmp_path},
    }
    settings.STORAGES = settings.STORAGES | {"objects": objects}
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def stored(agent: Agent) -> StoredObject:
    return keep(agent, uuid4(), CONTENT)


def fetch(key: str, token: str, **headers: str) -> Any:
    return Client(headers={"Authorization": f"Bearer {token}", **headers}).get(f"/r2/{key}")


@pytest.mark.parametrize(
    "spelled", ["{}", "ref://{}", "ref:/{}", "ref%3A%2F%2F{}"], ids=lambda spelled: spelled
)
def test_the_object_comes_as_it_was_kept(stored: StoredObject, spelled: str) -> None:
    answer = fetch(spelled.format(stored.key), issue_token(stored.agent))
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("accept", ["application/octet-stream", "text/html", "application/json"])
def test_it_comes_whatever_type_is_asked_for(stored: StoredObject, accept: str) -> None:
    assert fetch(stored.key, issue_token(stored.agent), Accept=accept).status_code == 200


def test_another_agents_token_and_an_unknown_key_are_answered_alike(stored: StoredObject) -> None:
    token = issue_token(make_agent("other"))
    foreign, unknown = fetch(stored.key, token), fetch("unknown", token)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content


@pytest.mark.parametrize("key", ["", "ref://", "../../etc/passwd", "%00", "a/b/c", "%F0%9F%92%A9"])
def test_a_strange_key_is_a_404(agent: Agent, key: str) -> None:
    assert fetch(key, issue_token(agent)).status_code == 404


@pytest.mark.parametrize("token", ["", "hsk_wrong", "\xff"])
def test_without_a_valid_token_it_is_a_401(stored: StoredObject, token: str) -> None:
    answer = fetch(stored.key, token)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert Client().get(f"/r2/{stored.key}").status_code == 401


def test_the_sixth_in_a_second_waits_and_other_agents_do_not(stored: StoredObject) -> None:
    token, start = issue_token(stored.agent), datetime(2026, 5, 15, 10, 0, tzinfo=UTC)
    other = keep(make_agent("other"), uuid4(), CONTENT)
    with time_machine.travel(start, tick=False) as clock:
        assert [fetch(stored.key, token).status_code for _ in range(5)] == [200] * 5
        refused = fetch(stored.key, token)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert fetch(other.key, issue_token(other.agent)).status_code == 200
        clock.shift(timedelta(seconds=1.1))
        assert fetch(stored.key, token).status_code == 200


def test_an_object_that_cannot_be_read_is_a_503_that_tells_no_path(
    stored: StoredObject, tmp_path: Path
) -> None:
    (tmp_path / str(stored.agent_id) / stored.key).unlink()
    answer = fetch(quote(stored.key), issue_token(stored.agent))
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.content.decode()


def test_another_method_is_a_405(stored: StoredObject) -> None:
    client = Client(headers={"Authorization": f"Bearer {issue_token(stored.agent)}"})
    assert client.delete(f"/r2/{stored.key}").status_code == 405
    assert StoredObject.objects.exists()
