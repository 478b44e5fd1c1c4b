"""Relations in the admin: whether a person may reach an agent."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from agents.models import Relation
from agents.relation_acts import EstablishAgain, RestoreRelation, RevokeRelation, SuspendRelation
from agents.services.relations import establish
from deliveries.lists import TunedAdmin, state_mark

# As `state_mark` colours them.
TONES: dict[str, str] = {
    Relation.Status.ESTABLISHED: "ok",
    Relation.Status.SUSPENDED: "pending",
    Relation.Status.REVOKED: "",
}


class RelationForm(forms.ModelForm[Relation]):
    """Who, with which agent; the standing is changed by acts."""

    class Meta:
        model = Relation
        fields = ("agent", "user_id", "name")
        help_texts = {
            "user_id": _(
                "The sender as it stands in messages: telegram:12345 for a person, "
                "webhook:github-pr for what a route sends."
            ),
            "name": _("For your eyes; the agent is told it, too."),
        }


@admin.register(Relation)
class RelationAdmin(TunedAdmin):
    """People and agents."""

    form = RelationForm
    list_display = ("person", "agent", "mark", "changed_at")
    list_filter = ("status", "agent")
    list_select_related = ("agent",)
    search_fields = ("user_id", "name")
    readonly_fields = ("mark", "created_at", "changed_at")
    acts = (SuspendRelation, RestoreRelation, RevokeRelation, EstablishAgain)
    empty_text = _(
        "No relation yet. Whoever has none may reach every agent; one is needed to tell an agent "
        "of a person, or to suspend somebody."
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the standing of a relation that exists."""
        shown = ("mark", "created_at", "changed_at") if obj else ()
        return [(None, {"fields": ("agent", "user_id", "name", *shown)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep whom it is between: the agent was told."""
        return (*self.readonly_fields, "agent", "user_id") if obj else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: Relation, form: Any, change: bool) -> None:
        """Establish a new relation, which the agent is told; save the name of another."""
        if change:
            super().save_model(request, obj, form, change)
            return
        by = request.user.get_username()
        made = establish(obj.agent, obj.user_id, obj.name, by=by)
        obj.pk, obj.status = made.pk, made.status
        obj.created_at, obj.changed_at = made.created_at, made.changed_at

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: without its row a person who was kept away would be let in again."""
        return False

    @admin.display(description=_("person"))
    def person(self, row: Relation) -> str:
        """Return who it is."""
        return f"{row.name} ({row.user_id})" if row.name else row.user_id

    @admin.display(description=_("status"))
    def mark(self, row: Relation) -> str:
        """Return the standing as a word and a dot."""
        return state_mark(TONES[row.status], row.get_status_display())
