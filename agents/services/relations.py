"""Relations: whether a person may reach an agent, and telling the agent when that changes."""

import logging

from django.utils import timezone
from django.utils.translation import gettext as _

from agents.models import Agent, Relation
from agents.selectors import blocked, blocked_senders
from deliveries.transactions import write_transaction

from .events import emit

__all__ = [
    "RelationRefused",
    "blocked",
    "blocked_senders",
    "establish",
    "restore_relation",
    "revoke",
    "suspend_relation",
]

logger = logging.getLogger(__name__)

# From which states each change leads, and where to; its event is "relation." and its name.
CHANGES = {
    "revoked": (
        (Relation.Status.ESTABLISHED, Relation.Status.SUSPENDED),
        Relation.Status.REVOKED,
    ),
    "suspended": ((Relation.Status.ESTABLISHED,), Relation.Status.SUSPENDED),
    "restored": ((Relation.Status.SUSPENDED,), Relation.Status.ESTABLISHED),
}


class RelationRefused(Exception):
    """A change that the state of a relation does not allow; the text says why."""


def establish(agent: Agent, user_id: str, name: str = "", *, by: object) -> Relation:
    """Let a person reach an agent, and tell the agent; return the relation.

    A revoked relation is established anew; for one that is established already nothing happens.
    Raises RelationRefused for a suspended one, ValidationError by field (``user_id``, ``name``).
    """
    user_id, name = user_id.strip(), name.strip()
    Relation(agent=agent, user_id=user_id, name=name).clean_fields(exclude=["agent"])
    now = timezone.now()
    with write_transaction():
        relation, created = Relation.objects.get_or_create(
            agent=agent,
            user_id=user_id,
            defaults={"name": name, "created_at": now, "changed_at": now},
        )
        if created:
            _tell(relation, "established", by)
            return relation
        if relation.status == Relation.Status.SUSPENDED:
            raise RelationRefused(_("This relation is suspended; restore it."))
        changed = Relation.objects.filter(pk=relation.pk, status=Relation.Status.REVOKED).update(
            status=Relation.Status.ESTABLISHED, changed_at=now
        )
        if changed:
            relation.refresh_from_db()
            _tell(relation, "established", by)
    return relation


def revoke(relation: Relation, *, by: object) -> None:
    """End a person's relation: what this person says no longer reaches the agent."""
    _change(relation, "revoked", by)


def suspend_relation(relation: Relation, *, by: object) -> None:
    """Keep what a person says from the agent, until the relation is restored."""
    _change(relation, "suspended", by)


def restore_relation(relation: Relation, *, by: object) -> None:
    """Let a person whose relation was suspended reach the agent again."""
    _change(relation, "restored", by)


def is_allowed(relation: Relation, change: str) -> bool:
    """Return whether a change (a key of CHANGES) leads from the state of a relation."""
    return relation.status in CHANGES[change][0]


def _change(relation: Relation, change: str, by: object) -> None:
    """Make a change and tell the agent; raise RelationRefused where it does not lead from here."""
    before, after = CHANGES[change]
    with write_transaction():
        changed = Relation.objects.filter(pk=relation.pk, status__in=before).update(
            status=after, changed_at=timezone.now()
        )
        relation.refresh_from_db()
        if not changed:
            raise RelationRefused(
                _("This relation is %(status)s; that can't follow.")
                % {"status": relation.get_status_display()}
            )
        _tell(relation, change, by)


def _tell(relation: Relation, change: str, by: object) -> None:
    payload = {
        "relation_id": str(relation.pk),
        "user_id": relation.user_id,
        "name": relation.name,
        "status": relation.status,
        "changed_at": relation.changed_at.isoformat(),
    }
    emit(relation.agent, f"relation.{change}", payload, user_id=relation.user_id)
    logger.info("Relation %s was %s by %s", relation.pk, change, by)
