"""Taking an agent out of service and back, and what it is told of its own standing."""

import logging
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid5

from django.db import transaction
from django.utils import timezone

from agents.event_types import AUTH_EXPIRING, GOVERNANCE, SESSION_INVALIDATED
from agents.models import Agent, AgentToken
from deliveries.lanes import hold, release
from deliveries.models import Event
from deliveries.transactions import engine_transaction, write_transaction

from .events import emit
from .presence import FETCHING, announce

logger = logging.getLogger(__name__)

# How long before its end a token is told of, longest first; once in each.
NOTICES = (timedelta(days=7), timedelta(days=1))


def suspend(agent: Agent, *, by: object, reason: str = "") -> bool:
    """Take an agent out of service: it is sent nothing; return whether that is news.

    What comes in for it waits, as for one that is offline.
    """
    now = timezone.now()
    with engine_transaction():
        changed = Agent.objects.filter(pk=agent.pk, suspended_at=None).update(suspended_at=now)
        if changed:
            hold(agent.lane_id)
            transaction.on_commit(partial(announce, agent.pk))
            _tell_standing(agent, "suspended", reason, now)
            logger.warning("Agent %s was suspended by %s", agent.pk, by)
    agent.refresh_from_db(fields=["suspended_at"])
    return bool(changed)


def restore(agent: Agent, *, by: object, reason: str = "") -> bool:
    """Put a suspended agent back in service, and send what waited; return whether that is news.

    An agent that fetches, and one that is unreachable, gets it when it comes by itself.
    """
    now = timezone.now()
    with engine_transaction():
        changed = Agent.objects.filter(pk=agent.pk, suspended_at__isnull=False).update(
            suspended_at=None
        )
        if changed:
            _tell_standing(agent, "restored", reason, now)
            row = Agent.objects.get(pk=agent.pk)
            if row.connection_mode not in FETCHING and row.connection_status == row.Status.READY:
                release(agent.lane_id)
            logger.info("Agent %s was restored by %s", agent.pk, by)
    agent.refresh_from_db(fields=["suspended_at"])
    return bool(changed)


def tell_revoked(token: AgentToken) -> None:
    """Tell an agent that one of its tokens was revoked, and its socket to look; in the caller's
    transaction."""
    emit(token.agent, SESSION_INVALIDATED, {"token": str(token), "reason": "revoked"})
    transaction.on_commit(partial(announce, token.agent_id))


def warn_expiring(now: datetime) -> int:
    """Tell agents of tokens that end within 7 days, and again within one; return how many.

    A duty of the clockwork. That a notice was given stands in the ledger, under a trace of the
    token's own.
    """
    soon = AgentToken.objects.filter(not_after__gt=now, not_after__lte=now + NOTICES[0])
    return sum(_warn(token, now) for token in soon.select_related("agent"))


def _warn(token: AgentToken, now: datetime) -> bool:
    end = token.not_after
    if end is None:
        return False
    span = min(span for span in NOTICES if end - now <= span)
    trace = _trace_of(token)
    with write_transaction():
        if Event.objects.filter(trace=trace, received_at__gte=end - span).exists():
            return False
        payload = {"token": str(token), "expires_at": end.isoformat()}
        emit(token.agent, AUTH_EXPIRING, payload, trace=trace)
    return True


def _trace_of(token: AgentToken) -> UUID:
    return uuid5(token.agent_id, f"token:{token.pk}")


def _tell_standing(agent: Agent, state: str, reason: str, at: datetime) -> None:
    emit(agent, GOVERNANCE, {"state": state, "reason": reason, "at": at.isoformat()})
