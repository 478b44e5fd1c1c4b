"""The websocket mode: the agent fetches by itself, so the engine has nothing to send."""

from collections.abc import Mapping, Sequence

from django.utils.translation import gettext as _

from agents.models import Agent
from deliveries.destinations import Destination
from deliveries.outcomes import Message, Outcome

from .destination import AgentDestination


class WebSocketDestination(AgentDestination):
    """An agent whose lane is held: its socket drains it (`agents.sockets`)."""

    def send(self, message: Message) -> Outcome:
        """Return a retry, so that even a lane opened by mistake loses nothing."""
        return Outcome.retry("offline", _("The agent is not connected."))


def load(agents: Sequence[Agent]) -> Mapping[int, Destination]:
    """Return agents in websocket mode as destinations by lane id."""
    return {agent.lane_id: WebSocketDestination(agent) for agent in agents}
