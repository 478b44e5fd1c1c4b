"""An agent that is stopped: the whole ladder, unreachable, and a person who clicks Recover."""

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from deliveries.ladder import AGENT_LADDER
from tests.admin.test_browser import CHROMIUM, FLAGS
from tests.conftest import MakeGateway
from tests.gateway.process import LOGIN, Gateway, eventually, free_port

from . import ledger
from .connecting import add_route, connect
from .receiver import Receiver
from .senders import PULL_REQUEST, github

pytestmark = [
    pytest.mark.processes,
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"NO BROWSER: {CHROMIUM} is missing, clicks are not tested"
    ),
]


@pytest.fixture
def window() -> Iterator[Page]:
    """A window of a real browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser.new_page()
        browser.close()


def post(gateway: Gateway) -> None:
    headers = github("pull_request", PULL_REQUEST, gateway.settings["WEBHOOK_SECRET"])
    assert gateway.post("/webhooks/pulls", PULL_REQUEST, headers)[0] == 202


def recover(gateway: Gateway, window: Page, waiting: int) -> None:
    """Log in, find the agent on the dashboard, and recover it."""
    window.goto(f"{gateway.url}/admin/")
    window.get_by_label("Username").fill(LOGIN)
    window.get_by_label("Password").fill(gateway.password)
    window.get_by_role("button", name="Log in").click()
    window.get_by_role("link", name="reviewer").first.click()
    expect(window.get_by_text(f"{waiting} deliveries wait in the queue.")).to_be_visible()
    window.get_by_role("link", name="Recover").click()
    expect(window.get_by_text(f"send the {waiting} deliveries that wait")).to_be_visible()
    window.get_by_role("button", name="Recover").click()
    expect(window.get_by_text(f"{waiting} deliveries are on their way")).to_be_visible()


def test_what_waited_for_an_unreachable_agent_arrives_once_and_in_order_after_recover(
    make_gateway: MakeGateway, window: Page
) -> None:
    port = free_port()  # nobody listens there: the agent is stopped
    gateway = make_gateway(OUTBOUND_ALLOW_PRIVATE="true")
    connect(gateway, f"http://127.0.0.1:{port}/hashee/webhook", "reviewer")
    add_route(gateway, "pulls", "reviewer")

    climbed = gateway.python("from tests.end_to_end.climbing import climb\nresult = climb('pulls')")
    began = climbed["pulls"]
    waits = [round(after - before) for before, after in pairwise(began)]
    assert waits == list(AGENT_LADDER.rungs)
    status = "SELECT connection_status FROM agents_agent WHERE name = 'reviewer'"
    assert gateway.query(status) == [("unreachable",)]

    gateway.start().wait_healthy()
    post(gateway)
    post(gateway)
    time.sleep(1)  # for a runner that would send them all the same
    assert list(ledger.by_lane(gateway, "reviewer").values()) == ["pending"] * 3
    assert len(ledger.attempts(gateway, "reviewer")) == len(began)

    agent = Receiver(port, delay=0.3)
    try:
        recover(gateway, window, waiting=3)
        eventually(
            lambda: set(ledger.by_lane(gateway, "reviewer").values()) == {"delivered"},
            15,
            "three deliveries",
        )
    finally:
        agent.close()
    # One after the other: each came when the one before was done.
    waited = list(ledger.by_lane(gateway, "reviewer"))
    assert agent.story == [(what, one) for one in waited for what in ("came", "done")]
    assert gateway.query(status) == [("ready",)]
