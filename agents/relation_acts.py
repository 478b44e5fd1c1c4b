"""What a person can do to a relation: suspend, restore, revoke it."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.acts import Act

from .models import Relation
from .services.relations import (
    RelationRefused,
    establish,
    is_allowed,
    restore_relation,
    revoke,
    suspend_relation,
)

CHANGE = "agents.change_relation"


class ChangeRelation(Act):
    """One change of a relation; the agent is told of it."""

    permission = CHANGE
    template = "admin/agents/relation/change.html"
    change: ClassVar[str]  # a key of `relations.CHANGES`
    service: ClassVar[Callable[..., None]]
    effect: ClassVar[str | Promise]

    def offered(self) -> bool:
        """Offer it where it leads on from the relation's state."""
        return is_allowed(self.row, self.change)

    def context(self) -> dict[str, Any]:
        """Explain."""
        return {"offered": self.offered(), "effect": self.effect}

    def perform(self, form: Any) -> HttpResponse:
        """Do it; someone may have been quicker."""
        try:
            type(self).service(self.row, by=self.request.user.get_username())
        except RelationRefused as refusal:
            return self.done(str(refusal), level=messages.ERROR)
        told = {"person": self.row, "status": self.row.get_status_display()}
        return self.done(
            _("The relation with %(person)s is %(status)s now; the agent is told.") % told,
            log=_("Now %(status)s.") % told,
        )


class SuspendRelation(ChangeRelation):
    """Keep what a person says from the agent for a while."""

    slug = "suspend"
    label = gettext_lazy("Suspend")
    change = "suspended"
    service = staticmethod(suspend_relation)
    effect = gettext_lazy(
        "What this person says no longer reaches the agent. It is kept in the history as skipped, "
        "and is not sent when the relation is restored."
    )


class RestoreRelation(ChangeRelation):
    """Let a person reach the agent again."""

    slug = "restore"
    label = gettext_lazy("Restore")
    change = "restored"
    service = staticmethod(restore_relation)
    effect = gettext_lazy("What this person says from now on reaches the agent again.")


class RevokeRelation(ChangeRelation):
    """End a relation."""

    slug = "revoke"
    label = gettext_lazy("Revoke")
    change = "revoked"
    service = staticmethod(revoke)
    effect = gettext_lazy(
        "What this person says no longer reaches the agent. A revoked relation is not restored; "
        "it can be established anew."
    )


class EstablishAgain(ChangeRelation):
    """Establish a relation that was revoked."""

    slug = "establish"
    label = gettext_lazy("Establish anew")
    effect = gettext_lazy("What this person says from now on reaches the agent again.")

    def offered(self) -> bool:
        """Offer it for a revoked one."""
        return bool(self.row.status == Relation.Status.REVOKED)

    @staticmethod
    def service(relation: Relation, *, by: str) -> None:
        """Establish it anew."""
        establish(relation.agent, relation.user_id, by=by)
        relation.refresh_from_db()
