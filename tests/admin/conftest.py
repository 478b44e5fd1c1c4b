"""People, and what they look after."""

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from agents.models import Agent
from agents.services import mark_unreachable
from platforms.models import Channel
from routes.models import Route
from tests.agents.receiver import Receiver, serve


@pytest.fixture
def operator(admin_user: User) -> Client:
    """A person with every permission, logged in."""
    client = Client()
    client.force_login(admin_user)
    return client


@pytest.fixture
def person_with(db: None) -> Callable[..., Client]:
    """A function that logs in a member of staff with just these permissions."""

    def make(*permissions: str) -> Client:
        user = User.objects.create_user("reader", is_staff=True)
        for permission in permissions:
            app_label, codename = permission.split(".")
            user.user_permissions.add(
                Permission.objects.get(content_type__app_label=app_label, codename=codename)
            )
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def hook(settings: Settings) -> Iterator[Receiver]:
    """Where an agent listens: a webhook that answers what it is told."""
    settings.OUTBOUND_ALLOW_PRIVATE = True
    receiver = Receiver()
    server = serve(receiver)
    yield receiver
    server.shutdown()
    server.server_close()


@pytest.fixture
def agent(db: None) -> Agent:
    """A ready agent in webhook mode."""
    return Agent.objects.create(
        name="DemoBot",
        connection_mode=Agent.Mode.WEBHOOK,
        webhook_url="https://my-agent.example.dev/hashee/webhook",
        connection_status=Agent.Status.READY,
    )


@pytest.fixture
def unreachable(agent: Agent) -> Agent:
    """An agent that the engine gave up."""
    mark_unreachable(agent)
    agent.refresh_from_db()
    return agent


@pytest.fixture
def channel(db: None) -> Channel:
    """A chat."""
    return Channel.objects.create(name="team-chat", kind="telegram", config={"token": "1:secret"})


@pytest.fixture
def route(agent: Agent) -> Route:
    """GitHub's pull requests, for the agent."""
    return Route.objects.create(
        name="github-pr", preset="github", events=["pull_request"], agent=agent, deliver="log"
    )
