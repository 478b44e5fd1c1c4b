"""A channel in a real browser: chosen, filled in, tested; and a route on which people can talk."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from platforms.models import Channel
from routes.chats import chats
from routes.models import Route
from tests.platforms.fake import Answer, FakePlatform, fake_platform

from . import test_browser

pytestmark = test_browser.pytestmark
complaints = test_browser.complaints
window = test_browser.window

TOKEN = "xoxb-1234567890-" + "z" * 24
KNOWN = Answer.json(200, {"ok": True, "team": "Acme", "user": "hermes", "bot_id": "B0HERMES"})
UNKNOWN = Answer.json(200, {"ok": False, "error": "invalid_auth"})


@pytest.fixture
def slack(settings: Any) -> Iterator[FakePlatform]:
    """Slack's API, on this machine."""
    settings.OUTBOUND_ALLOW_PRIVATE = True
    with fake_platform() as platform:
        yield platform


def test_a_slack_channel_is_added_and_its_connection_tested(
    slack: FakePlatform, window: Page, live_server: LiveServer, complaints: list[str]
) -> None:
    window.goto(f"{live_server.url}/admin/platforms/channel/add/")
    window.get_by_role("link", name="Slack", exact=True).click()
    window.locator("#id_name").fill("team")
    window.get_by_label("Bot token").fill(TOKEN)
    window.locator("#id_home-chat_id").fill("C0123456789")
    window.get_by_text("Advanced").click()
    window.get_by_label("API address").fill(f"{slack.url}/api")
    window.get_by_role("button", name="Save and continue editing").click()
    expect(window.get_by_text("was added successfully")).to_be_visible()
    expect(window.get_by_label("Bot token")).to_have_value("")

    slack.script(KNOWN)
    window.get_by_role("link", name="Test connection").click()
    expect(window.get_by_text("auth.test is called with the bot's token")).to_be_visible()
    assert slack.requests == []
    window.get_by_role("button", name="Test connection").click()
    expect(window.get_by_text("“team” works")).to_be_visible()
    [call] = slack.requests
    assert call.path == "/api/auth.test"
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in window.content()
    assert complaints == []


def test_a_token_that_slack_does_not_know_flags_the_channel(
    slack: FakePlatform, window: Page, live_server: LiveServer, complaints: list[str]
) -> None:
    config = {"bot_token": TOKEN, "api_base": slack.url}
    channel = Channel.objects.create(name="team", kind="slack", config=config)
    slack.script(UNKNOWN)
    window.goto(f"{live_server.url}/admin/platforms/channel/{channel.pk}/test/")
    window.get_by_role("button", name="Test connection").click()
    expect(window.get_by_text("was tested without success")).to_be_visible()
    expect(window.get_by_text("needs attention").first).to_be_visible()
    assert "invalid_auth" in window.content()
    assert complaints == []


def test_people_are_let_talk_by_one_choice(
    window: Page, live_server: LiveServer, complaints: list[str]
) -> None:
    Channel.objects.create(name="team", kind="slack", config={"bot_token": TOKEN})
    window.goto(f"{live_server.url}/admin/routes/route/add/")
    window.locator("#id_name").fill("talk")
    window.get_by_label("Let people talk to an agent here").select_option(label="Slack")
    window.get_by_role("button", name="Save and continue editing").click()
    expect(window.get_by_text("was added successfully")).to_be_visible()
    expect(window.get_by_label("Conversation key")).to_have_value("{event.channel}")
    route = Route.objects.get()
    ready = chats()["slack"].fields
    assert {name: getattr(route, name) for name in ready} == ready
    assert complaints == []
