"""Group commit: what many requests at once, a bad neighbour or a missing database come to."""

import asyncio
import hashlib
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections

from agents.models import Agent
from deliveries.models import DedupeKey, Delivery, Event, Payload
from deliveries.record import NewDelivery, NewEvent
from routes import refusals, storing, table
from routes.inbound import Answer, Inbound
from routes.intake import Accepted, Conflict, Duplicate, Limited, NewConversation, Stored
from routes.models import Refusal, Route, RouteSecret
from routes.receive import handle

from .test_receive import signature

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")
SECRET = "the secret of the route"
BODY = b'{"number": 1}'
on_postgresql = pytest.mark.skipif(
    "not os.environ.get('DATABASE_URL', '').startswith('postgres')", reason="PostgreSQL only"
)


@pytest.fixture(autouse=True)
def _write_refusals_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "FLUSH_SECONDS", 0)


@pytest.fixture
def agent() -> Agent:
    return Agent.objects.get(is_default=True)


def accepted(
    agent: Agent,
    name: str,
    *,
    route: str = "r",
    body: bytes = BODY,
    limit: int = 0,
    **conversation: Any,
) -> Accepted:
    """Return a request that passed every check, under the sender's id ``name``."""
    event = NewEvent(source="route", type="push", body=body, route=route, dedupe_key=name)
    event.conversation_id = event.id
    delivery = NewDelivery(
        event=event,
        lane_id=agent.lane_id,
        event_type="message.new",
        payload={"type": "text", "text": "hello"},
        conversation_id=event.id,
    )
    key = hashlib.blake2b(f"{route}\0{name}".encode(), digest_size=16).digest()
    digest = hashlib.sha256(body).digest()[:16]
    place: dict[str, Any] = {"agent_id": agent.pk, "channel_id": None, "target": {}}
    thread = NewConversation(
        id=event.id, key=str(event.id), sender_id="webhook:r", **(place | conversation)
    )
    return Accepted(event, [delivery], key, digest, limit, thread)


def write(*batch: Accepted) -> list[Any]:
    return storing.write_batch(batch)


def like_processes(number: int, act: Callable[[int], T]) -> list[T]:
    """Do something in so many threads, each with a database connection of its own."""
    found: list[T] = []
    start = threading.Barrier(number)

    def one(index: int) -> None:
        try:
            start.wait()
            found.append(act(index))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# -- One id --------------------------------------------------------------------------------


def test_in_one_batch_the_first_of_an_id_is_stored_and_the_others_are_duplicates(
    agent: Agent,
) -> None:
    assert write(*[accepted(agent, "a") for _ in range(3)]) == [Stored(), Duplicate(), Duplicate()]
    assert Event.objects.count() == Delivery.objects.count() == DedupeKey.objects.count() == 1


def test_across_batches_an_id_is_stored_once(agent: Agent) -> None:
    assert write(accepted(agent, "a")) == [Stored()]
    assert write(accepted(agent, "a"), accepted(agent, "b")) == [Duplicate(), Stored()]


def test_an_id_with_another_body_is_a_conflict_in_the_batch_and_after_it(agent: Agent) -> None:
    other = b'{"number": 2}'
    assert write(accepted(agent, "a"), accepted(agent, "a", body=other)) == [Stored(), Conflict()]
    assert write(accepted(agent, "a", body=other)) == [Conflict()]
    assert bytes(Payload.objects.get(pk=Event.objects.get().pk).body) == BODY


def test_processes_with_the_same_ids_store_each_once(agent: Agent) -> None:
    """In opposite orders: each would hold what the other waits for."""
    names = [str(number) for number in range(100)]
    results = like_processes(
        4, lambda n: write(*[accepted(agent, name) for name in (names, names[::-1])[n % 2]])
    )
    counted = Counter(type(result) for batch in results for result in batch)
    assert counted == {Stored: 100, Duplicate: 300}
    assert Event.objects.count() == 100


# -- The limit -----------------------------------------------------------------------------


def test_a_batch_spends_what_is_left_and_no_more(agent: Agent) -> None:
    batch = [accepted(agent, str(number), limit=10) for number in range(50)]
    counted = Counter(type(result) for result in write(*batch))
    assert counted == {Stored: 10, Limited: 40}
    assert Event.objects.count() == DedupeKey.objects.count() == 10


def test_processes_share_the_limit_of_a_route(agent: Agent) -> None:
    results = like_processes(
        8, lambda n: write(*[accepted(agent, f"{n} {m}", limit=10) for m in range(6)])
    )
    counted = Counter(type(result) for batch in results for result in batch)
    assert counted == {Stored: 10, Limited: 38}


def test_routes_in_one_batch_have_a_limit_each(agent: Agent) -> None:
    batch = [
        accepted(agent, name, route=route, limit=1) for name in ("1", "2") for route in ("r", "s")
    ]
    assert [type(result) for result in write(*batch)] == [Stored, Stored, Limited, Limited]


def test_what_comes_beside_a_limited_request_under_its_id_is_limited_and_no_duplicate(
    agent: Agent,
) -> None:
    """Nothing was kept: "duplicate" would tell its sender that it was."""
    write(accepted(agent, "first", limit=1))
    twins = [accepted(agent, "b", limit=1), accepted(agent, "b", limit=1)]
    assert [type(result) for result in write(*twins)] == [Limited, Limited]


# -- Bad neighbours ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "poison",
    [
        # Targets that were saved as they are, and no JSON text can hold.
        {"target": {"chat_id": 10**30}},
        {"target": {"nested": ["\ud800"]}},
        {"key": "x" * 300},
    ],
    ids=["number", "surrogate", "key"],
)
def test_a_request_that_cannot_be_written_does_not_take_its_neighbours_with_it(
    agent: Agent, poison: dict[str, Any]
) -> None:
    if "key" in poison and connection.vendor == "sqlite":
        pytest.skip("SQLite takes texts of any length")
    bad = accepted(agent, "bad")
    for name, value in poison.items():
        setattr(bad.conversation, name, value)
    before, refused, after = write(accepted(agent, "before"), bad, accepted(agent, "after"))
    assert (before, after) == (Stored(), Stored())
    assert isinstance(refused, Exception)
    stored = set(Event.objects.values_list("dedupe_key", flat=True))
    assert stored == {"before", "after"}
    assert Delivery.objects.count() == DedupeKey.objects.count() == 2


def test_a_refused_request_gives_its_id_back(agent: Agent) -> None:
    bad = accepted(agent, "again", target={"chat_id": 10**30})
    assert isinstance(write(bad)[0], Exception)
    assert write(accepted(agent, "again")) == [Stored()]


# -- Through the door ----------------------------------------------------------------------


@pytest.fixture
def route() -> Route:
    made = Route.objects.create(name="r", rate_limit=0)
    RouteSecret.objects.create(route=made, value=SECRET)
    return made


async def ask(name: str, *, route: str = "r", body: bytes = BODY, secret: str = SECRET) -> Answer:
    headers = {"x-hub-signature-256": signature(body, secret), "x-github-delivery": name}

    async def read(limit: int) -> bytes:
        return body

    return await handle(Inbound("POST", route, headers, read))


def answers(*questions: Any) -> list[Answer]:
    """Ask all of them at once; return the answers in their order."""

    async def together() -> list[Answer]:
        return list(await asyncio.gather(*questions))

    found: list[Answer] = async_to_sync(together)()
    return found


def test_two_at_once_with_one_id_are_one_accepted_and_one_duplicate(route: Route) -> None:
    found = answers(ask("a"), ask("a"))
    assert sorted(answer.body["status"] for answer in found) == ["accepted", "duplicate"]


def test_a_target_that_cannot_be_written_is_503_for_its_route_alone(route: Route) -> None:
    bad = Route.objects.create(name="bad", rate_limit=0, deliver_extra={"chat_id": 10**30})
    RouteSecret.objects.create(route=bad, value=SECRET)
    found = answers(ask("a"), ask("b", route="bad"), ask("c"))
    assert [answer.status for answer in found] == [202, 503, 202]
    assert found[1].headers["Retry-After"]


def test_a_sender_that_goes_away_while_it_waits_disturbs_nobody(route: Route) -> None:
    async def one_leaves() -> list[Answer]:
        await ask("warm")
        staying = [asyncio.create_task(ask(f"stays {number}")) for number in range(3)]
        leaving = asyncio.create_task(ask("leaves"))
        await asyncio.sleep(0)
        leaving.cancel()
        return list(await asyncio.gather(*staying))

    found: list[Answer] = async_to_sync(one_leaves)()
    assert [answer.status for answer in found] == [202] * 3
    (again,) = answers(ask("leaves"))
    assert again.status in (200, 202)
    assert Event.objects.filter(dedupe_key="leaves").count() == 1


# -- The database is away ------------------------------------------------------------------


@contextmanager
def database_away() -> Iterator[None]:
    """Let another program hold the file locked; on PostgreSQL, the ledger's table."""
    if connection.vendor == "sqlite":
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 300")
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()
        return
    with psycopg.connect(**connection.get_connection_params()) as server:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 300")
        server.execute("LOCK TABLE deliveries_event")
        try:
            yield
        finally:
            server.rollback()


def test_a_database_that_is_away_is_503_for_all_that_wait_and_after_one_time_out(
    route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    answers(ask("warm"))
    began = time.monotonic()
    with database_away():
        found = answers(*[ask(str(number)) for number in range(10)])
    assert time.monotonic() - began < 1.5
    assert {answer.status for answer in found} == {503}
    assert {answer.headers["Retry-After"] for answer in found} == {"5"}
    assert Event.objects.count() == DedupeKey.objects.count() == 1
    assert {answer.status for answer in answers(ask("1"), ask("2"))} == {202}


def test_a_refusal_is_answered_though_it_cannot_be_kept(route: Route) -> None:
    answers(ask("warm"))
    if connection.vendor != "sqlite":
        pytest.skip("the lock is not on this table")
    with database_away():
        (answer,) = answers(ask("a", secret="wrong"))
    assert answer.status == 401
    assert not Refusal.objects.exists()


@on_postgresql
@pytest.mark.parametrize("silence", [False, True], ids=["at once", "when routes are read again"])
def test_a_connection_that_died_is_replaced(route: Route, silence: bool) -> None:
    answers(ask("warm"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (process,) = cursor.fetchone()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute("SELECT pg_terminate_backend(%s)", [process])
    if silence and table._table:
        table._table.checked = 0
    (first,), (second,) = answers(ask("a")), answers(ask("b"))
    assert first.status in (202, 503)
    assert second.status == 202
