"""Changes of an agent's connection status (spec 002, unreachable)."""

import logging

from django.db import transaction
from django.utils import timezone

from agents.models import Agent, Connection
from deliveries import fetching
from deliveries.lanes import hold
from deliveries.services import release
from deliveries.transactions import engine_transaction

from .presence import FETCHING

logger = logging.getLogger(__name__)


def recover(agent: Agent) -> int:
    """Take an unreachable agent back and send what waited; return how many deliveries.

    0 and no change when the agent is not unreachable, or suspended. One whose mode is to fetch
    gets what waited when it asks, and is ready in pull mode, as it may be the one that calls.
    """
    with engine_transaction():
        row = Agent.objects.filter(
            pk=agent.pk, connection_status=Agent.Status.UNREACHABLE, suspended_at=None
        )
        mode = row.values_list("connection_mode", flat=True).first()
        if mode is None:
            return 0
        waiting = (fetching.restart if mode in FETCHING else release)(agent.lane_id)
        gone = mode == Agent.Mode.WEBSOCKET and not Connection.objects.filter(agent=agent).exists()
        row.update(
            connection_status=Agent.Status.OFFLINE if gone else Agent.Status.READY,
            status_changed_at=timezone.now(),
        )
    logger.info("Agent %s was recovered; %d deliveries waited", agent.pk, waiting)
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
