"""The samples of docs/agents/websocket.md and pull.md do what they say."""

import asyncio
import contextlib
import re
import runpy
import threading
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from agents.models import Agent, Conversation
from agents.services import issue_token
from deliveries.models import Event
from platforms.models import Channel
from tests.agents.conftest import make_conversation

from .conftest import fresh, make_socket_agent, say, wait_for
from .server import Web

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def agent(request: pytest.FixtureRequest, transactional_db: None) -> Agent:
    return make_socket_agent("hello", connection_mode=request.param)


@pytest.fixture
def talk(agent: Agent, channel: Channel) -> Conversation:
    return make_conversation(agent, channel)


def sample(
    name: str, agent: Agent, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Run the sample of a page as a module; return what it defines."""
    page = Path(settings.BASE_DIR) / "docs/agents" / name
    [source] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    file = tmp_path / "sample.py"
    file.write_text(source)
    monkeypatch.setenv("HERMES_URL", web.url)
    monkeypatch.setenv("HASHEE_AGENT_ID", str(agent.pk))
    monkeypatch.setenv("HASHEE_AGENT_TOKEN", issue_token(agent))
    return runpy.run_path(str(file))


def answered(talk: Conversation) -> bool:
    said = Event.objects.filter(source="agent", conversation=talk)
    return said.exists() and said.get().deliveries.get().lane_id == talk.channel.lane_id


@pytest.mark.parametrize("agent", [Agent.Mode.WEBSOCKET], indirect=True)
def test_the_socket_sample_answers(
    web: Web, agent: Agent, talk: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = say(agent, "hello", talk)
    program = sample("websocket.md", agent, web, tmp_path, monkeypatch)

    async def run() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await program["main"]()

    running = threading.Thread(target=asyncio.run, args=(run(),))
    running.start()
    wait_for(lambda: answered(talk), "the answer")
    wait_for(lambda: fresh(delivery).status == "delivered", "it is delivered")
    running.join()


@pytest.mark.parametrize("agent", [Agent.Mode.PULL], indirect=True)
def test_the_pull_sample_answers(
    web: Web, agent: Agent, talk: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = say(agent, "hello", talk)
    sample("pull.md", agent, web, tmp_path, monkeypatch)["pull"]()
    assert answered(talk)
    assert fresh(delivery).status == "delivered"
