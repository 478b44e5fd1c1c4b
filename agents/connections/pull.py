"""The pull mode: the agent asks for its deliveries, so the engine has nothing to send."""

from collections.abc import Mapping, Sequence

from django.utils.translation import gettext as _

from agents.models import Agent
from deliveries.destinations import Destination
from deliveries.outcomes import Message, Outcome

from .destination import AgentDestination


class PullDestination(AgentDestination):
    """An agent whose lane is held: it takes from it by `agents.api.deliveries`."""

    def send(self, message: Message) -> Outcome:
        """Return a retry, so that even a lane opened by mistake loses nothing."""
        return Outcome.retry("offline", _("The agent does not ask for its deliveries."))


def load(agents: Sequence[Agent]) -> Mapping[int, Destination]:
    """Return agents in pull mode as destinations by lane id."""
    return {agent.lane_id: PullDestination(agent) for agent in agents}
