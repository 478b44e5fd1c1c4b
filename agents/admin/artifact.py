"""Artifacts in the admin: forms that were put before a person, and what was decided."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _

from agents.artifact_acts import SWITCH, Answer, Decide
from agents.models import Artifact
from agents.questions import in_words
from agents.services.artifacts import is_open, link_to
from agents.services.decisions import describe, permission_for, title_of
from deliveries.acts import Act
from deliveries.lists import LedgerAdmin, state_mark


@admin.register(Artifact)
class ArtifactAdmin(LedgerAdmin):
    """Forms that were put before a person, and what was decided."""

    list_display = ("mark", "title", "agent", "created_at", "decided_at")
    list_display_links = ("title",)
    list_filter = ("state", "kind")
    list_select_related = ("agent",)
    # Named one by one: the row also keeps a secret until it is decided.
    fields = (
        "title", "kind", "agent", "mark", "proposed", "answered", "link",
        "created_at", "expires_at", "decided_at", "decided_by",
    )  # fmt: skip
    readonly_fields = ("title", "mark", "proposed", "answered", "link")
    acts = (Decide, Answer)
    empty_text = _(
        "No form yet. One is made when a switch is proposed, when an agent asks something or "
        "changes its manifest."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Artifact]:
        """Return the forms without their secrets."""
        rows: QuerySet[Artifact] = super().get_queryset(request)
        return rows.defer("secret")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let whoever may decide on a form see it, and whoever may switch an agent the list."""
        needed = SWITCH if obj is None else permission_for(obj)
        return super().has_view_permission(request, obj) or request.user.has_perm(needed)

    def offered_acts(self, request: HttpRequest, row: Any) -> list[Act]:
        """Return what this person can do to a form: it needs the permission of what it does."""
        if not request.user.has_perm(permission_for(row)):
            return []
        return [made for act in self.acts if (made := act(self, request, row)).offered()]

    def _view_of(self, act: type[Act]) -> Any:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            row = self.get_object(request, object_id)
            if row is None:
                raise Http404(_("There is no such row; it may have been deleted."))
            if not request.user.has_perm(permission_for(row)) or _wrong(act, row):
                raise PermissionDenied
            return act(self, request, row).respond()

        return view

    @admin.display(description=_("form"))
    def title(self, row: Artifact) -> str:
        """Return what it is about."""
        return title_of(row)

    @admin.display(description=_("state"))
    def mark(self, row: Artifact) -> str:
        """Return the state as a word and a dot."""
        return state_mark(row.state, row.get_state_display())

    @admin.display(description=_("proposed"))
    def proposed(self, row: Artifact) -> str:
        """Return what is proposed, from what to what."""
        if row.kind not in (Artifact.Kind.SWITCH, Artifact.Kind.ACT):
            return "–"
        change = describe(row)
        by = row.proposal.get("by") or "–"
        return _("%(now)s → %(then)s, by %(by)s") % {
            "now": change.now,
            "then": change.then,
            "by": by,
        }

    @admin.display(description=_("answer"))
    def answered(self, row: Artifact) -> str:
        """Return what a person answered, a line for each field."""
        if row.kind != Artifact.Kind.FORM or not row.answer:
            return "–"
        lines = in_words(row.form, row.answer)
        return format_html_join("", "<p><strong>{}</strong><br>{}</p>", lines)

    @admin.display(description=_("link"))
    def link(self, row: Artifact) -> str:
        """Return the address where it can be answered without a login, while it can."""
        if row.kind != Artifact.Kind.FORM or not is_open(row):
            return "–"
        return link_to(row)


def _wrong(act: type[Act], row: Artifact) -> bool:
    return (act is Answer) != (row.kind == Artifact.Kind.FORM)
