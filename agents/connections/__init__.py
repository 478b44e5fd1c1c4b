"""How agents are reached: one file per connection mode, loaded by lane for the engine."""

from collections.abc import Iterable, Mapping

from agents.models import Agent, AgentSecret
from deliveries.destinations import Destination
from deliveries.models import Lane

from .webhook import WebhookDestination
from .websocket import WebSocketDestination

__all__ = ["load"]


def load(lanes: Iterable[Lane]) -> Mapping[int, Destination]:
    """Return the agents of these lanes as destinations by lane id, in two queries."""
    agents = list(Agent.objects.filter(lane__in=[lane.pk for lane in lanes]))
    by_webhook = [agent for agent in agents if agent.connection_mode == Agent.Mode.WEBHOOK]
    secrets: dict[object, list[str]] = {agent.pk: [] for agent in by_webhook}
    for secret in AgentSecret.objects.live().filter(agent__in=by_webhook):
        secrets[secret.agent_id].append(secret.value)
    return {
        agent.lane_id: WebhookDestination(agent, secrets[agent.pk])
        if agent.connection_mode == Agent.Mode.WEBHOOK
        else WebSocketDestination(agent)
        for agent in agents
    }
