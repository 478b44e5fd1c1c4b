"""A DingTalk channel in a real browser, under the content security policy."""

from datetime import timedelta
from uuid import uuid4

from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from platforms import tokens
from platforms.models import Channel, SessionWebhook
from tests.admin import test_browser

from .dingtalk import CLIENT_ID, GROUP_CHAT, LENT, PRIVATE_CHAT, SECRET
from .fake import FakePlatform
from .test_dingtalk_admin import OUTSIDER, sent

pytestmark = test_browser.pytestmark
complaints = test_browser.complaints
window = test_browser.window


def some_sessions(channel: Channel) -> None:
    now = timezone.now()
    for chat, title, minutes, facts in (
        (GROUP_CHAT, "值班群 On call", 73, {"conversation_type": "2"}),
        (PRIVATE_CHAT, "小林", 4, {"conversation_type": "1", "staff_id": "manager7788"}),
        (OUTSIDER, "供应商", -12, {"conversation_type": "1"}),
    ):
        SessionWebhook.objects.create(
            channel=channel,
            conversation_id=chat,
            title=title,
            url="https://oapi.dingtalk.com/robot/sendBySession?session=x",
            expires_at=now + timedelta(minutes=minutes, seconds=30),
            connection=uuid4(),
            created_at=now,
            **facts,
        )
    sent(channel, {"chat_id": GROUP_CHAT}, "session")
    sent(channel, {"chat_id": PRIVATE_CHAT}, "person")


def test_a_channel_is_added_tested_and_its_sessions_seen(
    window: Page,
    live_server: LiveServer,
    fake: FakePlatform,
    complaints: list[str],
) -> None:
    tokens.forget_all()
    window.goto(f"{live_server.url}/admin/platforms/channel/add/")
    window.get_by_role("link", name="DingTalk").click()
    window.get_by_label("Name", exact=False).first.fill("ding")
    window.get_by_label("Client ID (AppKey)").fill(CLIENT_ID)
    window.get_by_label("Client secret (AppSecret)").fill(SECRET)
    window.get_by_label("Chat", exact=False).last.fill(GROUP_CHAT)
    window.get_by_text("Advanced").click()
    window.get_by_label("API address").fill(fake.url)
    window.get_by_role("button", name="Save", exact=True).click()
    window.locator("#result_list").get_by_role("link", name="ding").click()

    fake.script(LENT)
    window.get_by_role("link", name="Test connection").click()
    expect(window.get_by_text("an access token is fetched; nothing is sent")).to_be_visible()
    window.get_by_role("button", name="Test connection").click()
    expect(window.get_by_text("DingTalk knows the app and its secret.")).to_be_visible()

    some_sessions(Channel.objects.get(name="ding"))
    window.reload()
    expect(window.get_by_text("ends in 4")).to_be_visible()
    expect(window.get_by_text("none: no staff ID")).to_be_visible()
    expect(window.get_by_role("link", name="Robot OpenAPI, to the person")).to_be_visible()
    for width in (390, 1280):
        window.set_viewport_size({"width": width, "height": 844})
        assert window.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
