"""How agents are reached: one file per connection mode, loaded by lane for the engine."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from agents.models import Agent
from deliveries.destinations import Destination
from deliveries.models import Lane

from . import completions, pull, webhook, websocket

__all__ = ["load"]

# Each makes destinations, by lane id, of the agents of its mode; with as many queries as it takes
# for all of them together.
LOADERS: Mapping[str, Callable[[Sequence[Agent]], Mapping[int, Destination]]] = {
    Agent.Mode.WEBHOOK: webhook.load,
    Agent.Mode.WEBSOCKET: websocket.load,
    Agent.Mode.PULL: pull.load,
    Agent.Mode.COMPLETIONS: completions.load,
}


def load(lanes: Iterable[Lane]) -> Mapping[int, Destination]:
    """Return the agents of these lanes as destinations by lane id."""
    by_mode: dict[str, list[Agent]] = {}
    for agent in Agent.objects.filter(lane__in=[lane.pk for lane in lanes]):
        by_mode.setdefault(agent.connection_mode, []).append(agent)
    found: dict[int, Destination] = {}
    for mode, agents in by_mode.items():
        found.update(LOADERS[mode](agents))
    return found
