"""Fixtures for all of the suite."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.apps import AppConfig
from django.db.models.signals import post_migrate

from tests.gateway.process import Gateway

MakeGateway = Callable[..., Gateway]


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of what `make test` repeats on PostgreSQL although it starts processes."""
    config.addinivalue_line("markers", "both_databases: of the processes, also on PostgreSQL")
    # A transactional test ends with a flush, which takes the default agent and the log channel
    # with everything else and says so by this signal.
    post_migrate.connect(_make_what_migrations_made, dispatch_uid="tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, on PostgreSQL, what never asks the database: it ran on SQLite already."""
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        return
    asking = {"db", "transactional_db", "make_gateway", "gateway", "installation"}
    kept, left_out = [], []
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        asks = item.get_closest_marker("django_db") or names & asking
        (kept if asks or item.get_closest_marker("both_databases") else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def _make_what_migrations_made(sender: AppConfig, **_signal: object) -> None:
    from agents.models import Agent
    from platforms.models import Channel

    if sender.name == "agents" and not Agent.objects.filter(is_default=True).exists():
        Agent.objects.create(name="default", is_default=True)
    if sender.name == "platforms" and not Channel.objects.filter(name="log").exists():
        Channel.objects.create(name="log", kind="log")


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """Forget what this process keeps of rows: after a rollback their ids come again."""
    from deliveries import claims
    from routes import table

    claims._cache.clear()
    table._table = None


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """An installation that `setup` was run on, to be copied and never started."""
    installation = Gateway(tmp_path_factory.mktemp("prepared") / "data")
    try:
        installation.setup()
        yield installation
    finally:
        installation.clean_up()


@pytest.fixture
def make_gateway(prepared: Gateway, tmp_path: Path) -> Iterator[MakeGateway]:
    """A function that makes a gateway ready to be started; keywords are settings."""
    made: list[Gateway] = []

    def make(**settings: str | int) -> Gateway:
        gateway = Gateway(tmp_path / f"data{len(made)}", prepared, **settings)
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.clean_up()


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    """A gateway that runs."""
    return make_gateway().start().wait_healthy()
