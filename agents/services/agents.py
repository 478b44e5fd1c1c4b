"""Changes of which agent is meant where none is named."""

from django.db import transaction

from agents.models import Agent


def make_default(agent: Agent) -> None:
    """Let routes that name no agent use this one; whichever had the mark loses it."""
    with transaction.atomic():
        Agent.objects.filter(is_default=True).exclude(pk=agent.pk).update(is_default=False)
        agent.is_default = True
        agent.save(update_fields=["is_default"])
