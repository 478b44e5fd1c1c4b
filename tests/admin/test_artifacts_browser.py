"""Forms before a person in a real browser: the system agent, a switch in doubt, a question."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from agents.models import Agent, Artifact
from agents.services.artifacts import ask, link_to
from agents.services.manifests import propose_manifest
from agents.services.relations import establish
from tests.agents.receiver import Receiver

from . import test_browser

pytestmark = test_browser.pytestmark
complaints = test_browser.complaints
window = test_browser.window
lost_agent = test_browser.lost_agent

FIELDS = [
    {
        "name": "go",
        "type": "choice",
        "label": "What now?",
        "options": ["Deploy", "Wait"],
        "required": True,
    },
    {"name": "share", "type": "number", "label": "Share", "min": 1, "max": 100, "integer": True},
    {"name": "note", "type": "text", "label": "Note", "multiline": True},
    {"name": "tell", "type": "boolean", "label": "Tell the team"},
]


@pytest.fixture
def question(lost_agent: Agent) -> Artifact:
    return ask(lost_agent, title="Deploy 4.2.0?", text="All green.", fields=FIELDS)


def test_a_sentence_leads_to_a_form_and_a_doubt_has_to_be_ticked(
    lost_agent: Agent,
    window: Page,
    live_server: LiveServer,
    complaints: list[str],
    hook: Receiver,
) -> None:
    hook.status = 500
    window.goto(f"{live_server.url}/admin/agents/agent/")
    window.get_by_role("link", name="System agent").click()
    sentence = f"把 DemoBot 的连接模式改成 webhook\nURL: {hook.url}"
    window.get_by_label("Say what you want").fill(sentence)
    window.get_by_role("button", name="Say it").click()
    expect(window.get_by_text("answered a signed ping with 500")).to_be_visible()
    window.get_by_role("link", name="Look and confirm").click()
    window.get_by_role("button", name="Confirm").click()
    expect(window.get_by_text("Tick that you want it anyway")).to_be_visible()
    window.get_by_label("Switch anyway").check()
    window.get_by_role("button", name="Confirm").click()
    expect(window.get_by_text("This is its one showing.")).to_be_visible()
    lost_agent.refresh_from_db()
    assert lost_agent.webhook_url == hook.url
    assert complaints == []


def test_what_a_mode_needs_is_asked_for_where_it_is_chosen(
    lost_agent: Agent, window: Page, live_server: LiveServer, complaints: list[str]
) -> None:
    window.goto(f"{live_server.url}/admin/agents/agent/{lost_agent.pk}/switch/")
    url, model = window.get_by_label("Webhook URL"), window.get_by_label("Model")
    window.get_by_label("Pull").check()
    expect(url).to_be_hidden()
    expect(model).to_be_hidden()
    window.get_by_label("Chat completions").check()
    expect(model).to_be_visible()
    window.get_by_label("Webhook", exact=True).check()
    expect(url).to_be_visible()
    expect(model).to_be_hidden()
    assert complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_question_is_answered_behind_its_link(
    question: Artifact,
    window: Page,
    live_server: LiveServer,
    complaints: list[str],
    theme: str,
    width: int,
) -> None:
    window.context.clear_cookies()
    window.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    window.set_viewport_size({"width": width, "height": 844})
    window.goto(live_server.url + urlsplit(link_to(question)).path)
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    window.get_by_role("button", name="Send the answer").click()
    expect(window.get_by_text("This field is required.")).to_be_visible()
    window.get_by_label("Deploy", exact=True).check()
    window.get_by_label("Share").fill("10")
    window.get_by_label("Tell the team").check()
    window.get_by_role("button", name="Send the answer").click()
    expect(window.get_by_text("The answer is on its way to DemoBot.")).to_be_visible()
    question.refresh_from_db()
    assert question.answer == {"go": "Deploy", "share": 10, "note": "", "tell": True}
    assert complaints == []


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_window(
    question: Artifact,
    lost_agent: Agent,
    window: Page,
    live_server: LiveServer,
    complaints: list[str],
    width: int,
) -> None:
    window.set_viewport_size({"width": width, "height": 844})
    manifest = propose_manifest(lost_agent, {"abilities": ["x" * 200], "y" * 200: 1})
    assert manifest is not None
    relation = establish(lost_agent, f"telegram:{'7' * 200}", by="ann")
    for address in (
        "agents/agent/",
        "agents/agent/system/",
        f"agents/agent/{lost_agent.pk}/change/",
        f"agents/agent/{lost_agent.pk}/suspend/",
        "agents/artifact/",
        f"agents/artifact/{question.pk}/change/",
        f"agents/artifact/{question.pk}/answer/",
        f"agents/artifact/{manifest.pk}/decide/",
        "agents/relation/",
        "agents/relation/add/",
        f"agents/relation/{relation.pk}/suspend/",
    ):
        window.goto(f"{live_server.url}/admin/{address}")
        assert window.evaluate("document.documentElement.scrollWidth") <= width, address
    assert complaints == []
