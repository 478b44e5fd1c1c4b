"""kill -9 while events are held back: the latest of a key arrives, history has the others."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conftest import MakeGateway
from tests.gateway.process import Gateway, eventually

from . import ledger
from .connecting import add_route, connect
from .receiver import Receiver
from .senders import PULL_REQUEST, Crowd, github

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]

KEY = "{repository.full_name}#{number}"
BETWEEN_KILLS = 100  # accepted requests


@pytest.fixture
def agent() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@dataclass(frozen=True)
class Row:
    """A delivery of the agent's."""

    id: str
    status: str
    error_class: str
    attempt_count: int
    metadata: dict[str, Any]


def rows(gateway: Gateway) -> list[Row]:
    """Return the agent's deliveries, oldest first."""
    found = gateway.query(
        "SELECT d.id, d.status, d.error_class, d.attempt_count, d.metadata "
        "FROM deliveries_delivery d JOIN deliveries_lane l ON l.id = d.lane_id "
        "WHERE l.label = ? ORDER BY d.id",
        ("reviewer",),
    )
    return [
        Row(str(UUID(str(pk))), status, error, count, as_mapping(metadata))
        for pk, status, error, count, metadata in found
    ]


def as_mapping(value: Any) -> dict[str, Any]:
    """Return JSON as PostgreSQL gives it, or as SQLite does."""
    read: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
    return read


def post(gateway: Gateway, foreign_id: str) -> tuple[int, str]:
    headers = github("pull_request", PULL_REQUEST, gateway.settings["WEBHOOK_SECRET"], foreign_id)
    status, said = gateway.post("/webhooks/pulls", PULL_REQUEST, headers)
    return status, str(said.get("status"))


def kill_everything(gateway: Gateway) -> None:
    for pid in gateway.pids():
        gateway.kill(pid)
    gateway.wait_ended()


def test_what_is_held_back_outlives_everything_and_arrives_once(
    make_gateway: MakeGateway, agent: Receiver
) -> None:
    gateway = make_gateway(OUTBOUND_ALLOW_PRIVATE="true")
    connect(gateway, agent.url, "reviewer")
    # Longer than a start takes, so that the window is still open after it.
    coalesce = {"key": KEY, "window_seconds": 12, "max_wait_seconds": 14}
    add_route(gateway, "pulls", "reviewer", coalesce=coalesce)
    gateway.start().wait_healthy()
    ids = [str(uuid4()) for _ in range(4)]
    assert [post(gateway, one) for one in ids[:3]] == [(202, "accepted")] * 3
    kill_everything(gateway)
    gateway.start().wait_healthy()
    assert agent.arrivals == []
    assert post(gateway, ids[2]) == (200, "duplicate")
    assert post(gateway, ids[3]) == (202, "accepted")

    *replaced, latest = rows(gateway)
    assert [row.status for row in replaced] == ["skipped"] * 3
    assert {row.error_class for row in replaced} == {"superseded"}
    assert latest.metadata["superseded"] == 3
    eventually(lambda: agent.arrivals, 40, "the end of the window")
    assert agent.arrivals == [latest.id]
    eventually(lambda: rows(gateway)[-1].status == "delivered", 5, "the record of it")
    assert ledger.foreign_ids(gateway) == ids
    assert ledger.incomplete(gateway) == 0


def test_killed_under_a_crowd_every_event_arrives_or_is_replaced_by_one_that_does(
    make_gateway: MakeGateway, agent: Receiver
) -> None:
    gateway = make_gateway(OUTBOUND_ALLOW_PRIVATE="true")
    connect(gateway, agent.url, "reviewer")
    coalesce = {"key": KEY, "window_seconds": 1, "max_wait_seconds": 1}
    add_route(gateway, "pulls", "reviewer", coalesce=coalesce)
    in_flight: set[str] = set()
    gateway.start().wait_healthy()
    with Crowd(gateway, "pulls", size=8, pause=0.02) as crowd:
        for _ in range(2):
            accept_some(crowd)
            kill_everything(gateway)
            in_flight |= ledger.claimed(gateway)
            gateway.start().wait_healthy()
        accept_some(crowd)
    eventually(
        lambda: {row.status for row in rows(gateway)} == {"skipped", "delivered"},
        30,
        "an end for everything",
    )
    assert crowd.wrong == []
    stored = ledger.foreign_ids(gateway)
    assert set(crowd.kept) - set(stored) == set()
    assert ledger.repeated(stored) == set()
    assert ledger.incomplete(gateway) == 0

    found = {row.id: row for row in rows(gateway)}
    assert len(found) == len(stored)
    delivered = [row for row in found.values() if row.status == "delivered"]
    assert set(agent.arrivals) == {row.id for row in delivered}
    assert ledger.repeated(agent.arrivals) <= in_flight
    # Each event stands for itself and for those that it replaced, and for no other.
    assert sum(1 + row.metadata.get("superseded", 0) for row in delivered) == len(stored)
    for row in found.values():
        if row.status == "skipped":
            assert row.attempt_count == 0
            assert row.metadata["replaced_by"] in found


def accept_some(crowd: Crowd) -> None:
    """Wait until the crowd got some further answers."""
    before = len(crowd.accepted)
    eventually(lambda: len(crowd.accepted) >= before + BETWEEN_KILLS, 20, "accepted requests")


def test_a_restart_between_two_deliveries_with_one_id_doubles_nothing(
    make_gateway: MakeGateway, agent: Receiver
) -> None:
    gateway = make_gateway(OUTBOUND_ALLOW_PRIVATE="true")
    connect(gateway, agent.url, "reviewer")
    add_route(gateway, "pulls", "reviewer")
    foreign_id = str(uuid4())
    gateway.start().wait_healthy()
    assert post(gateway, foreign_id) == (202, "accepted")
    eventually(lambda: agent.arrivals, 10, "the delivery")
    eventually(lambda: rows(gateway)[-1].status == "delivered", 5, "the record of it")
    gateway.stop()
    gateway.start().wait_healthy()
    assert post(gateway, foreign_id) == (200, "duplicate")
    kill_everything(gateway)
    gateway.start().wait_healthy()
    assert post(gateway, foreign_id) == (200, "duplicate")
    [row] = rows(gateway)
    assert (row.status, row.attempt_count) == ("delivered", 1)
    assert agent.arrivals == [row.id]
    assert ledger.foreign_ids(gateway) == [foreign_id]
