"""Artifacts: forms before a person. Their life, and those in which an agent asks something."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from agents.event_types import ARTIFACT_EXPIRED, ARTIFACT_RESPONSE
from agents.models import Agent, Artifact, Conversation
from agents.questions import check_question
from deliveries.transactions import write_transaction

from .events import emit
from .messages import UnknownConversation, post_message

logger = logging.getLogger(__name__)

LIFE = timedelta(days=1)
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=30)
# An agent in a loop must not bury what else a person is asked.
OPEN_LIMIT = 100
EXPIRE_BATCH = 100
PURGE_BATCH = 500
# Who answered by the link; it names nobody, as whoever has it may answer.
BY_LINK = "link"


class DecisionRefused(Exception):
    """A decision that can not be carried out, mostly as it came too late; the text says why."""


class TooManyOpen(Exception):
    """An agent that has as many open forms as it may have."""


def ask(
    agent: Agent,
    *,
    title: Any,
    fields: Any,
    text: Any = "",
    conversation_id: UUID | None = None,
    life: timedelta = LIFE,
) -> Artifact:
    """Put an agent's question before a person; return its form.

    With a conversation, the link to it is sent there. Raises ValidationError by field,
    UnknownConversation for one that is not the agent's, TooManyOpen.
    """
    question = check_question(title, text, fields)
    if not SHORTEST <= life <= LONGEST:
        raise ValidationError({"expires_in": _("A form lives for 1 minute to 30 days.")})
    now = timezone.now()
    with write_transaction():
        conversation = _conversation(agent, conversation_id)
        if still_open(now).filter(agent=agent, kind=Artifact.Kind.FORM).count() >= OPEN_LIMIT:
            raise TooManyOpen(
                _("%(count)d forms of this agent are open; no more until some are answered.")
                % {"count": OPEN_LIMIT}
            )
        artifact = Artifact.objects.create(
            agent=agent,
            kind=Artifact.Kind.FORM,
            form=question,
            conversation=conversation,
            created_at=now,
            expires_at=now + life,
        )
        if conversation is not None:
            payload = {"type": "text", "text": _invitation(artifact)}
            post_message(agent, conversation.pk, payload)
    return artifact


def answer(artifact: Artifact, given: Mapping[str, Any], *, by: str) -> None:
    """Take a person's answer and send it to the agent; ``given`` is what its form cleaned.

    Raises DecisionRefused, with nothing changed, for a form that is no longer open.
    """
    now = timezone.now()
    with write_transaction():
        close(artifact, Artifact.State.CONFIRMED, now, answer=dict(given), decided_by=by)
        emit(
            artifact.agent,
            ARTIFACT_RESPONSE,
            {
                "artifact_id": str(artifact.pk),
                "answer": dict(given),
                "answered_at": now.isoformat(),
                "answered_by": by,
            },
            conversation=artifact.conversation,
        )
    logger.info("Artifact %s was answered by %s", artifact.pk, by)


def cancel(artifact: Artifact, *, by: str = "") -> None:
    """Close a form without effect; raise DecisionRefused when it was decided or has expired."""
    close(artifact, Artifact.State.CANCELLED, timezone.now(), decided_by=by)


def close(artifact: Artifact, state: str, now: datetime, **decision: Any) -> None:
    """Decide an open form, once; a secret that waits in it goes. Raises DecisionRefused."""
    changed = still_open(now).filter(pk=artifact.pk)
    if not changed.update(state=state, decided_at=now, secret="", **decision):
        raise DecisionRefused(why_closed(artifact))
    artifact.refresh_from_db()


def still_open(now: datetime) -> QuerySet[Artifact]:
    """Return the forms that can be decided at a moment."""
    return Artifact.objects.filter(state=Artifact.State.OPEN, expires_at__gt=now)


def is_open(artifact: Artifact) -> bool:
    """Return whether a form can still be decided."""
    return artifact.state == Artifact.State.OPEN and artifact.expires_at > timezone.now()


def supersede(agent: Agent, kind: str, now: datetime) -> None:
    """Cancel the open forms of a kind that a newer one of the agent takes the place of."""
    older = Artifact.objects.filter(agent=agent, kind=kind, state=Artifact.State.OPEN)
    older.update(state=Artifact.State.CANCELLED, decided_at=now, secret="")


def why_closed(artifact: Artifact) -> str:
    """Return the sentence that says why a form can no longer be decided."""
    match Artifact.objects.values_list("state", flat=True).get(pk=artifact.pk):
        case Artifact.State.CONFIRMED:
            if artifact.kind == Artifact.Kind.FORM:
                return _("This form was answered already.")
            return _("This was confirmed already.")
        case Artifact.State.CANCELLED:
            return _("This was cancelled, or a newer one took its place.")
        case _:
            return _("This form has expired.")


def expire_artifacts(now: datetime) -> int:
    """End what nobody decided in time, and tell the agents that asked; return how many.

    A duty of the clockwork.
    """
    late = Artifact.objects.filter(state=Artifact.State.OPEN, expires_at__lte=now)
    total = 0
    while late.exists():  # asked outside the transaction: mostly there is nothing
        with write_transaction():
            for artifact in late.select_related("agent", "conversation")[:EXPIRE_BATCH]:
                total += _expire(artifact)
    return total


def _expire(artifact: Artifact) -> int:
    changed = Artifact.objects.filter(pk=artifact.pk, state=Artifact.State.OPEN).update(
        state=Artifact.State.EXPIRED, secret=""
    )
    if changed and artifact.kind == Artifact.Kind.FORM:
        payload = {
            "artifact_id": str(artifact.pk),
            "expired_at": artifact.expires_at.isoformat(),
        }
        emit(artifact.agent, ARTIFACT_EXPIRED, payload, conversation=artifact.conversation)
    return changed


def purge_artifacts(now: datetime) -> int:
    """Forget forms that were decided or expired as long ago as the ledger is kept; return how
    many. A duty of the clockwork."""
    before = now - timedelta(days=settings.LEDGER_DAYS)
    old = Artifact.objects.filter(expires_at__lt=before).exclude(state=Artifact.State.OPEN)
    rows = list(old.order_by("pk").values_list("pk", flat=True)[:PURGE_BATCH])
    return Artifact.objects.filter(pk__in=rows).delete()[0] if rows else 0


# The link to a form ------------------------------------------------------------------------


def link_to(artifact: Artifact) -> str:
    """Return the address where whoever has it can answer a form, once, without a login."""
    path = reverse("artifact", args=[_signer().sign(artifact.pk.hex)])
    return f"{settings.PUBLIC_URL}{path}"


def find_by_link(signed_id: str) -> Artifact | None:
    """Return the form that a link's last part leads to; None for one that we did not sign."""
    try:
        pk = UUID(_signer().unsign(signed_id))
    except (BadSignature, ValueError):
        return None
    forms = Artifact.objects.select_related("agent", "conversation")
    return forms.filter(pk=pk, kind=Artifact.Kind.FORM).first()


def _signer() -> Signer:
    return Signer(salt="agents.artifact", sep=".")


def _invitation(artifact: Artifact) -> str:
    parts = [artifact.form["title"], artifact.form["text"], link_to(artifact)]
    return "\n\n".join(part for part in parts if part)


def _conversation(agent: Agent, conversation_id: UUID | None) -> Conversation | None:
    if conversation_id is None:
        return None
    conversation = Conversation.objects.filter(agent=agent, pk=conversation_id).first()
    if conversation is None:
        raise UnknownConversation(conversation_id)
    return conversation
