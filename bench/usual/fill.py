"""Work for the send bench: a backlog, a trickle, rungs."""

import statistics
import time
from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from agents.models import Agent
from deliveries.models import Attempt, Delivery
from deliveries.record import NewDelivery, NewEvent, record

TEXT = "x" * 600


def _new(agent: Agent) -> tuple[NewEvent, NewDelivery]:
    event = NewEvent(source="route", type="push", body=b"{}", route="bench")
    payload = {"type": "text", "text": TEXT}
    return event, NewDelivery(
        event=event,
        lane_id=agent.lane_id,
        event_type="message.new",
        payload=payload,
        metadata={"sender_id": "bench"},
    )


def _agents() -> list[Agent]:
    return list(Agent.objects.exclude(name="default").order_by("id"))


def fill(count: int, *, tasks: bool) -> None:
    """Record a backlog over all agents; with ``tasks``, as one django-q2 task each."""
    agents = _agents()
    made = [_new(agents[number % len(agents)]) for number in range(count)]
    with transaction.atomic():
        record([event for event, _ in made], [delivery for _, delivery in made])
        if tasks:
            Delivery.objects.filter(pk__in=[new.id for _, new in made]).update(next_attempt_at=None)
            for _event, new in made:
                async_task("bench.usual.tasks.send", str(new.id))


def trickle(seconds: float, *, rate: float) -> None:
    """Record deliveries at an even pace; print the id and the unix time of each."""
    agents = _agents()
    started = time.time()
    for number in range(int(seconds * rate)):
        time.sleep(max(0.0, started + number / rate - time.time()))
        event, new = _new(agents[number % len(agents)])
        with transaction.atomic():
            record([event], [new])
        print(new.id, f"{time.time():.6f}")


def punctuality() -> str:
    """Schedule rungs over five seconds and record fresh deliveries; say how late each started."""
    agents = _agents()
    due = {}
    now = timezone.now()
    for number in range(200):
        event, new = _new(agents[number % len(agents)])
        due[new.id] = now + timedelta(seconds=2 + number * 0.025)
        with transaction.atomic():
            record([event], [new])
            Delivery.objects.filter(pk=new.id).update(next_attempt_at=due[new.id], failures=2)
    time.sleep(8)
    started = dict(Attempt.objects.filter(delivery__in=due).values_list("delivery", "started_at"))
    late = sorted(1000 * (started[pk] - due[pk]).total_seconds() for pk in due)
    fresh = Attempt.objects.filter(number=1, delivery__failures=0).order_by("-id")[:3000]
    waits = [
        1000 * (row.started_at - row.delivery.created_at).total_seconds()
        for row in fresh.select_related("delivery")
        if row.delivery.created_at > now - timedelta(minutes=2)
    ]
    return (
        f"rungs start late by p50 {statistics.median(late):.1f} ms, "
        f"p99 {late[int(0.99 * len(late))]:.1f} ms; first attempts start "
        f"p50 {statistics.median(waits):.1f} ms after the record"
    )
