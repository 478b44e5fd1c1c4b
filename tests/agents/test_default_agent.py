"""The agent that is there from the start."""

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection

from agents.models import Agent
from agents.services import NoDefaultAgent, default_agent, make_default

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody() -> None:
    Agent.objects.all().delete()


def migrate() -> None:
    """Run the migration's step as the migration would, on models with more to them."""
    migration = import_module("agents.migrations.0003_default_agent")
    migration.create_default_agent(apps, SimpleNamespace(connection=connection))


def test_the_migration_makes_an_offline_websocket_agent_with_a_held_lane() -> None:
    migrate()
    agent = default_agent()
    assert (agent.name, agent.connection_mode, agent.connection_status) == (
        "default",
        "websocket",
        "offline",
    )
    assert (agent.lane.kind, agent.lane.label, agent.lane.state) == ("agent", "default", "held")


def test_the_migration_leaves_a_default_agent_alone() -> None:
    Agent.objects.create(name="mine", is_default=True)
    migrate()
    assert default_agent().name == "mine"
    assert Agent.objects.count() == 1


def test_without_a_default_agent_the_error_names_the_way_out() -> None:
    with pytest.raises(NoDefaultAgent, match="Agents in the admin"):
        default_agent()


def test_a_new_default_agent_takes_the_mark_from_the_old_one() -> None:
    old = Agent.objects.create(name="old", is_default=True)
    new = Agent.objects.create(name="new")
    for _again in range(2):
        make_default(new)
        assert default_agent() == new
    old.refresh_from_db()
    assert not old.is_default
