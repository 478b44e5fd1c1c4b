"""The dashboard renews itself, in a real browser, under the content security policy."""

import os
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from agents.models import Agent
from agents.services import mark_unreachable
from deliveries.models import Runner
from tests.admin.rows import a_delivery
from tests.admin.test_browser import CHROMIUM, FLAGS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.urls("tests.site.urls"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"NO BROWSER: {CHROMIUM} is missing, clicks are not tested"
    ),
]

A_ROUND = 16_000  # ms; longer than the module waits


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console said; to be empty at the end."""
    return []


@pytest.fixture
def ready(live_server: LiveServer) -> Agent:
    """An agent that answers, a worker that runs, and a delivery."""
    Runner.objects.create(slot=0, token=uuid4(), beat_at=timezone.now() + timedelta(hours=1))
    agent = Agent.objects.create(
        name="DemoBot",
        connection_mode="webhook",
        webhook_url="https://8.8.8.8/hashee/webhook",
        connection_status="ready",
    )
    a_delivery(agent.lane_id)
    return agent


@pytest.fixture
def window(
    ready: Agent, live_server: LiveServer, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """The dashboard with an operator before it, on a clock that the test moves."""
    # Playwright keeps a loop in this thread, for which Django would refuse the ORM.
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    User.objects.create_superuser("operator", password="look-after-it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page()
        page.clock.install()
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
        page.wait_for_load_state()  # modules have run by then
        yield page
        browser.close()


def hide(window: Page, hidden: bool) -> None:
    """Let the page believe that its tab is, or is not, behind another."""
    window.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_the_numbers_and_what_needs_a_person_renew_themselves(
    window: Page, ready: Agent, complaints: list[str]
) -> None:
    numbers = window.locator("#numbers")
    expect(numbers).to_contain_text("1deliveries, 24 h")
    expect(window.locator("#live")).to_be_hidden()
    a_delivery(ready.lane_id, "failed")
    mark_unreachable(ready)
    window.clock.fast_forward(A_ROUND)
    expect(numbers).to_contain_text("2deliveries, 24 h")
    expect(window.get_by_text("has been unreachable for")).to_be_visible()
    expect(window.locator("#live")).to_contain_text("Renews itself; as of")
    window.get_by_role("link", name="Recover…").click()
    expect(window.get_by_role("button", name="Recover")).to_be_visible()
    assert complaints == []


def test_a_page_behind_another_asks_nothing_and_renews_when_it_is_back(
    window: Page, ready: Agent, complaints: list[str]
) -> None:
    asked: list[str] = []
    hide(window, True)
    window.on("request", lambda request: asked.append(request.url))
    a_delivery(ready.lane_id)
    window.clock.fast_forward(10 * A_ROUND)
    assert asked == []
    hide(window, False)
    expect(window.locator("#numbers")).to_contain_text("2deliveries, 24 h")
    assert len(asked) == 1
    assert complaints == []


def test_what_has_the_focus_is_left_alone(window: Page, ready: Agent) -> None:
    first = window.locator("#numbers a").first
    first.focus()
    a_delivery(ready.lane_id)
    window.clock.fast_forward(A_ROUND)
    expect(window.locator("#live")).to_be_visible()
    expect(first).to_be_focused()
    expect(window.locator("#numbers")).to_contain_text("1deliveries, 24 h")


def test_a_gateway_that_does_not_answer_is_said_to(window: Page, ready: Agent) -> None:
    window.route("**/admin/", lambda route: route.abort())
    window.clock.fast_forward(A_ROUND)
    expect(window.locator("#live")).to_contain_text("The gateway does not answer")
    window.unroute("**/admin/")
    window.clock.fast_forward(A_ROUND)
    expect(window.locator("#live")).to_contain_text("Renews itself; as of")


def test_who_was_logged_out_is_led_to_the_login(window: Page) -> None:
    window.context.clear_cookies()
    window.clock.fast_forward(A_ROUND)
    expect(window.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_of_this_room_is_wider_than_the_window(
    window: Page, live_server: LiveServer, complaints: list[str], width: int
) -> None:
    window.set_viewport_size({"width": width, "height": 844})
    for address in (
        "",
        "system/",
        "hermes_site/incident/",
        "hermes_site/alertsettings/1/change/",
        "hermes_site/alertsettings/1/test/",
    ):
        window.goto(f"{live_server.url}/admin/{address}")
        assert window.evaluate("document.documentElement.scrollWidth") <= width, address
    assert complaints == []
