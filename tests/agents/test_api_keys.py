"""The agent's public key over REST."""

import base64
from typing import Any

import pytest
from pytest_django import Settings

from agents.models import Agent
from agents.services import issue_token
from deliveries.models import Lane
from vault.signing import key_id, signing_keys

from .conftest import make_agent
from .test_api import Api
from .test_sealing import PUBLIC, PUBLIC_KEY

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.agents.urls")]

NEW, OLD = (base64.b64encode(bytes([number] * 32)).decode() for number in (2, 1))


@pytest.fixture
def api(agent: Agent) -> Api:
    return Api(agent, issue_token(agent))


def test_a_key_is_taken_and_told_with_those_of_the_gateway(api: Api, settings: Settings) -> None:
    settings.SIGNING_KEYS = [OLD]
    answer = api.call("put", "public-key", {"public_key": PUBLIC_KEY})
    [ours] = signing_keys()
    assert answer.status_code == 200
    assert answer.json() == api.call("get", "public-key").json()
    assert answer.json() == {
        "public_key": PUBLIC_KEY,
        "key_id": key_id(PUBLIC),
        "gateway_keys": [{"key_id": ours.id, "public_key": base64.b64encode(ours.public).decode()}],
    }
    api.agent.refresh_from_db()
    assert api.agent.public_key == PUBLIC_KEY


def test_all_keys_of_the_gateway_are_told_newest_first(api: Api, settings: Settings) -> None:
    settings.SIGNING_KEYS = [NEW, OLD]
    told = api.call("get", "public-key").json()
    assert [key["key_id"] for key in told["gateway_keys"]] == [key.id for key in signing_keys()]
    assert len(told["gateway_keys"]) == 2
    assert (told["public_key"], told["key_id"]) == (None, None)


def test_runners_seal_at_once(api: Api) -> None:
    before = Lane.objects.get(pk=api.agent.lane_id).version
    api.call("put", "public-key", {"public_key": PUBLIC_KEY})
    assert Lane.objects.get(pk=api.agent.lane_id).version > before


def test_null_ends_the_sealing(api: Api) -> None:
    api.call("put", "public-key", {"public_key": PUBLIC_KEY})
    assert api.call("put", "public-key", {"public_key": None}).json()["public_key"] is None
    api.agent.refresh_from_db()
    assert api.agent.public_key == ""


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"public_key": ""},
        {"public_key": "%"},
        {"public_key": "AAAA"},
        {"public_key": base64.b64encode(bytes(32)).decode()},
        {"public_key": "A" * 65},
        {"public_key": 7},
        {"public_key": ["x"]},
    ],
    ids=str,
)
def test_what_is_no_key_names_its_field_and_changes_nothing(api: Api, body: Any) -> None:
    api.call("put", "public-key", {"public_key": PUBLIC_KEY})
    answer = api.call("put", "public-key", body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["public_key"]
    api.agent.refresh_from_db()
    assert api.agent.public_key == PUBLIC_KEY


def test_another_agents_key_is_out_of_reach(api: Api) -> None:
    other = make_agent("other")
    answer = api.call("put", "public-key", {"public_key": PUBLIC_KEY}, agent_id=other.pk)
    assert answer.status_code == 404
    other.refresh_from_db()
    assert other.public_key == ""
