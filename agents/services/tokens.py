"""Bearer tokens of agents: made once, shown once, kept as digests."""

import hashlib
import secrets
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from agents.models import Agent, AgentToken

PREFIX = "hsk_"
RANDOM_BYTES = 32
# "Last used" is for people: a write per request would cost more than it tells.
LAST_USED_EVERY = timedelta(minutes=1)


def issue_token(agent: Agent) -> str:
    """Return a new token of an agent; only its digest is kept, so this is its one showing."""
    token = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    AgentToken.objects.create(
        agent=agent, digest=_digest(token), last_four=token[-4:], created_at=timezone.now()
    )
    return token


def authenticate(token: str) -> AgentToken | None:
    """Return the live token of this text with its agent, or None.

    It is looked up by its digest, so timing tells nothing about stored tokens.
    """
    now = timezone.now()
    found = (
        AgentToken.objects.select_related("agent")
        .filter(Q(not_after=None) | Q(not_after__gt=now), digest=_digest(token))
        .first()
    )
    if found and (found.last_used_at is None or now - found.last_used_at >= LAST_USED_EVERY):
        AgentToken.objects.filter(pk=found.pk).update(last_used_at=now)
    return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
