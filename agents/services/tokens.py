"""Bearer tokens of agents: made once, shown once, kept as digests."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from agents.models import Agent, AgentToken
from agents.selectors import live_tokens

from .governance import tell_revoked

PREFIX = "hsk_"
RANDOM_BYTES = 32
# "Last used" is for people: a write per request would cost more than it tells.
LAST_USED_EVERY = timedelta(minutes=1)
# An agent that rotates in a circle must not fill the table.
MOST_LIVE = 20
PURGE_BATCH = 500


class TooManyTokens(Exception):
    """The agent has as many valid tokens as it may have."""

    def __init__(self) -> None:
        super().__init__(
            _("The agent has %(count)d valid tokens already; revoke some first.")
            % {"count": MOST_LIVE}
        )


def issue_token(agent: Agent) -> str:
    """Return a new token of an agent; only its digest is kept, so this is its one showing."""
    token = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    AgentToken.objects.create(
        agent=agent, digest=_digest(token), last_four=token[-4:], created_at=timezone.now()
    )
    return token


def rotate_token(token: AgentToken, overlap: timedelta) -> str:
    """Return a successor of a token, which ends after the overlap, or sooner if it was to.

    Other tokens of the agent stay: they may be those of its other machines. Raises TooManyTokens
    when it has 20 valid ones, ValueError for a negative overlap.
    """
    if overlap < timedelta(0):
        raise ValueError("The overlap of a rotation can't be negative.")
    now = timezone.now()
    with transaction.atomic():
        # Locked, so that two rotations at once count one after the other.
        agent = Agent.objects.select_for_update(no_key=True).get(pk=token.agent_id)
        if live_tokens(now).filter(agent=agent).count() >= MOST_LIVE:
            raise TooManyTokens
        new = issue_token(agent)
        ends = now + overlap
        AgentToken.objects.filter(Q(not_after=None) | Q(not_after__gt=ends), pk=token.pk).update(
            not_after=ends
        )
    return new


def revoke_token(token: AgentToken) -> bool:
    """End a token now; return whether it was still valid. Its row stays, to tell of it."""
    now = timezone.now()
    with transaction.atomic():
        revoked = bool(live_tokens(now).filter(pk=token.pk).update(not_after=now))
        if revoked:
            tell_revoked(token)
    return revoked


def purge_tokens(now: datetime) -> int:
    """Forget tokens that ended as long ago as the ledger is kept; return how many."""
    before = now - timedelta(days=settings.LEDGER_DAYS)
    ended = AgentToken.objects.filter(not_after__lt=before).order_by("pk")
    rows = list(ended.values_list("pk", flat=True)[:PURGE_BATCH])
    return AgentToken.objects.filter(pk__in=rows).delete()[0] if rows else 0


def authenticate(token: str) -> AgentToken | None:
    """Return the live token of this text with its agent, or None.

    It is looked up by its digest, so timing tells nothing about stored tokens. Its use is noted,
    at most once a minute.
    """
    now = timezone.now()
    # Without the one column that would have to be decrypted, for which no caller asks.
    rows = live_tokens(now).select_related("agent").defer("agent__endpoint_key")
    found = rows.filter(digest=_digest(token)).first()
    if found and (found.last_used_at is None or now - found.last_used_at >= LAST_USED_EVERY):
        AgentToken.objects.filter(pk=found.pk, last_used_at=found.last_used_at).update(
            last_used_at=now
        )
    return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
