"""An agent's deliveries through the real engine and a real HTTP server."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from agents.models import Agent
from agents.services import recover
from deliveries.models import Delivery, Event, Lane
from deliveries.runner import run_until_idle
from deliveries.services import redeliver

from .conftest import deliver, make_agent, make_conversation
from .receiver import Receiver

pytestmark = pytest.mark.django_db

START = datetime(2026, 5, 15, 10, 0, tzinfo=UTC)


def test_an_answer_is_posted_once_though_its_delivery_is_sent_twice(receiver: Receiver) -> None:
    receiver.body = b'{"payload": {"type": "text", "text": "Looks good."}}'
    agent = make_agent("reviewer", webhook_url=receiver.url)
    delivery = deliver(agent, make_conversation(agent, None))
    run_until_idle()
    assert redeliver(delivery)
    run_until_idle()
    assert len(receiver.requests) == 2
    assert {got.headers["X-Hashee-Delivery-Id"] for got in receiver.requests} == {str(delivery.pk)}
    assert Event.objects.filter(source="agent", trace=delivery.event.trace).count() == 1


def test_eight_failures_lead_to_unreachable_and_recover_sends_what_waited_in_order(
    receiver: Receiver,
) -> None:
    receiver.status = 503
    with time_machine.travel(START, tick=False) as clock:
        agent = make_agent("reviewer", webhook_url=receiver.url)
        made = [deliver(agent)]
        run_until_idle()
        for rung in (0, 30, 120, 480, 1920, 7200, 21600):
            clock.shift(timedelta(seconds=rung))
            run_until_idle()
        agent = Agent.objects.select_related("lane").get(pk=agent.pk)
        assert (agent.connection_status, agent.lane.state) == ("unreachable", Lane.State.HELD)
        assert len(receiver.requests) == 8
        made += [deliver(agent), deliver(agent)]
        run_until_idle()
        assert len(receiver.requests) == 8

        receiver.status = 200
        assert recover(agent) == 3
        run_until_idle()
    arrived = [got.headers["X-Hashee-Delivery-Id"] for got in receiver.requests[8:]]
    assert arrived == [str(delivery.pk) for delivery in made]
    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered"}


def test_a_skipped_event_is_a_failed_delivery_with_its_reason(receiver: Receiver) -> None:
    agent = make_agent("reviewer", webhook_url=receiver.url)
    delivery = deliver(agent)
    Delivery.objects.filter(pk=delivery.pk).update(event_type="reaction.update")
    run_until_idle()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.error_class) == ("failed", "not_for_webhook")
    assert "WebSocket" in delivery.attempts.get().error
    assert receiver.requests == []
