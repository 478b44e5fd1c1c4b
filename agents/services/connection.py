"""Changes of an agent's connection status (spec 002, unreachable)."""

import logging

from django.db import transaction
from django.utils import timezone

from agents.models import Agent
from deliveries.lanes import hold
from deliveries.services import release

logger = logging.getLogger(__name__)


def recover(agent: Agent) -> int:
    """Take an unreachable agent back and send what waited; return how many deliveries.

    0 and no change when the agent is not unreachable.
    """
    with transaction.atomic():
        changed = Agent.objects.filter(
            pk=agent.pk, connection_status=Agent.Status.UNREACHABLE
        ).update(connection_status=Agent.Status.READY, status_changed_at=timezone.now())
        if not changed:
            return 0
        waiting = release(agent.lane_id)
    logger.info("Agent %s is ready again; %d deliveries waited", agent.pk, waiting)
    return waiting


def mark_unreachable(agent: Agent) -> bool:
    """Hold everything for an agent whose deliveries fail; return whether that is news.

    ``agent`` says which connection failed: one that was switched meanwhile stays as it is.
    """
    with transaction.atomic():
        changed = Agent.objects.filter(
            pk=agent.pk,
            connection_mode=agent.connection_mode,
            webhook_url=agent.webhook_url,
            connection_status=Agent.Status.READY,
        ).update(connection_status=Agent.Status.UNREACHABLE, status_changed_at=timezone.now())
        if changed:
            hold(agent.lane_id)
            logger.warning(
                "Agent %s is unreachable; its deliveries wait until it is recovered", agent.pk
            )
    return bool(changed)
