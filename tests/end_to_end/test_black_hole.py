"""A destination that takes connections and never answers; its neighbour does not notice."""

import pytest

from tests.conftest import MakeGateway
from tests.gateway.process import eventually

from . import ledger
from .connecting import add_route, connect
from .receiver import Receiver
from .senders import PULL_REQUEST, github

pytestmark = pytest.mark.processes

DEAD, HEALTHY = 20, 40
CAP = 4  # deliveries in flight to one agent
# Fewer than the dead agent has deliveries: without a cap on a lane they would take all of them.
THREADS = 8


def test_a_black_hole_does_not_delay_another_agent(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(OUTBOUND_ALLOW_PRIVATE="true", SENDER_THREADS=THREADS)
    hole, well = Receiver(mute=True), Receiver()
    try:
        for name, receiver in (("hole", hole), ("well", well)):
            connect(gateway, receiver.url, name)
            add_route(gateway, name, name)
        gateway.start().wait_healthy()
        for route in ["hole"] * DEAD + ["well"] * HEALTHY:
            headers = github("pull_request", PULL_REQUEST, gateway.settings["WEBHOOK_SECRET"])
            assert gateway.post(f"/webhooks/{route}", PULL_REQUEST, headers)[0] == 202
        eventually(
            lambda: list(ledger.by_lane(gateway, "well").values()) == ["delivered"] * HEALTHY,
            20,
            "the healthy agent's deliveries",
        )
        # Not one of the attempts at the dead agent is over, and only as many as may began.
        assert ledger.attempts(gateway, "hole") == [(1, "sending", "")] * CAP
        assert list(ledger.by_lane(gateway, "hole").values()) == ["pending"] * DEAD
        assert sorted(well.arrivals) == list(ledger.by_lane(gateway, "well"))
    finally:
        hole.close()
        well.close()
