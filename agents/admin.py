"""Agents in the admin: who answers, how they are reached, what waits for them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from deliveries.admin.places import with_lanes
from deliveries.lists import LedgerAdmin, TunedAdmin, state_mark
from deliveries.models import Delivery

from .acts import SWITCH, Decide, IssueToken, Recover, RevokeToken, Switch, queue_of
from .models import Agent, Artifact, Conversation
from .services import make_default

LATEST = 8


class AgentForm(forms.ModelForm[Agent]):
    """What is edited directly; the connection is switched by an act of its own."""

    class Meta:
        model = Agent
        fields = ("name", "concurrency", "is_default")

    def clean_is_default(self) -> bool:
        """Refuse to leave the gateway without a default agent."""
        wanted: bool = self.cleaned_data["is_default"]
        if self.instance.is_default and not wanted:
            raise forms.ValidationError(
                _("There must be a default agent. Mark another one, and this one is it no longer.")
            )
        return wanted

    def _get_validation_exclusions(self) -> set[str]:
        # The constraint of one default is kept by saving, which takes the mark from the other.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded | {"is_default"}


@admin.register(Agent)
class AgentAdmin(TunedAdmin):
    """Agents by name, with what waits for each."""

    form = AgentForm
    ordering = ("name",)
    list_display = ("state", "name", "mode", "waiting", "default")
    list_display_links = ("name",)
    list_filter = ("connection_status", "connection_mode")
    search_fields = ("name",)
    readonly_fields = ("mode", "webhook_url", "state", "status_changed_at")
    acts = (Recover, Switch, IssueToken, RevokeToken)
    empty_text = _("No agent yet. Add one, then switch its connection to where it listens.")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the connection of an agent that exists, read only."""
        edited = ("name", "is_default", "concurrency")
        shown = ("mode", "webhook_url", "state", "status_changed_at") if obj else ()
        return [(None, {"fields": edited + shown})]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        """Return the agents, each with the number of its pending deliveries."""
        pending = (
            Delivery.objects.filter(pending_lane=OuterRef("lane_id"))
            .order_by()
            .values("pending_lane")
            .annotate(count=Count("pk"))
            .values("count")
        )
        rows: QuerySet[Agent] = super().get_queryset(request)
        return rows.annotate(
            pending_count=Coalesce(Subquery(pending, output_field=IntegerField()), 0)
        )

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        """Save; a new default agent takes the mark from the old one."""
        marked = obj.is_default and "is_default" in form.changed_data
        if marked:
            obj.is_default = False
        super().save_model(request, obj, form, change)
        if marked:
            make_default(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse for the default agent: routes that name none would have nobody."""
        is_default = obj is not None and obj.is_default
        return not is_default and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what goes with the agents, conversations by their number: there may be many."""
        agents = list(objs)
        refused = not all(self.has_delete_permission(request, agent) for agent in agents)
        gone: list[Any] = [
            [
                str(agent),
                [_("Conversations: %(count)d") % {"count": agent.conversations.count()}],
            ]
            for agent in agents
        ]
        counts = {
            Agent._meta.verbose_name_plural: len(agents),
            Conversation._meta.verbose_name_plural: Conversation.objects.filter(
                agent__in=agents
            ).count(),
        }
        routes = [str(route) for agent in agents for route in agent.routes.all()]
        needed = {str(Agent._meta.verbose_name)} if refused else set()
        return gone, counts, needed, routes

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        """Delete one by one, as each has a lane to tell."""
        for agent in queryset:
            agent.delete()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Render the agent with its queue and its latest deliveries."""
        row: Agent | None = context.get("original")
        if row is not None:
            count, drops_at = queue_of(row)
            context |= {
                "count": count,
                "drops_at": drops_at,
                "latest": with_lanes(
                    Delivery.objects.filter(lane_id=row.lane_id).order_by("-pk")[:LATEST]
                ),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("connection mode"))
    def mode(self, row: Agent) -> str:
        """Return the mode in words."""
        return row.get_connection_mode_display()

    @admin.display(description=_("connection status"))
    def state(self, row: Agent) -> str:
        """Return the status as a word and a dot."""
        return state_mark(row.connection_status, row.get_connection_status_display())

    @admin.display(description=_("waiting"))
    def waiting(self, row: Any) -> str:
        """Return the number of pending deliveries, linked to them."""
        if not row.pending_count:
            return "0"
        return format_html(
            '<a href="../../deliveries/delivery/?to={}&amp;status=pending">{}</a>',
            row.lane_id,
            row.pending_count,
        )

    @admin.display(description=_("default"))
    def default(self, row: Agent) -> str:
        """Return a word for the one default agent and nothing for the others."""
        return str(_("default")) if row.is_default else ""


@admin.register(Artifact)
class ArtifactAdmin(LedgerAdmin):
    """Forms that were put before a person, and what was decided."""

    list_display = ("kind", "agent", "mark", "created_at", "decided_at")
    list_filter = ("state",)
    list_select_related = ("agent",)
    # Named one by one: the row also keeps a secret until it is decided.
    fields = ("kind", "agent", "mark", "proposal", "created_at", "expires_at", "decided_at")
    readonly_fields = ("mark",)
    acts = (Decide,)
    empty_text = _("No form yet. One is made when a switch of an agent's connection is proposed.")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let whoever may switch an agent see what is proposed."""
        return super().has_view_permission(request, obj) or request.user.has_perm(SWITCH)

    @admin.display(description=_("state"))
    def mark(self, row: Artifact) -> str:
        """Return the state as a word and a dot."""
        return state_mark(row.state, row.get_state_display())
