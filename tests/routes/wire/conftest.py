"""One server for the whole folder."""

import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer

import pytest

from tests.gateway.process import Gateway

from .server import DJANGO_KEY, READ_SECONDS, ROUTES, Places, Web, request


@pytest.fixture(scope="package")
def places() -> Iterator[ThreadingHTTPServer]:
    Places.arrived = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Places)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="package")
def make_web(
    prepared: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Web]]:
    made: list[Web] = []

    def make(**settings: str | int | float) -> Web:
        folder = tmp_path_factory.mktemp("web") / "data"
        web = Web(folder, prepared, LOG_LEVEL="DEBUG", **settings)
        made.append(web)
        return web

    yield make
    for web in made:
        web.clean_up()


@pytest.fixture(scope="package")
def web(make_web: Callable[..., Web], places: ThreadingHTTPServer) -> Web:
    made = make_web(
        WEBHOOK_READ_SECONDS=READ_SECONDS, OUTBOUND_ALLOW_PRIVATE="true", SECRET_KEY=DJANGO_KEY
    )
    made.agent, made.token = made.python(
        ROUTES.replace("PLACES", f"http://127.0.0.1:{places.server_port}")
    )
    return made.serve()


@pytest.fixture(autouse=True)
def _still_up(web: Web) -> Iterator[None]:
    """Whatever a test did: the next honest request is taken, and nothing raised."""
    said = len(web.log)
    yield
    assert web.send(request()).status == 202
    assert "Traceback" not in web.log[said:]
