"""Manifests: proposed by an agent, accepted or rejected by a person."""

from typing import Any

import pytest

from agents.models import Agent, Artifact
from agents.services import DecisionRefused, issue_token
from agents.services.manifests import Difference, decide_manifest, differences, propose_manifest
from deliveries.models import Delivery, Payload

from .test_api import Api

pytestmark = pytest.mark.django_db

MANIFEST = {"name": "Reviewer", "abilities": ["review"], "limits": {"files": 20}}


@pytest.fixture
def api(agent: Agent) -> Api:
    return Api(agent, issue_token(agent))


def proposed(agent: Agent, manifest: Any = MANIFEST) -> Artifact:
    artifact = propose_manifest(agent, manifest)
    assert artifact is not None
    return artifact


def told(agent: Agent) -> str:
    delivery = Delivery.objects.get(lane_id=agent.lane_id, event_type="agent.capability_changed")
    assert delivery.status == "pending"
    return bytes(Payload.objects.get(pk=delivery.pk).body).decode()


def test_a_manifest_waits_for_a_person(api: Api, agent: Agent) -> None:
    response = api.call("put", "manifest", MANIFEST)
    assert response.status_code == 202
    said = response.json()
    assert said["manifest"] == {}
    assert (said["artifact"]["kind"], said["artifact"]["state"]) == ("manifest", "open")
    agent.refresh_from_db()
    assert agent.manifest == {}
    assert api.call("get", "manifest").json() == {}


def test_an_accepted_one_is_stored_and_told(api: Api, agent: Agent) -> None:
    decide_manifest(proposed(agent), accepted=True, by="ann")
    agent.refresh_from_db()
    assert agent.manifest == MANIFEST
    assert '"accepted":true' in told(agent)
    assert '"name":"Reviewer"' in told(agent)
    assert api.call("get", "manifest").json() == MANIFEST


def test_a_rejected_one_leaves_what_there_was_and_is_told(agent: Agent) -> None:
    Agent.objects.filter(pk=agent.pk).update(manifest={"name": "Before"})
    decide_manifest(proposed(agent), accepted=False, by="ann")
    agent.refresh_from_db()
    assert agent.manifest == {"name": "Before"}
    assert '"accepted":false' in told(agent)
    assert '"name":"Before"' in told(agent)


def test_it_is_decided_once(agent: Agent) -> None:
    artifact = proposed(agent)
    decide_manifest(artifact, accepted=False, by="ann")
    with pytest.raises(DecisionRefused):
        decide_manifest(artifact, accepted=True, by="bob")
    agent.refresh_from_db()
    assert agent.manifest == {}
    assert Delivery.objects.count() == 1


def test_the_manifest_that_is_in_force_asks_nobody(api: Api, agent: Agent) -> None:
    decide_manifest(proposed(agent), accepted=True, by="ann")
    response = api.call("put", "manifest", MANIFEST)
    assert (response.status_code, response.json()["artifact"]) == (200, None)
    assert Artifact.objects.filter(state="open").count() == 0


def test_the_same_again_keeps_its_form_and_another_takes_its_place(agent: Agent) -> None:
    first = proposed(agent)
    assert proposed(agent) == first
    second = proposed(agent, {"name": "Other"})
    first.refresh_from_db()
    assert (first.state, second.state) == ("cancelled", "open")


def test_another_kind_of_form_is_left_alone(agent: Agent) -> None:
    from agents.services import propose_switch

    switch = propose_switch(agent, "websocket")
    proposed(agent)
    switch.refresh_from_db()
    assert switch.state == "open"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"7",
        b"null",
        b'"x"',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a": "' + b"x" * 65_536 + b'"}',
        b'{"a": 1e999}',
        b'{"a": 123456789012345678901234567890}',
        b"{" + b'"a":{' * 400 + b"}" * 401,
    ],
)
def test_what_is_no_manifest_is_a_400(api: Api, body: bytes) -> None:
    response = api.call("put", "manifest", body)
    assert response.status_code == 400
    assert not Artifact.objects.exists()


def test_one_of_64_kb_is_taken(api: Api) -> None:
    assert api.call("put", "manifest", {"a": "x" * 65_528}).status_code == 202
    assert api.call("put", "manifest", {"a": "written \\u0000"}).status_code == 202


def test_the_difference_is_told_by_path() -> None:
    before = {"name": "Reviewer", "limits": {"files": 20, "lines": 5}, "old": [1]}
    after = {"name": "Reviewer", "limits": {"files": 30, "lines": 5}, "new": True}
    assert differences(before, after) == [
        Difference("limits.files", "20", "30"),
        Difference("new", None, "true"),
        Difference("old", "[1]", None),
    ]


def test_the_difference_is_bounded() -> None:
    assert differences({}, {}) == []
    assert len(differences({}, {f"key{i:04}": i for i in range(1000)})) == 200
    [long] = differences({}, {"a": "x" * 1000})
    assert len(long.after or "") <= 301
    deep: Any = 1
    for _ in range(50):
        deep = {"a": deep}
    [cut] = differences({}, deep) or [None]
    assert cut is not None


def test_true_is_not_one() -> None:
    assert differences({"a": 1}, {"a": True}) == [Difference("a", "1", "true")]
