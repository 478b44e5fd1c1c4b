"""A database that goes away, and secrets that stay where they are."""

import json
import os
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.gateway.process import eventually

from .server import (
    AGENT_SECRET,
    CHANNEL_SECRET,
    DJANGO_KEY,
    LIMIT,
    PROVIDER_WORDS,
    ROUTE_SECRET,
    ROUTES,
    Web,
    request,
)

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]


@pytest.fixture
def ours(make_web: Callable[..., Web]) -> Web:
    """A web server whose database may be taken away."""
    made = make_web()
    made.python(ROUTES)
    return made.serve()


def test_it_goes_on_after_the_database_hung_up(ours: Web) -> None:
    """PostgreSQL restarts or fails over; connections that nobody used meanwhile are dead."""
    if not ours._database.url:
        pytest.skip("a file does not hang up")
    assert ours.send(request()).status == 202
    for silence in (0.0, 1.5):  # with the routes at hand, and when they are to be read again
        _disconnect_all(ours)
        time.sleep(silence)
        answers = [ours.send(request()) for _ in range(3)]
        assert {answer.status for answer in answers} <= {202, 503}
        assert answers[-1].status == 202
    assert ours.send(request(signature="sha256=0")).status == 401


def test_an_unreachable_database_is_503_and_nothing_is_half_stored(ours: Web) -> None:
    if not ours._database.url:
        pytest.skip("see tests/routes/test_intake.py for a locked file")
    assert ours.send(request()).status == 202
    _allow_connections(ours, False)
    _disconnect_all(ours)
    try:
        for silence in (0.0, 1.5):
            time.sleep(silence)
            for frame in (request(), request(path="/webhooks/nobody"), request(signature=None)):
                answer = ours.send(frame)
                assert answer.status in (401, 404, 503)
                assert answer.json["error"]
            answer = ours.send(request())
            assert answer.status == 503
            assert int(answer.header("retry-after")) > 0
        assert ours.send(request(method="GET", path="/health", body=b"")).status == 200
    finally:
        _allow_connections(ours, True)
    eventually(lambda: ours.send(request()).status == 202, 5, "a request that is taken")
    assert ours.events() == 2


def _disconnect_all(web: Web) -> None:
    statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(statement, [web._database.name])


def _allow_connections(web: Web, allowed: bool) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(
            psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                psycopg.sql.Identifier(web._database.name), psycopg.sql.Literal(allowed)
            )
        )


EVERYTHING = """
from django.apps import apps
rows = [
    f"{model._meta.label} {value!r}"
    for model in apps.get_models()
    for row in model.objects.all().values()
    for name, value in row.items()
    if model._meta.label not in SEALED or name not in ("value", "config")
]
result = "\\n".join(rows)
""".replace("SEALED", repr({"routes.RouteSecret", "agents.AgentSecret", "platforms.Channel"}))


def test_after_every_kind_of_refusal_no_secret_is_anywhere(web: Web) -> None:
    """The canaries travel in headers and bodies of what is refused, in clear and in JSON."""
    secrets = (ROUTE_SECRET, AGENT_SECRET, CHANNEL_SECRET, DJANGO_KEY)
    tell = [("X-Custom", ROUTE_SECRET), ("Authorization", f"Bearer {ROUTE_SECRET}"),
            ("Cookie", f"a={ROUTE_SECRET}"), ("X-Api-Key", ROUTE_SECRET)]  # fmt: skip
    telling = json.dumps({"secret": ROUTE_SECRET}).encode()
    web.send(request(*tell, body=b"not json " + ROUTE_SECRET.encode()))
    web.send(request(*tell, body=b" " * 4090 + ROUTE_SECRET.encode()))
    web.send(request(*tell, body=telling, signature="sha256=0"))
    # Without the bearer, which by itself would be good.
    unsigned = [header for header in tell if header[0] != "Authorization"]
    web.send(request(*unsigned, body=telling, signature=None))
    web.send(request(*tell, ("X-Gitlab-Token", ROUTE_SECRET), path="/webhooks/off", body=telling))
    web.send(request(*tell, path="/webhooks/small", body=b" " * (LIMIT + 1)))
    web.send(request(*tell, delivery="leaky"))
    web.send(request(*tell, body=telling, delivery="leaky"))
    for _ in range(11):
        web.send(request(*tell, path="/webhooks/ten-again"))
    web.send(request(*tell, path="/webhooks/to-broken"))
    web.send(request(*tell, body=b"", length=10))
    time.sleep(1)
    kept = web.python(EVERYTHING)
    assert "id_conflict" in kept
    for secret in secrets:
        assert secret not in kept, _around(kept, secret)
        assert secret not in web.log, _around(web.log, secret)
    assert PROVIDER_WORDS not in web.log


def _around(text: str, found: str) -> str:
    place = text.index(found)
    return text[max(0, place - 300) : place + 100]
