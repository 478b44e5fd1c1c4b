"""A place to deliver to, for tests of the engine: it takes what its script says."""

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any
from uuid import UUID

from deliveries.destinations import Destination, register
from deliveries.ladder import AGENT_LADDER, Ladder
from deliveries.models import Delivery, Lane
from deliveries.outcomes import Message, Outcome
from deliveries.record import NewDelivery, NewEvent, record

KIND = "place"
OK = Outcome.delivered(status=200)
DOWN = Outcome.retry("server_error", "HTTP 503", status=503)
REFUSED = Outcome.failed("client_error", "HTTP 400", status=400)


class Place:
    """Answers by its script, then OK for ever; remembers what it was sent."""

    def __init__(self, lane: Lane) -> None:
        self.lane_id = lane.pk
        self.ladder: Ladder = AGENT_LADDER
        self.budget = 10.0
        self.script: list[Outcome | Callable[[Message], Outcome]] = []
        self.always: Outcome | Callable[[Message], Outcome] = OK
        self.sent: list[Message] = []
        self.gave_up = 0
        self.faults: list[Outcome] = []
        self.answers: list[Outcome] = []
        self.expirations: list[UUID] = []
        self._lock = threading.Lock()

    def send(self, message: Message) -> Outcome:
        with self._lock:
            self.sent.append(message)
            step = self.script.pop(0) if self.script else self.always
        return step(message) if callable(step) else step

    def answered(self, delivery: Delivery, message: Message, outcome: Outcome) -> None:
        self.answers.append(outcome)

    def faulted(self, outcome: Outcome) -> None:
        self.faults.append(outcome)

    def give_up(self) -> None:
        self.gave_up += 1

    def expired(self, delivery: Delivery) -> None:
        self.expirations.append(delivery.pk)

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.sent]


class Later(Executor):
    """An executor that runs nothing until told."""

    def __init__(self) -> None:
        self.work: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.work.append((fn, args))
        return Future()

    def run_one(self) -> None:
        fn, args = self.work.pop(0)
        fn(*args)

    def run_all(self) -> None:
        while self.work:
            self.run_one()

    @property
    def texts(self) -> list[str]:
        return [args[0].message.text for _, args in self.work]


_places: dict[int, Place] = {}
_versions = itertools.count(1)


_unreadable: set[int] = set()


def _load(lanes: Iterable[Lane]) -> dict[int, Destination]:
    if _unreadable & {lane.pk for lane in lanes}:
        raise ValueError("hunter2 is no key")
    return {lane.pk: _places[lane.pk] for lane in lanes if lane.pk in _places}


register(KIND, _load)


def make_place(label: str = "place", cap: int = 4, **lane: Any) -> Place:
    """Return a new place with its lane."""
    # Runners keep a destination for as long as its lane's version stands; a rolled back test
    # would hand its lane's id on to the next.
    row = Lane.objects.create(kind=KIND, label=label, cap=cap, version=next(_versions), **lane)
    _places[row.pk] = Place(row)
    return _places[row.pk]


def lose(place: Place) -> None:
    """Let the place be gone, with its lane left behind."""
    del _places[place.lane_id]


def lose_settings(place: Place) -> Callable[[], None]:
    """Let the place be there but not to be loaded, until the function returned is called."""
    _unreadable.add(place.lane_id)
    return lambda: _unreadable.discard(place.lane_id)


def post(place: Place, *texts: str, conversation: UUID | None = None) -> list[Delivery]:
    """Record one event and delivery per text; return the deliveries."""
    made = []
    for text in texts:
        event = NewEvent(source="route", type="push", body=b"{}", route="r")
        new = NewDelivery(
            event=event,
            lane_id=place.lane_id,
            event_type="message.new",
            payload={"type": "text", "text": text},
            conversation_id=conversation,
        )
        record([event], [new])
        made.append(new.id)
    return [Delivery.objects.get(pk=pk) for pk in made]


def by_status(place: Place) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for delivery in Delivery.objects.filter(lane_id=place.lane_id):
        counts[delivery.status] += 1
    return dict(counts)
