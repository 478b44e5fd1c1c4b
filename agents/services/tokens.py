"""Bearer tokens of agents: made once, shown once, kept as digests."""

import hashlib
import secrets
from datetime import timedelta

from django.utils import timezone

from agents.models import Agent, AgentToken
from agents.selectors import live_tokens

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


def revoke_token(token: AgentToken) -> bool:
    """End a token now; return whether it was still valid. Its row stays, to tell of it."""
    now = timezone.now()
    return bool(live_tokens(now).filter(pk=token.pk).update(not_after=now))


def authenticate(token: str) -> AgentToken | None:
    """Return the live token of this text with its agent, or None.

    It is looked up by its digest, so timing tells nothing about stored tokens.
    """
    now = timezone.now()
    found = live_tokens(now).select_related("agent").filter(digest=_digest(token)).first()
    if found and (found.last_used_at is None or now - found.last_used_at >= LAST_USED_EVERY):
        AgentToken.objects.filter(pk=found.pk).update(last_used_at=now)
    return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
