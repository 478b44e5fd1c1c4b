"""What the optimistic write, the second writer and the bulk text of a column must not break."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from agents.models import Agent
from agents.services.relations import establish, suspend_relation
from deliveries.models import DedupeKey, Delivery, Event
from deliveries.record import NewEvent, write
from routes import intake, storing
from routes.intake import Accepted, Conflict, Duplicate, Limited, Stored
from routes.models import RateWindow, Route, RouteSecret

from .test_intake import SECRET, accepted, answers, ask, like_processes, on_postgresql

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def agent() -> Agent:
    return Agent.objects.get(is_default=True)


def decide(*batch: Accepted) -> list[Any]:
    return storing.write_batch(batch)


def spent() -> int:
    return sum(RateWindow.objects.values_list("accepted", flat=True))


def test_a_batch_of_news_is_written_without_deciding_each(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("each was decided")

    monkeypatch.setattr(storing, "_decide_and_write", never)
    assert decide(accepted(agent, "a"), accepted(agent, "b", limit=30)) == [Stored(), Stored()]
    assert Event.objects.count() == Delivery.objects.count() == 2


def test_a_repeat_among_news_undoes_the_first_write_and_counts_nothing_twice(agent: Agent) -> None:
    decide(accepted(agent, "old", limit=30))
    batch = [accepted(agent, name, limit=30) for name in ("new", "old", "newer")]
    assert decide(*batch) == [Stored(), Duplicate(), Stored()]
    assert Event.objects.count() == DedupeKey.objects.count() == 3
    assert spent() == 3


def test_another_body_under_an_old_id_among_news_is_a_conflict(agent: Agent) -> None:
    decide(accepted(agent, "old"))
    found = decide(accepted(agent, "new"), accepted(agent, "old", body=b"{}"))
    assert found == [Stored(), Conflict()]


def test_the_last_of_a_minute_is_stored_and_the_next_is_not(agent: Agent) -> None:
    decide(*[accepted(agent, str(number), limit=3) for number in range(2)])
    last, over = decide(accepted(agent, "last", limit=3), accepted(agent, "over", limit=3))
    assert last == Stored()
    assert isinstance(over, Limited)
    assert spent() == 3


def test_a_wide_limit_is_kept_to_the_last_request(agent: Agent) -> None:
    limit = 2 * storing.MARGIN + 10
    RateWindow.objects.create(route="r", second=2**40, writer=0, accepted=limit - 1)
    found = decide(*[accepted(agent, str(number), limit=limit) for number in range(3)])
    assert [type(one) for one in found] == [Stored, Limited, Limited]


@on_postgresql
def test_writers_side_by_side_keep_a_narrow_limit_to_the_letter(agent: Agent) -> None:
    def one(index: int) -> Sequence[Any]:
        return decide(*[accepted(agent, f"{index}-{n}", limit=10) for n in range(5)])

    found = [result for batch in like_processes(4, one) for result in batch]
    assert sum(isinstance(result, Stored) for result in found) == 10
    assert spent() == 10


@on_postgresql
def test_two_batches_are_under_way_at_once_on_connections_of_their_own(
    agent: Agent, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.INTAKE_WRITERS = 2
    both = threading.Barrier(2, timeout=10)
    real = storing.write_batch

    def meeting(batch: Sequence[Accepted]) -> Any:
        both.wait()
        try:
            return real(batch)
        finally:
            connections.close_all()

    monkeypatch.setattr(storing, "write_batch", meeting)

    async def store() -> list[Any]:
        found = intake.intake()
        first = asyncio.ensure_future(found.store(accepted(agent, "first")))
        await asyncio.sleep(0.2)  # it waits for the second
        many = [accepted(agent, str(number)) for number in range(intake.SECOND_WRITER_FROM)]
        return list(await asyncio.gather(first, *[found.store(one) for one in many]))

    assert set(map(type, async_to_sync(store)())) == {Stored}
    assert Event.objects.count() == intake.SECOND_WRITER_FROM + 1


@on_postgresql
def test_a_text_that_would_fall_apart_is_refused_and_not_written_wrongly() -> None:
    torn = NewEvent(source="route", type="a\x1fb", body=b"{}", route="r")
    with pytest.raises(ValueError, match=r"U\+001F"):
        write([torn, NewEvent(source="route", type="c", body=b"{}", route="r")], [])


@on_postgresql
def test_what_stands_for_nothing_in_a_column_is_told_from_an_empty_text(agent: Agent) -> None:
    decide(accepted(agent, "a"))
    event = Event.objects.get()
    delivery = Delivery.objects.get()
    assert (event.route, delivery.claim, delivery.error_class) == ("r", None, "")


def test_news_take_a_handful_of_statements_whatever_their_number(agent: Agent) -> None:
    with CaptureQueriesContext(connection) as seen:
        decide(*[accepted(agent, str(number)) for number in range(32)])
    assert len(seen) < 10


def test_what_a_suspended_sender_sends_is_kept_and_not_sent(agent: Agent) -> None:
    route = Route.objects.create(name="r", rate_limit=0, agent=agent)
    RouteSecret.objects.create(route=route, value=SECRET)
    suspend_relation(establish(agent, "webhook:r", by="ops"), by="ops")
    [answer] = answers(ask("a"))
    assert answer.status == 202
    delivery = Delivery.objects.get(event__route="r")
    assert (delivery.status, delivery.error_class) == ("skipped", "relation_suspended")
