"""Recover and switch, clicked in a real browser, under the content security policy."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from agents.models import Agent
from agents.services import mark_unreachable
from tests.agents.receiver import Receiver

from .rows import a_delivery

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"NO BROWSER: {CHROMIUM} is missing, clicks are not tested"
    ),
]


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console said; to be empty at the end."""
    return []


@pytest.fixture
def window(
    live_server: LiveServer, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A browser window with an operator logged in."""
    # Playwright keeps a loop in this thread, for which Django would refuse the ORM.
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    User.objects.create_superuser("operator", password="look-after-it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page()
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{live_server.url}/admin/")
        page.get_by_label("Username").fill("operator")
        page.get_by_label("Password").fill("look-after-it")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Gateway")).to_be_visible()
        yield page
        browser.close()


@pytest.fixture
def lost_agent(live_server: LiveServer) -> Agent:
    """An unreachable agent for which two deliveries wait."""
    agent = Agent.objects.create(
        name="DemoBot",
        connection_mode="webhook",
        webhook_url="https://8.8.8.8/hashee/webhook",
        connection_status="ready",
    )
    mark_unreachable(agent)
    for _ in range(2):
        a_delivery(agent.lane_id, "pending")
    return agent


def test_an_unreachable_agent_is_recovered_from_the_dashboard(
    lost_agent: Agent, window: Page, complaints: list[str]
) -> None:
    window.get_by_role("link", name="DemoBot").first.click()
    expect(window.get_by_text("2 deliveries wait in the queue.")).to_be_visible()
    window.get_by_role("link", name="Recover").click()
    expect(window.get_by_text("send the 2 deliveries that wait, oldest first")).to_be_visible()
    window.get_by_role("button", name="Recover").click()
    expect(window.get_by_text("2 deliveries are on their way, oldest first.")).to_be_visible()
    lost_agent.refresh_from_db()
    assert lost_agent.connection_status == "ready"
    assert complaints == []


def test_the_connection_is_switched_in_two_steps(
    lost_agent: Agent,
    window: Page,
    live_server: LiveServer,
    complaints: list[str],
    hook: Receiver,
) -> None:
    window.goto(f"{live_server.url}/admin/agents/agent/{lost_agent.pk}/change/")
    window.get_by_role("link", name="Switch connection mode").click()
    window.get_by_label("Webhook", exact=True).check()
    window.get_by_label("Webhook URL").fill(hook.url)
    window.get_by_role("button", name="Continue").click()
    expect(window.get_by_text("https://8.8.8.8/hashee/webhook")).to_be_visible()
    expect(window.get_by_text(hook.url)).to_be_visible()
    lost_agent.refresh_from_db()
    assert lost_agent.webhook_url == "https://8.8.8.8/hashee/webhook"

    window.get_by_role("button", name="Confirm").click()
    expect(window.get_by_text("This is its one showing.")).to_be_visible()
    shown = window.locator(".secret-once").inner_text()
    lost_agent.refresh_from_db()
    assert lost_agent.webhook_url == hook.url
    newest = lost_agent.secrets.live().first()
    assert newest is not None
    assert newest.value == shown
    assert complaints == []


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_window(
    lost_agent: Agent, window: Page, live_server: LiveServer, complaints: list[str], width: int
) -> None:
    window.set_viewport_size({"width": width, "height": 844})
    delivery = a_delivery(lost_agent.lane_id, "failed")
    for address in (
        "",
        "deliveries/delivery/",
        f"deliveries/delivery/{delivery.pk}/change/",
        f"agents/agent/{lost_agent.pk}/change/",
        f"agents/agent/{lost_agent.pk}/switch/",
        "routes/route/add/",
        "platforms/channel/add/",
        "auth/user/add/",
    ):
        window.goto(f"{live_server.url}/admin/{address}")
        assert window.evaluate("document.documentElement.scrollWidth") <= width, address
    assert complaints == []
