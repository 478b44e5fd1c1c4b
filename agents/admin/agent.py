"""Agents in the admin: who answers, how they are reached, what waits for them."""

import json
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from agents.acts import IssueToken, Recover, Restore, RevokeToken, Suspend, queue_of
from agents.artifact_acts import Switch
from agents.endpoint_acts import TestModel
from agents.forms import EndpointForm, endpoint_fieldsets
from agents.models import Agent, Conversation
from agents.services import make_default
from agents.services.artifacts import still_open
from agents.services.completions import attention
from agents.services.decisions import title_of
from deliveries.admin.places import with_lanes
from deliveries.lists import TunedAdmin, state_mark
from deliveries.models import Delivery

from .system import system_page

LATEST = 8


class AgentForm(EndpointForm):
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
    readonly_fields = (
        "mode", "webhook_url", "state", "status_changed_at", "last_seen_at", "suspended_at",
        "abilities",
    )  # fmt: skip
    acts = (Recover, Switch, TestModel, Suspend, Restore, IssueToken, RevokeToken)
    empty_text = _("No agent yet. Add one, then switch its connection to where it listens.")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the connection of an agent that exists, read only."""
        shown: tuple[str, ...] = ()
        if obj is not None:
            shown = ("mode", "webhook_url", "state", "status_changed_at", "last_seen_at")
            if obj.suspended_at is not None:
                shown += ("suspended_at",)
            if obj.manifest:
                shown += ("abilities",)
        own = [(None, {"fields": ("name", "is_default", "concurrency", *shown)})]
        may_change = self.has_change_permission(request, obj)
        return own + (endpoint_fieldsets(obj) if may_change else [])

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
                "forms": open_forms(row),
                "attention": attention(row),
                "latest": with_lanes(
                    Delivery.objects.filter(lane_id=row.lane_id).order_by("-pk")[:LATEST]
                ),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with that of the system agent before them."""
        system = self.admin_site.admin_view(partial(system_page, model_admin=self))
        return [path("system/", system, name="agents_system"), *super().get_urls()]

    @admin.display(description=_("manifest"))
    def abilities(self, row: Agent) -> str:
        """Return the manifest that was accepted, as JSON."""
        if not row.manifest:
            return "–"
        text = json.dumps(row.manifest, ensure_ascii=False, indent=2)
        return format_html('<pre class="code">{}</pre>', text)

    @admin.display(description=_("connection mode"))
    def mode(self, row: Agent) -> str:
        """Return the mode in words."""
        return row.get_connection_mode_display()

    @admin.display(description=_("connection status"))
    def state(self, row: Agent) -> str:
        """Return the status as a word and a dot; of one out of service only that."""
        if row.suspended_at is not None:
            return state_mark("suspended", _("suspended"))
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


def open_forms(agent: Agent) -> list[dict[str, Any]]:
    """Return the forms of an agent that wait for a person, newest first."""
    forms = still_open(timezone.now()).filter(agent=agent).defer("secret").order_by("-pk")[:LATEST]
    return [{"row": form, "title": title_of(form)} for form in forms]
