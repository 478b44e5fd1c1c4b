"""What every connection mode of an agent shares as a destination of the engine."""

import logging

from django.core.exceptions import ValidationError

from agents.models import Agent
from agents.services.connection import mark_unreachable
from agents.services.messages import UnknownConversation, post_message, tell_expired
from deliveries.ladder import AGENT_LADDER, Ladder
from deliveries.models import Delivery
from deliveries.outcomes import Message, Outcome

logger = logging.getLogger(__name__)

BUDGET = 10.0  # "超过 10 秒未响应: 视为超时" (spec 002)


class AgentDestination:
    """An agent as the engine sees it, as it was when the lane's version was read."""

    ladder: Ladder = AGENT_LADDER
    budget: float = BUDGET

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def answered(self, delivery: Delivery, message: Message, outcome: Outcome) -> None:
        """Post the answer that came with an acknowledgement; once per delivery.

        An answer that cannot be posted is logged and left: raising here would undo the records
        of every other attempt of the cycle.
        """
        if outcome.answer is None:
            return
        try:
            post_message(
                self.agent,
                message.conversation_id,
                outcome.answer,
                trace=message.trace,
                dedupe=f"answer:{delivery.pk}",
            )
        except (UnknownConversation, ValidationError) as error:
            logger.warning("The answer to delivery %s has no place: %s", delivery.pk, error)

    def faulted(self, outcome: Outcome) -> None:
        """Do nothing: an agent has no credentials of ours that could be at fault."""

    def give_up(self) -> None:
        """Mark the agent unreachable."""
        mark_unreachable(self.agent)

    def expired(self, delivery: Delivery) -> None:
        """Tell the sender, in the conversation, that the agent did not get the message."""
        tell_expired(self.agent, delivery)
