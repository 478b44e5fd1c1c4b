"""The public key of an agent, for which its envelopes are sealed."""

from agents.models import Agent
from agents.sealing import check_public_key
from agents.storage import forget_waiting
from deliveries.lanes import touch


def set_public_key(agent: Agent, public_key: str) -> None:
    """Seal what the agent is sent from now on for this X25519 key, base64; empty: seal nothing.

    What waits is sealed when it is sent, so it follows, too. Raises ValidationError for a key
    that is none.
    """
    if public_key:
        check_public_key(public_key)
    agent.public_key = public_key.strip()
    Agent.objects.filter(pk=agent.pk).update(public_key=agent.public_key)
    touch(agent.lane_id)
    # What was kept for it is sealed for the old key, or not at all.
    forget_waiting(agent)
