"""Relations: who may reach an agent, and what the agent is told."""

from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError

from agents.models import Agent, Relation
from agents.services.relations import (
    RelationRefused,
    blocked,
    blocked_senders,
    establish,
    restore_relation,
    revoke,
    suspend_relation,
)
from deliveries.models import Delivery, Payload

USER = "telegram:12345"


@pytest.fixture
def relation(agent: Agent) -> Relation:
    return establish(agent, USER, "Ann", by="operator")


def told(agent: Agent) -> list[str]:
    rows = Delivery.objects.filter(lane_id=agent.lane_id).order_by("pk")
    return list(rows.values_list("event_type", flat=True))


def test_an_established_relation_is_told_to_the_agent(agent: Agent, relation: Relation) -> None:
    assert told(agent) == ["relation.established"]
    payload = Payload.objects.get(pk=Delivery.objects.get().pk)
    for word in (b'"user_id":"telegram:12345"', b'"name":"Ann"', b'"status":"established"'):
        assert word in bytes(payload.body)


def test_establishing_twice_tells_once(agent: Agent, relation: Relation) -> None:
    assert establish(agent, f" {USER} ", by="operator") == relation
    assert told(agent) == ["relation.established"]


def test_the_whole_life_of_a_relation_is_told_in_order(agent: Agent, relation: Relation) -> None:
    suspend_relation(relation, by="operator")
    restore_relation(relation, by="operator")
    revoke(relation, by="operator")
    establish(agent, USER, by="operator")
    assert told(agent) == [
        "relation.established",
        "relation.suspended",
        "relation.restored",
        "relation.revoked",
        "relation.established",
    ]


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("established", restore_relation),
        ("suspended", suspend_relation),
        ("revoked", suspend_relation),
        ("revoked", restore_relation),
        ("revoked", revoke),
    ],
)
def test_what_can_not_follow_is_refused_and_told_to_nobody(
    agent: Agent, relation: Relation, status: str, change: Callable[..., None]
) -> None:
    Relation.objects.filter(pk=relation.pk).update(status=status)
    with pytest.raises(RelationRefused, match=status):
        change(relation, by="operator")
    assert Relation.objects.get().status == status
    assert told(agent) == ["relation.established"]


def test_a_suspended_relation_is_not_established_but_restored(
    agent: Agent, relation: Relation
) -> None:
    suspend_relation(relation, by="operator")
    with pytest.raises(RelationRefused, match="restore"):
        establish(agent, USER, by="operator")


@pytest.mark.parametrize(
    ("user_id", "name"), [("", ""), ("  ", ""), ("x" * 256, ""), ("a", "n" * 256)]
)
def test_a_wrong_field_is_named(agent: Agent, user_id: str, name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        establish(agent, user_id, name, by="operator")
    assert list(caught.value.message_dict) == ["name" if name else "user_id"]
    assert not Relation.objects.exists()


def test_only_who_is_kept_away_is_blocked(agent: Agent, relation: Relation) -> None:
    assert blocked(agent.pk, USER) == ""
    assert blocked(agent.pk, "telegram:nobody") == ""
    assert blocked_senders() == frozenset()
    suspend_relation(relation, by="operator")
    assert blocked(agent.pk, USER) == "relation_suspended"
    assert blocked_senders() == {(agent.pk, USER)}
    revoke(relation, by="operator")
    assert blocked(agent.pk, USER) == "relation_revoked"
