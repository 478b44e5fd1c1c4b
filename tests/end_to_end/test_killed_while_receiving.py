"""kill -9 of the web server, and of everything, while a crowd posts: what was accepted is kept."""

from collections.abc import Iterator

import pytest

from tests.conftest import MakeGateway
from tests.gateway.process import Gateway, eventually

from . import ledger
from .connecting import add_route, connect
from .receiver import Receiver
from .senders import PULL_REQUEST, Crowd, github

pytestmark = pytest.mark.processes

WEB = "hermes_site.gateway.web"
BETWEEN_KILLS = 150  # accepted requests
REPEATED = 20  # ids accepted shortly before a kill that are posted once more


@pytest.fixture
def agent() -> Iterator[Receiver]:
    receiver = Receiver(delay=0.02)  # so that it is at work on some when a kill comes
    yield receiver
    receiver.close()


def accept_some(crowd: Crowd) -> None:
    """Wait until the crowd got some further answers."""
    before = len(crowd.accepted)
    eventually(lambda: len(crowd.accepted) >= before + BETWEEN_KILLS, 20, "accepted requests")


def repeat(gateway: Gateway, route: str, ids: list[str]) -> set[tuple[int, str]]:
    """Post these once more; return the answers that came."""
    secret = gateway.settings["WEBHOOK_SECRET"]
    answers = set()
    for foreign_id in ids:
        headers = github("pull_request", PULL_REQUEST, secret, foreign_id)
        status, said = gateway.post(f"/webhooks/{route}", PULL_REQUEST, headers)
        answers.add((status, str(said.get("status"))))
    return answers


def assert_kept_once(gateway: Gateway, crowd: Crowd) -> None:
    """Everything acknowledged is in the ledger, whole; nothing is there twice."""
    assert crowd.wrong == []
    stored = ledger.foreign_ids(gateway)
    assert set(crowd.kept) - set(stored) == set()
    assert ledger.repeated(stored) == set()
    assert ledger.incomplete(gateway) == 0


@pytest.mark.both_databases
def test_what_a_killed_web_server_accepted_is_in_the_ledger_once(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    add_route(gateway, "pulls")  # for the default agent, which is offline: all of it waits
    gateway.start().wait_healthy()
    just_before: list[str] = []
    with Crowd(gateway, "pulls") as crowd:
        for which in (-1, 0, -1):  # granian's worker, granian, its worker
            accept_some(crowd)
            gateway.kill(sorted(gateway.pids(WEB))[which])
            just_before += crowd.accepted[-REPEATED:]
        accept_some(crowd)
    assert crowd.lost_answers
    assert gateway.log.count("web ended") == 3
    assert repeat(gateway, "pulls", just_before) == {(200, "duplicate")}
    assert_kept_once(gateway, crowd)


def test_what_a_killed_gateway_accepted_arrives_when_it_is_started_again(
    make_gateway: MakeGateway, agent: Receiver
) -> None:
    gateway = make_gateway(OUTBOUND_ALLOW_PRIVATE="true")
    connect(gateway, agent.url, "reviewer")
    add_route(gateway, "pulls", "reviewer")
    in_flight: set[str] = set()
    gateway.start().wait_healthy()
    with Crowd(gateway, "pulls", pause=0.1) as crowd:
        for _ in range(2):
            accept_some(crowd)
            for pid in gateway.pids():
                gateway.kill(pid)
            gateway.wait_ended()
            in_flight |= ledger.claimed(gateway)
            gateway.start().wait_healthy()
        accept_some(crowd)
    assert_kept_once(gateway, crowd)
    eventually(
        lambda: set(ledger.by_lane(gateway, "reviewer").values()) == {"delivered"},
        30,
        "the delivery of everything",
    )
    assert set(agent.arrivals) == set(ledger.by_lane(gateway, "reviewer"))
    assert in_flight
    assert ledger.repeated(agent.arrivals) <= in_flight
