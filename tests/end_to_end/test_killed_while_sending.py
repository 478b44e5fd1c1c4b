"""kill -9 of the workers, and of a web server that delivers directly, at every step of sending.

One story, told once, as every crash costs the time of a lease: a first kill hits a delivery that
has not left the machine, one that its receiver has and is at work on, a direct one whose sender
waits, and a flush in its cautious beginning; a second one hits the flush at its full width.
"""

import threading
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.gateway.process import Gateway, eventually

from . import ledger
from .connecting import add_route, connect
from .receiver import Receiver, Unreached
from .senders import PULL_REQUEST, github

pytestmark = pytest.mark.processes

WEB = "hermes_site.gateway.web"
WORKER = "hermes_site.gateway.worker"
WAITING = 30  # deliveries to be flushed
EASED = 16  # of them go one at a time

CHANNEL = """
from platforms.models import Channel
from platforms.services import save_config
save_config(Channel(name="alarm", kind="webhook"), {{"url": {url!r}}}, {{}})
"""
UNREACHABLE = """
from agents.models import Agent
from agents.services import mark_unreachable
mark_unreachable(Agent.objects.get(name="flushed"))
"""
RECOVER = """
from agents.models import Agent
from agents.services import recover
result = recover(Agent.objects.get(name="flushed"))
"""


@dataclass
class Story:
    """What came of it: who got what, and which deliveries were in flight at a kill."""

    gateway: Gateway
    unreached: Receiver
    working: Receiver
    direct: Receiver
    flushed: Receiver
    headers_of_direct: dict[str, str]
    in_flight: set[str]


def post(gateway: Gateway, route: str, headers: dict[str, str]) -> int:
    """Post a pull request; 0 when there was no answer."""
    try:
        return gateway.post(f"/webhooks/{route}", PULL_REQUEST, headers)[0]
    except (OSError, urllib.error.URLError):
        return 0


def signed(gateway: Gateway) -> dict[str, str]:
    return github("pull_request", PULL_REQUEST, gateway.settings["WEBHOOK_SECRET"])


def runner_of(gateway: Gateway) -> int:
    """Return the process that runs the lanes: it listens for wake-ups."""
    listening = {int(path.stem) for path in (gateway.data / "run").glob("*.wake")}
    [runner] = listening & set(gateway.pids(WORKER))
    return runner


@pytest.fixture(scope="module")
def story(prepared: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    gateway = Gateway(
        tmp_path_factory.mktemp("killed") / "data", prepared, OUTBOUND_ALLOW_PRIVATE="true"
    )
    hole = Unreached()
    working, direct, flushed = Receiver(mute=True), Receiver(mute=True), Receiver(delay=0.1)
    receivers = [working, direct, flushed]
    try:
        connect(gateway, hole.url, "unreached")
        connect(gateway, working.url, "working")
        connect(gateway, flushed.url, "flushed")
        gateway.python(CHANNEL.format(url=direct.url))
        for name in ("unreached", "working", "flushed"):
            add_route(gateway, name, name)
        add_route(gateway, "direct", deliver="alarm", deliver_only=True)
        gateway.python(UNREACHABLE)
        gateway.start().wait_healthy()

        for _ in range(WAITING):
            assert post(gateway, "flushed", signed(gateway)) == 202
        assert gateway.python(RECOVER) == WAITING
        assert post(gateway, "working", signed(gateway)) == 202
        assert post(gateway, "unreached", signed(gateway)) == 202
        headers = signed(gateway)
        sender = threading.Thread(target=post, args=(gateway, "direct", headers))
        sender.start()
        eventually(lambda: working.arrivals and direct.arrivals, 10, "work at both")
        eventually(lambda: len(ledger.claimed(gateway)) == 4, 10, "one in flight for each")

        for pid in gateway.pids(WORKER) + gateway.pids(WEB):
            gateway.kill(pid)
        sender.join()
        in_flight = ledger.claimed(gateway)
        hole.close()
        unreached = Receiver(hole.port)
        receivers.append(unreached)
        working.answer()
        direct.answer()

        eventually(lambda: len(set(flushed.arrivals)) > EASED + 4, 30, "the flush at full width")
        gateway.kill(runner_of(gateway))
        in_flight |= ledger.claimed(gateway)
        pending = "SELECT id FROM deliveries_delivery WHERE pending_lane IS NOT NULL"
        eventually(lambda: not gateway.query(pending), 40, "the end of all deliveries")
        yield Story(gateway, unreached, working, direct, flushed, headers, in_flight)
    finally:
        gateway.clean_up()
        hole.close()
        for receiver in receivers:
            receiver.close()


def test_what_had_not_left_the_machine_arrives_once(story: Story) -> None:
    [delivery] = ledger.by_lane(story.gateway, "unreached")
    assert delivery in story.in_flight
    assert story.unreached.arrivals == [delivery]
    assert ledger.attempts(story.gateway, "unreached") == [
        (1, "retry", "interrupted"),
        (2, "delivered", ""),
    ]


def test_what_had_arrived_but_was_not_recorded_comes_again_with_the_same_id(story: Story) -> None:
    [delivery] = ledger.by_lane(story.gateway, "working")
    assert delivery in story.in_flight
    assert story.working.arrivals == [delivery, delivery]
    assert ledger.attempts(story.gateway, "working") == [
        (1, "retry", "interrupted"),
        (2, "delivered", ""),
    ]


def test_a_direct_delivery_whose_web_server_was_killed_is_carried_on_by_a_worker(
    story: Story,
) -> None:
    [delivery] = ledger.by_lane(story.gateway, "alarm")
    assert story.direct.arrivals == [delivery, delivery]
    assert ledger.by_lane(story.gateway, "alarm") == {delivery: "delivered"}
    # Its sender got no answer and asks once more: there is nothing left to do.
    assert post(story.gateway, "direct", story.headers_of_direct) == 200
    assert len(story.direct.arrivals) == 2


def test_a_flush_that_was_interrupted_twice_delivers_all_that_waited(story: Story) -> None:
    deliveries = ledger.by_lane(story.gateway, "flushed")
    assert len(deliveries) == WAITING
    assert set(deliveries.values()) == {"delivered"}
    assert set(story.flushed.arrivals) == set(deliveries)


def test_a_flush_that_was_interrupted_repeats_only_what_was_in_flight(story: Story) -> None:
    assert ledger.repeated(story.flushed.arrivals) <= story.in_flight


def test_a_flush_that_was_interrupted_in_its_beginning_goes_on_in_its_order(story: Story) -> None:
    first_time = list(dict.fromkeys(story.flushed.arrivals))
    assert first_time[:EASED] == list(ledger.by_lane(story.gateway, "flushed"))[:EASED]
