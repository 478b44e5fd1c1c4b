"""What became of an event: what it set off, told line by line while it happens."""

import time
from collections.abc import Iterator
from uuid import UUID

from django.conf import settings
from django.urls import reverse

from agents.models import Agent
from deliveries.models import Delivery, Event, Lane

LOOK_EVERY = 0.2  # seconds
STATES = {
    Lane.State.HELD: "waits: {to} is not connected, off or unreachable",
    Lane.State.FAILING: "waits: {to} fails, and is only probed",
}


def follow(event: Event, seconds: float) -> Iterator[str]:
    """Yield what becomes of an event.

    Ends when nothing more is to come, when what is left waits for somebody, or after so many
    seconds; the last line then says where to look.
    """
    yield f"Event   {event.type}: {_page('event', event.pk)}"
    deadline = time.monotonic() + seconds
    told: set[str] = set()
    while True:
        chain = _chain(event.trace)
        for line in (line for one in chain for line in _lines(one) if line not in told):
            told.add(line)
            yield line
        if _is_over(chain):
            return
        if time.monotonic() > deadline:
            yield f"Nothing more within {seconds:g} s; see {_page('event', event.pk)}"
            return
        time.sleep(LOOK_EVERY)


def _chain(trace: UUID) -> list[Delivery]:
    rows = Delivery.objects.filter(event__trace=trace).order_by("pk")
    return list(rows.select_related("event", "lane").prefetch_related("attempts"))


def _is_over(chain: list[Delivery]) -> bool:
    """Return whether nothing more is to be expected.

    That is when all that is pending waits for somebody, or nothing is and every agent that took
    the event has answered.
    """
    pending = [one for one in chain if one.status == Delivery.Status.PENDING]
    if pending:
        return all(map(_is_held, pending))
    asked = any(
        one.lane.kind == "agent" and one.status == Delivery.Status.DELIVERED for one in chain
    )
    answered = any(one.event.source == Event.Source.AGENT for one in chain)
    return bool(chain) and (answered or not asked)


def _is_held(delivery: Delivery) -> bool:
    """Return whether nothing will fetch or send it for now."""
    if delivery.lane.state not in STATES or delivery.claim is not None:
        return False
    # A connected agent takes from its held lane by itself.
    ready = Agent.objects.filter(connection_status=Agent.Status.READY, suspended_at=None)
    return not ready.filter(lane=delivery.lane_id).exists()


def _lines(delivery: Delivery) -> Iterator[str]:
    to = f"{delivery.lane.kind} {delivery.lane.label}"
    what = "Answer " if delivery.event.source == Event.Source.AGENT else "Deliver"
    for attempt in sorted(delivery.attempts.all(), key=lambda one: one.number):
        if attempt.verdict == "sending":
            continue
        took = "" if attempt.duration_ms is None else f" in {attempt.duration_ms} ms"
        error = f": {attempt.error}" if attempt.error else ""
        yield f"{what} to {to}: attempt {attempt.number} {attempt.verdict}{took}{error}"
    if delivery.status != Delivery.Status.PENDING:
        why = f" ({delivery.error_class})" if delivery.error_class else ""
        yield f"{what} to {to}: {delivery.status}{why}, {_page('delivery', delivery.pk)}"
    elif _is_held(delivery):
        yield f"{what} to {to}: {STATES[Lane.State(delivery.lane.state)].format(to=to)}"


def _page(model: str, pk: UUID) -> str:
    return f"{settings.PUBLIC_URL}{reverse(f'admin:deliveries_{model}_change', args=[pk])}"
