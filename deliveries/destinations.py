"""What the engine asks of a place it can send to; agents and channels register here."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from django.db import DatabaseError
from django.utils.translation import gettext as _

from .ladder import AGENT_LADDER, Ladder, Top
from .outcomes import Message, Outcome

if TYPE_CHECKING:
    from .claims import Claimed
    from .models import Delivery, Lane


class Destination(Protocol):
    """A place that takes deliveries. Instances are shared by threads and hold no state."""

    #: The waits between attempts and what comes after the last.
    ladder: Ladder
    #: The longest one attempt may take, in seconds; a claim is leased for a little more.
    budget: float

    def send(self, message: Message) -> Outcome:
        """Send once; never raise for what the other side may do. Runs outside a transaction."""
        ...

    def answered(self, delivery: "Delivery", message: Message, outcome: Outcome) -> None:
        """Take what came back with a success; runs in the transaction that records it."""
        ...

    def faulted(self, outcome: Outcome) -> None:
        """Note a credential or configuration fault; runs in the transaction that records it."""
        ...

    def give_up(self) -> None:
        """Mark the destination unreachable after a whole ladder failed; in the same transaction."""
        ...

    def expired(self, delivery: "Delivery") -> None:
        """Tell whoever sent it that a delivery was dropped after its 24 h; same transaction."""
        ...


class SlowDestination(Destination, Protocol):
    """A place that takes minutes: it sends apart from the runner's threads.

    Its ``budget`` is then how long it may go without renewing the lease.
    """

    def take_over(self, claimed: "Claimed") -> None:
        """Send a claimed delivery and record what came of it (`results.record_singly`), both
        later and under the claim that it came with; return at once."""
        ...


logger = logging.getLogger(__name__)

Loader = Callable[[Iterable["Lane"]], Mapping[int, Destination]]

_loaders: dict[str, Loader] = {}


def register(kind: str, loader: Loader) -> None:
    """Let lanes of ``kind`` be loaded by ``loader``, which maps lane ids to destinations.

    A lane missing from the answer has lost its destination (the agent or channel was deleted).
    """
    _loaders[kind] = loader


class Unloadable:
    """Stands in for a destination whose settings can't be read (no key opens its secret …).

    What is for it climbs the ladder, as an operator can mend this.
    """

    ladder = Ladder(AGENT_LADDER.rungs, Top.FAIL)
    budget = 10.0

    def __init__(self, error: Exception) -> None:
        self._fault = type(error).__name__  # its text may hold what could not be read

    def send(self, message: Message) -> Outcome:
        """Return a retry that names the fault."""
        return Outcome.retry(
            "unloadable",
            _("The settings of this destination can't be read (%(fault)s); see the log.")
            % {"fault": self._fault},
        )

    def answered(self, delivery: "Delivery", message: Message, outcome: Outcome) -> None:
        """Do nothing: it delivers nothing."""

    def faulted(self, outcome: Outcome) -> None:
        """Do nothing: nobody can be told."""

    def give_up(self) -> None:
        """Do nothing: its ladder ends with the delivery."""

    def expired(self, delivery: "Delivery") -> None:
        """Do nothing: nobody can be told."""


def load(lanes: Iterable["Lane"]) -> dict[int, Destination]:
    """Return the destinations of these lanes by lane id, with one loader call per kind."""
    by_kind: dict[str, list[Lane]] = {}
    for lane in lanes:
        by_kind.setdefault(lane.kind, []).append(lane)
    found: dict[int, Destination] = {}
    for kind, group in by_kind.items():
        try:
            found.update(_loaders[kind](group))
        except DatabaseError:
            raise
        except Exception:
            # One of them is broken; the others must not suffer.
            for lane in group:
                found.update(_load_alone(lane))
    return found


def _load_alone(lane: "Lane") -> Mapping[int, Destination]:
    try:
        return _loaders[lane.kind]([lane])
    except DatabaseError:
        raise
    except Exception as error:
        logger.exception("lane %s: its destination can't be loaded", lane.label)
        return {lane.pk: Unloadable(error)}
