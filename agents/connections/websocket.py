"""The websocket mode: the agent fetches by itself, so the engine has nothing to send."""

from django.utils.translation import gettext as _

from deliveries.outcomes import Message, Outcome

from .destination import AgentDestination


class WebSocketDestination(AgentDestination):
    """An agent whose lane is held: what it gets waits until it connects."""

    def send(self, message: Message) -> Outcome:
        """Return a retry, so that even a lane opened by mistake loses nothing."""
        return Outcome.retry("offline", _("The agent is not connected."))
