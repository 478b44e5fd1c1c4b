"""One chain as a list: an event, what was sent for it, the answer, what was sent for that."""

from dataclasses import dataclass, field
from uuid import UUID

from deliveries.models import Delivery, Event

from .places import with_lanes

# A chain is an event, an answer or two and their deliveries; a runaway one is cut.
EVENTS = 20
DELIVERIES = 60


@dataclass(slots=True)
class Step:
    """An event of the chain and its deliveries, oldest first."""

    event: Event
    deliveries: list[Delivery] = field(default_factory=list)


def chain(trace: UUID) -> list[Step]:
    """Return what belongs to one trace, in the order in which it happened."""
    events = Event.objects.filter(trace=trace).order_by("pk").defer("headers")[:EVENTS]
    steps = {event.pk: Step(event) for event in events}
    for delivery in with_lanes(Delivery.objects.filter(event__in=list(steps)).order_by("pk"))[
        :DELIVERIES
    ]:
        steps[delivery.event_id].deliveries.append(delivery)
    return list(steps.values())
