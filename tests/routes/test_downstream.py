"""What `webhook test` tells of an event after the gateway has answered."""

import threading
import time

import pytest
from django.db import connection

from agents.services import default_agent
from deliveries.models import Delivery, Event, Lane
from platforms.models import Channel
from routes.management.downstream import follow
from tests.admin.rows import a_delivery, an_attempt, an_event

pytestmark = pytest.mark.django_db

SECONDS = 0.5


def told(event: Event, seconds: float = SECONDS) -> list[str]:
    return list(follow(event, seconds))


def log_lane() -> int:
    return Channel.objects.get(name="log").lane_id


def test_a_chain_is_told_from_the_event_to_the_delivery_of_the_answer() -> None:
    event = an_event(route="r")
    Lane.objects.filter(pk=default_agent().lane_id).update(state=Lane.State.OPEN)
    asked = a_delivery(default_agent().lane_id, event=event)
    an_attempt(asked, 1, "delivered")
    answer = an_event("message.new", route="", source="agent", trace=event.trace)
    answered = a_delivery(log_lane(), "failed", event=answer, error_class="chat_not_found")
    an_attempt(answered, 1, "failed", error="There is no such chat.")
    lines = told(event)
    assert lines[0].startswith(
        "Event   pull_request: http://localhost:8644/admin/deliveries/event/"
    )
    assert lines[1] == "Deliver to agent default: attempt 1 delivered in 154 ms"
    assert lines[2].startswith("Deliver to agent default: delivered, http://")
    assert lines[3] == "Answer  to channel log: attempt 1 failed in 154 ms: There is no such chat."
    assert lines[4].startswith("Answer  to channel log: failed (chat_not_found), http://")
    assert len(lines) == 5


def test_a_delivery_that_waits_for_its_agent_ends_the_watch_and_says_so() -> None:
    event = an_event(route="r")
    Lane.objects.filter(pk=default_agent().lane_id).update(state=Lane.State.HELD)
    a_delivery(default_agent().lane_id, "pending", event=event)
    started = time.monotonic()
    lines = told(event, seconds=30)
    assert time.monotonic() - started < 5
    assert lines[-1] == (
        "Deliver to agent default: waits: agent default is not connected, off or unreachable"
    )


def test_an_agent_that_says_nothing_is_waited_for_no_longer_than_told() -> None:
    event = an_event(route="r")
    a_delivery(default_agent().lane_id, event=event)
    assert told(event)[-1].startswith("Nothing more within 0.5 s; see http://")


@pytest.mark.django_db(transaction=True)
def test_what_happens_meanwhile_is_told_once() -> None:
    event = an_event(route="r")
    delivery = a_delivery(log_lane(), "pending", event=event)

    def deliver() -> None:
        time.sleep(0.3)
        an_attempt(delivery, 1, "delivered")
        Delivery.objects.filter(pk=delivery.pk).update(status="delivered", pending_lane=None)
        connection.close()

    thread = threading.Thread(target=deliver)
    thread.start()
    lines = told(event, seconds=10)
    thread.join()
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "Deliver to channel log: attempt 1 delivered in 154 ms",
        "Deliver to channel log: delivered",
    ]
