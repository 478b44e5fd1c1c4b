"""Models that think for minutes, in the real engine: they hold up nobody, and lose nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings

from agents.connections import thinking
from agents.models import Agent
from agents.services import completions
from deliveries.claims import LEASE_MARGIN, claim
from deliveries.models import Attempt, Delivery, Event, Lane
from deliveries.runner import LaneRunner, run_until_idle
from deliveries.services import redeliver
from deliveries.transactions import engine_transaction
from platforms.models import Channel

from .asking import saved
from .conftest import deliver, make_agent, make_conversation
from .fake_model import FakeModel, fixture, says, sends, serving, streams, waits
from .receiver import Receiver

LEASE = timedelta(seconds=thinking.BUDGET) + LEASE_MARGIN


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with serving(FakeModel()) as fake:
        yield fake


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()
    until(lambda: not thinking.under_way())


@pytest.fixture
def runner(transactional_db: None) -> Iterator[LaneRunner]:
    """A runner with very few threads of its own."""
    with ThreadPoolExecutor(2) as executor:
        yield LaneRunner(executor, places=2)


def until(true: Callable[[], object], runner: LaneRunner | None = None) -> None:
    """Let the runner go round until something is so."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "it does not come"
        if runner is not None:
            runner.cycle()
        time.sleep(0.01)


def statuses(agent: Agent) -> list[str]:
    rows = Delivery.objects.filter(lane_id=agent.lane_id).order_by("id")
    return list(rows.values_list("status", flat=True))


@pytest.mark.django_db
@pytest.mark.parametrize("streamed", [True, False])
def test_a_message_is_answered_where_it_came_from(model: FakeModel, streamed: bool) -> None:
    if streamed:
        model.always = streams(fixture("stream__openai.txt"))
    agent = saved(model, stream=streamed)
    channel = Channel.objects.create(name="notes", kind="log")
    delivery = deliver(agent, make_conversation(agent, channel))
    run_until_idle()
    run_until_idle()  # the answer has come due since
    delivery.refresh_from_db()
    answer = Delivery.objects.get(lane_id=channel.lane_id)
    assert (delivery.status, answer.status) == ("delivered", "delivered")
    assert answer.event.trace == delivery.event.trace
    attempt = delivery.attempts.get()
    assert attempt.provider_ids["completion_tokens"] > 0
    assert (attempt.status, attempt.verdict) == (200, "delivered")


@pytest.mark.django_db
def test_an_answer_is_posted_once_though_the_message_is_sent_twice(model: FakeModel) -> None:
    agent = saved(model)
    delivery = deliver(agent, make_conversation(agent, None))
    run_until_idle()
    assert redeliver(delivery)
    run_until_idle()
    assert len(model.requests) == 2
    assert Event.objects.filter(source="agent", trace=delivery.event.trace).count() == 1


@pytest.mark.django_db
def test_a_silent_model_posts_nothing(model: FakeModel) -> None:
    model.always = says("[SILENT]")
    agent = saved(model)
    delivery = deliver(agent, make_conversation(agent, None))
    run_until_idle()
    delivery.refresh_from_db()
    assert delivery.status == "delivered"
    assert not Event.objects.filter(source="agent").exists()


@pytest.mark.django_db
def test_a_model_that_is_down_climbs_the_ladder_of_agents(model: FakeModel) -> None:
    model.always = sends(fixture("error__ollama_500.json"), 503)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        agent = saved(model)
        deliver(agent)
        run_until_idle()
        for rung in (0, 30, 120, 480, 1920, 7200, 21600):
            clock.shift(timedelta(seconds=rung))
            run_until_idle()
    agent.refresh_from_db()
    assert (agent.connection_status, len(model.requests)) == ("unreachable", 8)


@pytest.mark.django_db
def test_a_wait_that_was_asked_for_is_kept_and_climbs_nothing(model: FakeModel) -> None:
    body = fixture("error__openai_429_rate.json")
    model.script = [sends(body, 429, headers={"Retry-After": "20"})]
    with time_machine.travel(timezone.now(), tick=False) as clock:
        agent = saved(model)
        delivery = deliver(agent)
        run_until_idle()
        clock.shift(timedelta(seconds=19))
        run_until_idle()
        assert len(model.requests) == 1
        clock.shift(timedelta(seconds=4))
        run_until_idle()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.failures, len(model.requests)) == ("delivered", 0, 2)


@pytest.mark.django_db
def test_what_needs_a_person_is_told_until_it_is_mended(model: FakeModel) -> None:
    agent = saved(model)
    assert completions.attention(agent) == ""
    model.script = [sends(fixture("error__openai_401.json"), 401)]
    deliver(agent)
    run_until_idle()
    assert statuses(agent) == ["failed"]
    assert "refused the API key" in completions.attention(agent)
    deliver(agent)
    run_until_idle()
    assert completions.attention(agent) == ""


def test_models_that_think_hold_up_nobody(
    settings: Settings,
    model: FakeModel,
    receiver: Receiver,
    runner: LaneRunner,
    go_on: threading.Event,
) -> None:
    settings.MODEL_THREADS = 64
    model.always = waits(go_on, says("At last."))
    slow = [saved(model, f"slow {number}", concurrency=1) for number in range(50)]
    for agent in slow:
        deliver(agent)
    until(lambda: len(model.requests) == 50, runner)
    quick = make_agent("quick", webhook_url=receiver.url)
    started = time.monotonic()
    for _ in range(20):
        deliver(quick)
    until(lambda: len(receiver.requests) == 20, runner)
    until(lambda: statuses(quick) == ["delivered"] * 20, runner)
    assert time.monotonic() - started < 5
    assert thinking.under_way() == 50
    go_on.set()
    until(lambda: not thinking.under_way())
    assert {status for agent in slow for status in statuses(agent)} == {"delivered"}


def test_an_agent_is_asked_no_more_at_once_than_it_may_be(
    model: FakeModel, runner: LaneRunner, go_on: threading.Event
) -> None:
    model.always = waits(go_on, says("At last."))
    agent = saved(model, concurrency=2)
    for _ in range(5):
        deliver(agent)
    until(lambda: len(model.requests) == 2, runner)
    for _ in range(5):
        runner.cycle()
    assert thinking.under_way() == 2
    go_on.set()
    until(lambda: statuses(agent) == ["delivered"] * 5, runner)


def test_beyond_the_threads_for_models_messages_wait_their_turn(
    settings: Settings, model: FakeModel, runner: LaneRunner, go_on: threading.Event
) -> None:
    settings.MODEL_THREADS = 2
    model.always = waits(go_on, says("At last."))
    agent = saved(model, concurrency=4)
    for _ in range(4):
        deliver(agent)
    until(lambda: thinking.under_way() == 4, runner)
    assert len(model.requests) <= 2
    go_on.set()
    until(lambda: statuses(agent) == ["delivered"] * 4, runner)


def test_messages_of_one_conversation_are_answered_one_after_the_other(
    model: FakeModel, runner: LaneRunner, go_on: threading.Event
) -> None:
    model.script = [waits(go_on, says("One."))]
    agent = saved(model)
    thread = make_conversation(agent, None)
    for _ in range(2):
        deliver(agent, thread)
    until(lambda: len(model.requests) == 1, runner)
    for _ in range(5):
        runner.cycle()
    assert len(model.requests) == 1
    go_on.set()
    until(lambda: statuses(agent) == ["delivered"] * 2, runner)
    assert [len(request["messages"]) for request in model.requests] == [1, 3]


def test_what_a_runner_began_is_recorded_when_the_runner_is_gone(
    model: FakeModel, runner: LaneRunner, go_on: threading.Event
) -> None:
    model.always = waits(go_on, says("At last."))
    agent = saved(model)
    delivery = deliver(agent, make_conversation(agent, None))
    until(lambda: model.requests, runner)
    assert runner.idle
    go_on.set()
    until(lambda: statuses(agent) == ["delivered"])
    assert Event.objects.filter(source="agent", trace=delivery.event.trace).count() == 1


def test_a_lease_is_renewed_for_as_long_as_the_model_thinks(
    monkeypatch: pytest.MonkeyPatch, model: FakeModel, runner: LaneRunner, go_on: threading.Event
) -> None:
    monkeypatch.setattr(thinking, "BEAT", 0.05)
    model.always = waits(go_on, says("At last."))
    delivery = deliver(saved(model))
    until(lambda: model.requests, runner)
    first = Delivery.objects.get(pk=delivery.pk).next_attempt_at
    assert first is not None
    until(lambda: (Delivery.objects.get(pk=delivery.pk).next_attempt_at or first) > first)
    assert first - timezone.now() <= LEASE


@pytest.mark.django_db
def test_a_message_whose_worker_died_is_sent_again_within_a_minute(model: FakeModel) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        agent = saved(model)
        delivery = deliver(agent)
        with engine_transaction():
            # Claimed, and nobody is there to send it or to renew its lease.
            claimed, _more = claim(LaneRunner(ThreadPoolExecutor(1), 1).token, 1, timezone.now())
        assert len(claimed) == 1
        run_until_idle()
        assert model.requests == []
        clock.shift(timedelta(seconds=50))
        run_until_idle()
    verdicts = Attempt.objects.filter(delivery=delivery).order_by("number")
    assert list(verdicts.values_list("error_class", flat=True)) == ["interrupted", ""]
    assert statuses(agent) == ["delivered"]


@pytest.mark.django_db
def test_a_lease_that_is_somebody_elses_is_not_renewed(model: FakeModel) -> None:
    delivery = deliver(saved(model))
    with engine_transaction():
        claimed, _more = claim(LaneRunner(ThreadPoolExecutor(1), 1).token, 1, timezone.now())
    assert thinking.renew(claimed) == 1
    other = LaneRunner(ThreadPoolExecutor(1), 1).token
    Delivery.objects.filter(pk=delivery.pk).update(claim=other)
    assert thinking.renew(claimed) == 0
    Delivery.objects.filter(pk=delivery.pk).update(claim=None)
    assert thinking.renew(claimed) == 0


def test_an_answer_that_comes_after_its_lease_is_left_to_the_new_owner(
    model: FakeModel, runner: LaneRunner, go_on: threading.Event
) -> None:
    model.script = [waits(go_on, says("Too late."))]
    agent = saved(model)
    delivery = deliver(agent, make_conversation(agent, None))
    until(lambda: model.requests, runner)
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=timezone.now())
    until(lambda: statuses(agent) == ["delivered"], runner)
    go_on.set()
    until(lambda: not thinking.under_way())
    answers = Event.objects.filter(source="agent", trace=delivery.event.trace)
    assert answers.count() == 1
    assert delivery.attempts.count() == 2


def test_an_outcome_waits_for_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch, model: FakeModel, runner: LaneRunner, go_on: threading.Event
) -> None:
    monkeypatch.setattr(thinking, "PATIENCE", 0.01)
    real, failures = thinking.record_singly, [OperationalError("away")] * 3

    def record_later(*arguments: object) -> None:
        if failures:
            raise failures.pop()
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(thinking, "record_singly", record_later)
    agent = saved(model)
    deliver(agent)
    until(lambda: statuses(agent) == ["delivered"], runner)
    assert failures == []
    assert len(model.requests) == 1


def test_an_agent_that_was_switched_meanwhile_is_tried_at_its_new_place(
    model: FakeModel, receiver: Receiver, runner: LaneRunner, go_on: threading.Event
) -> None:
    model.always = waits(go_on, sends(fixture("error__ollama_500.json"), 500))
    agent = saved(model)
    deliver(agent)
    until(lambda: model.requests, runner)
    agent.connection_mode, agent.webhook_url = Agent.Mode.WEBHOOK, receiver.url
    agent.save()
    agent.secrets.create(value="c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTAwMDE=")
    go_on.set()
    until(lambda: statuses(agent) == ["delivered"], runner)
    assert len(receiver.requests) == 1
    assert Lane.objects.get(pk=agent.lane_id).failures == 0
