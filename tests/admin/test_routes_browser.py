"""Routes in a real browser: the form without a script of ours, the workbench, a refusal."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from platforms.models import Channel
from routes.models import Route
from routes.services import rotate_secret

from . import test_browser
from .rows import a_delivery, a_refusal, an_event

pytestmark = test_browser.pytestmark
complaints = test_browser.complaints
window = test_browser.window


@pytest.fixture
def github(live_server: LiveServer) -> Route:
    """A route on which something happened."""
    route = Route.objects.create(
        name="github-pr", preset="github", events=["pull_request"], prompt="PR: {action}"
    )
    rotate_secret(route, timedelta(0))
    an_event()
    return route


def test_a_scheme_of_ones_own_is_asked_for_where_it_is_chosen(
    github: Route, window: Page, live_server: LiveServer, complaints: list[str]
) -> None:
    window.goto(f"{live_server.url}/admin/routes/route/{github.pk}/change/")
    signed = window.get_by_label("Signed text")
    expect(signed).to_be_hidden()
    window.get_by_label("Source").select_option("custom")
    expect(signed).to_be_visible()
    window.get_by_role("button", name="Save", exact=True).click()
    expect(window.get_by_text("say where the signature is")).to_be_visible()
    window.locator("#id_scheme_place_1").fill("X-Acme-Signature")
    window.get_by_role("button", name="Save", exact=True).click()
    expect(window.get_by_text("was changed successfully")).to_be_visible()
    github.refresh_from_db()
    assert github.custom_scheme == {"header": "X-Acme-Signature"}
    assert complaints == []


def test_a_draft_is_tried_then_saved(
    github: Route, window: Page, live_server: LiveServer, complaints: list[str]
) -> None:
    window.goto(f"{live_server.url}/admin/routes/route/{github.pk}/change/")
    window.get_by_role("link", name="Workbench").click()
    expect(window.get_by_text("It would go out.")).to_be_visible()
    window.get_by_label("Filters").fill('[{"field": "action", "equals": "closed"}]')
    window.get_by_label("Prompt").fill("Look at {pull_request.title}")
    window.get_by_role("button", name="Try it").click()
    expect(window.get_by_text("It goes no further.")).to_be_visible()
    expect(window.locator(".difference ins").first).to_have_text("Look at {pull_request.title}")
    github.refresh_from_db()
    assert github.prompt == "PR: {action}"
    window.get_by_role("button", name="Save the draft").click()
    expect(window.get_by_text("The draft is saved.")).to_be_visible()
    github.refresh_from_db()
    assert github.prompt == "Look at {pull_request.title}"
    assert complaints == []


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_of_a_route_is_wider_than_the_window(
    github: Route, window: Page, live_server: LiveServer, complaints: list[str], width: int
) -> None:
    window.set_viewport_size({"width": width, "height": 844})
    headers = {"x-hub-signature-256": "sha256=***", "x-long": "v" * 400}
    refusal = a_refusal(reason="bad_signature", headers=headers, explanation="x" * 300)
    own = Route.objects.create(name="acme", preset="custom", custom_scheme={"header": "x-acme"})
    long = Route.objects.create(name="l" * 64, fan_out=[{"deliver": "d" * 64, "deliver_extra": {}}])
    a_delivery(a_lane(), event=an_event(route=long.name))
    for address in (
        f"routes/route/{github.pk}/change/",
        f"routes/route/{own.pk}/change/",
        f"routes/route/{long.pk}/change/",
        f"routes/route/{github.pk}/workbench/",
        f"routes/route/{long.pk}/workbench/",
        f"routes/route/{github.pk}/test/",
        "routes/refusal/",
        f"routes/refusal/{refusal.pk}/change/",
    ):
        window.goto(f"{live_server.url}/admin/{address}")
        assert window.evaluate("document.documentElement.scrollWidth") <= width, address
    assert complaints == []


def a_lane() -> int:
    """Return a lane to deliver on."""
    return Channel.objects.get(name="log").lane_id
