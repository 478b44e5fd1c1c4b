"""Fixtures for all of the suite."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gateway.process import Gateway

MakeGateway = Callable[..., Gateway]


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of what `make test` repeats on PostgreSQL although it starts processes."""
    config.addinivalue_line("markers", "both_databases: of the processes, also on PostgreSQL")


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
