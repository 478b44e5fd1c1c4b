"""Counters, told from the ledger after the fact."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents.models import Agent
from deliveries.models import Attempt
from hermes_site import counting
from hermes_site.models import Counted, Tally
from tests.admin.rows import a_delivery, a_refusal, an_event

pytestmark = pytest.mark.django_db

LONG = timedelta(seconds=20)


@pytest.fixture(autouse=True)
def _begun(db: None) -> None:
    """Counting has begun a while ago, with nothing there."""
    Counted.objects.create(events_until=timezone.now() - timedelta(minutes=2))


def attempt(
    agent: Agent,
    verdict: str = "delivered",
    *,
    number: int = 1,
    started: timedelta = LONG,
    waited: timedelta = timedelta(),
    **fields: Any,
) -> Attempt:
    delivery = a_delivery(agent.lane_id, age=started + waited)
    return Attempt.objects.create(
        delivery=delivery,
        number=number,
        trigger="auto",
        started_at=timezone.now() - started,
        verdict=verdict,
        **fields,
    )


def counted(name: str) -> dict[tuple[str, ...], float]:
    counting.catch_up(timezone.now())
    return dict(counting.tallies().get(name, {}))


def test_attempts_are_counted_by_kind_verdict_and_error_class(agent: Agent) -> None:
    attempt(agent)
    attempt(agent)
    attempt(agent, "retry", error_class="timeout")
    assert counted(counting.ATTEMPTS) == {
        ("agent", "delivered", ""): 2,
        ("agent", "retry", "timeout"): 1,
    }


def test_nothing_is_counted_twice(agent: Agent) -> None:
    attempt(agent)
    assert counted(counting.ATTEMPTS) == counted(counting.ATTEMPTS)
    attempt(agent)
    assert counted(counting.ATTEMPTS) == {("agent", "delivered", ""): 2}


def test_an_attempt_under_way_is_counted_once_it_is_over(agent: Agent) -> None:
    sending = attempt(agent, "sending")
    attempt(agent)
    assert counted(counting.ATTEMPTS) == {("agent", "delivered", ""): 1}
    Attempt.objects.filter(pk=sending.pk).update(verdict="retry", error_class="interrupted")
    assert counted(counting.ATTEMPTS) == {
        ("agent", "delivered", ""): 1,
        ("agent", "retry", "interrupted"): 1,
    }
    assert Counted.objects.get().under_way == []


def test_what_has_just_begun_is_left_to_the_next_time(agent: Agent) -> None:
    attempt(agent, started=timedelta(seconds=1))
    assert counted(counting.ATTEMPTS) == {}


def test_what_was_there_before_counting_began_is_not_counted(agent: Agent) -> None:
    Counted.objects.all().delete()
    attempt(agent)
    assert counted(counting.ATTEMPTS) == {}
    attempt(agent, "failed")
    assert counted(counting.ATTEMPTS) == {("agent", "failed", ""): 1}


@pytest.mark.parametrize(
    ("milliseconds", "bucket"), [(0, 0), (5, 0), (6, 1), (10_000, 10), (900_000, 13)]
)
def test_a_duration_falls_into_the_first_bucket_that_holds_it(
    agent: Agent, milliseconds: int, bucket: int
) -> None:
    attempt(agent, duration_ms=milliseconds)
    assert counted(counting.DURATION) == {("agent", str(bucket)): 1}
    assert counted(counting.DURATION_SUM)[("agent",)] == milliseconds / 1000


def test_the_wait_for_the_first_attempt_is_measured_and_for_no_later_one(agent: Agent) -> None:
    attempt(agent, waited=timedelta(seconds=2))
    attempt(agent, number=2, waited=timedelta(hours=1))
    [(bucket, number)] = counted(counting.WAIT).items()
    assert (counting.WAITS[int(bucket[1])], number) == (2.5, 1)
    assert counted(counting.WAIT_SUM)[("agent",)] == pytest.approx(2, abs=0.2)


def test_refusals_are_counted_by_status_and_reason_and_stay_so_when_the_rows_go() -> None:
    old = timezone.now() - LONG
    rows = [a_refusal(at=old), a_refusal(at=old), a_refusal(at=old, status=429, reason="x")]
    assert counted(counting.REFUSALS) == {("401", "invalid_signature"): 2, ("429", "x"): 1}
    for row in rows:
        row.delete()
    assert counted(counting.REFUSALS)[("401", "invalid_signature")] == 2


def test_events_are_counted_once_however_long_nobody_asked() -> None:
    Counted.objects.update(events_until=timezone.now() - timedelta(days=3))
    for age in (timedelta(days=2), timedelta(hours=1), LONG, timedelta(seconds=1)):
        an_event(age=age)
    assert counted(counting.EVENTS) == {(): 3}
    assert counted(counting.EVENTS) == {(): 3}


def test_the_moment_of_an_id_is_when_it_was_made() -> None:
    made = datetime.fromisoformat("2026-02-03T04:05:06.789+00:00")
    assert counting.moment_of(counting.first_id_of(made)) == made


def test_of_two_who_count_the_same_the_second_adds_nothing(agent: Agent) -> None:
    attempt(agent)
    now = timezone.now()
    steps = [counting._look(Counted.objects.get(), now) for _ in range(2)]
    for step in steps:
        counting._add(step)
    assert Tally.objects.get(name=counting.ATTEMPTS).value == 1


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Steps of three attempts."""
    monkeypatch.setattr(counting, "STEP", 3)
    return


def test_a_backlog_is_counted_step_by_step(agent: Agent, short_steps: None) -> None:
    for _ in range(8):
        attempt(agent)
    assert counting.count(timezone.now())
    assert counting.tallies()[counting.ATTEMPTS] == {("agent", "delivered", ""): 3}
    assert counted(counting.ATTEMPTS) == {("agent", "delivered", ""): 8}
