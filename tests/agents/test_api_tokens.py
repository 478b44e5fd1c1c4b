"""An agent's own tokens over REST: list, rotate with overlap, revoke."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from agents.models import Agent, AgentToken
from agents.services import authenticate, issue_token
from agents.services.tokens import MOST_LIVE, purge_tokens

from .conftest import make_agent
from .test_api import Api

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.agents.urls")]

START = datetime(2026, 5, 15, 10, 0, tzinfo=UTC)


@pytest.fixture
def api(agent: Agent) -> Api:
    return Api(agent, issue_token(agent))


def test_both_tokens_are_valid_during_the_overlap_and_the_new_one_after_it(api: Api) -> None:
    with time_machine.travel(START, tick=False) as clock:
        answer = api.call("post", "tokens/rotate", {"overlap_seconds": 600})
        assert answer.status_code == 201
        assert answer.headers["Cache-Control"] == "no-store"
        new = answer.json()["token"]
        assert answer.json()["old_valid_until"] == "2026-05-15T10:10:00Z"
        for seconds, old_is_valid in [(0, True), (599, True), (600, False)]:
            clock.move_to(START + timedelta(seconds=seconds))
            assert (authenticate(api.token) is not None) is old_is_valid
            assert authenticate(new) is not None


def test_the_overlap_is_an_hour_unless_asked(api: Api) -> None:
    with time_machine.travel(START, tick=False):
        answer = api.call("post", "tokens/rotate")
    assert answer.json()["old_valid_until"] == "2026-05-15T11:00:00Z"


def test_an_overlap_of_zero_ends_the_old_token_at_once(api: Api) -> None:
    assert api.call("post", "tokens/rotate", {"overlap_seconds": 0}).status_code == 201
    assert authenticate(api.token) is None


def test_a_token_that_ends_sooner_keeps_its_end(api: Api) -> None:
    with time_machine.travel(START, tick=False):
        api.call("post", "tokens/rotate", {"overlap_seconds": 60})
        answer = api.call("post", "tokens/rotate", {"overlap_seconds": 3600})
    assert answer.json()["old_valid_until"] == "2026-05-15T10:01:00Z"


def test_the_tokens_of_other_machines_stay(api: Api) -> None:
    theirs = issue_token(api.agent)
    api.call("post", "tokens/rotate", {"overlap_seconds": 0})
    assert authenticate(theirs) is not None


@pytest.mark.parametrize("overlap", [-1, 604_801, "long", None, 1.5])
def test_a_bad_overlap_names_its_field_and_changes_nothing(api: Api, overlap: Any) -> None:
    answer = api.call("post", "tokens/rotate", {"overlap_seconds": overlap})
    assert answer.status_code == 400
    assert list(answer.json()) == ["overlap_seconds"]
    assert AgentToken.objects.count() == 1


def test_an_agent_that_rotates_in_a_circle_is_stopped(api: Api) -> None:
    for _time in range(MOST_LIVE - 1):
        assert api.call("post", "tokens/rotate").status_code == 201
    answer = api.call("post", "tokens/rotate")
    assert answer.status_code == 409
    assert str(MOST_LIVE) in answer.json()["detail"]


def test_the_list_tells_of_each_valid_token_what_is_kept_of_it(api: Api) -> None:
    ended = issue_token(api.agent)
    AgentToken.objects.filter(last_four=ended[-4:]).update(not_after=START)
    issue_token(make_agent("other"))
    answer = api.call("get", "tokens")
    [line] = answer.json()
    assert sorted(line) == ["created_at", "ends_in", "id", "last_used_at", "valid_until"]
    assert line["ends_in"] == api.token[-4:]
    assert line["valid_until"] is None
    assert line["last_used_at"] is not None
    assert api.token not in answer.content.decode()


def test_a_token_can_be_ended_at_once(api: Api) -> None:
    other = issue_token(api.agent)
    row = AgentToken.objects.get(last_four=other[-4:])
    assert api.call("delete", f"tokens/{row.pk}").status_code == 204
    assert authenticate(other) is None
    assert api.call("delete", f"tokens/{row.pk}").status_code == 404


def test_an_agent_that_ends_its_own_token_is_out(api: Api) -> None:
    row = AgentToken.objects.get()
    assert api.call("delete", f"tokens/{row.pk}").status_code == 204
    assert api.call("get", "tokens").status_code == 401


@pytest.mark.parametrize("token_id", ["0", "rotated", "999999", "1e3", "%00"])
def test_a_token_that_is_not_there_is_a_404_in_json(api: Api, token_id: str) -> None:
    answer = api.call("delete", f"tokens/{token_id}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/json")


def test_another_agents_token_is_out_of_reach(api: Api) -> None:
    theirs = issue_token(make_agent("other"))
    row = AgentToken.objects.get(last_four=theirs[-4:])
    assert api.call("delete", f"tokens/{row.pk}").status_code == 404
    assert authenticate(theirs) is not None


def test_tokens_that_ended_long_ago_are_forgotten(agent: Agent) -> None:
    for _token in range(3):
        issue_token(agent)
    old, recent, _valid = AgentToken.objects.order_by("pk")
    AgentToken.objects.filter(pk=old.pk).update(not_after=START - timedelta(days=31))
    AgentToken.objects.filter(pk=recent.pk).update(not_after=START - timedelta(days=29))
    assert purge_tokens(START) == 1
    assert AgentToken.objects.count() == 2
    assert purge_tokens(START) == 0
