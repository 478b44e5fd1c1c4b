"""Conversations in the admin: what belongs together, and where the answers go."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from agents.models import Agent, Conversation
from agents.selectors import latest_deliveries, places
from deliveries.admin.places import with_lanes
from deliveries.lists import LedgerAdmin

# Of one conversation: a thing has a few dozen events, seldom more.
LATEST_TOGETHER = 30


@admin.register(Conversation)
class ConversationAdmin(LedgerAdmin):
    """Conversations: what belongs together, and where the answers go."""

    list_display = ("key", "agent", "first_place", "used")
    list_select_related = ("agent", "channel")
    list_filter = ("agent",)
    search_fields = ("pk",)  # shows the box; `get_search_results` decides
    search_help_text = _("A whole conversation key or id.")
    empty_text = _("No conversation yet. One begins when an agent gets an event.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """Return the conversations; nothing here needs a channel's secrets to be opened."""
        rows: QuerySet[Conversation] = super().get_queryset(request)
        return rows.select_related("agent", "channel").defer("channel__config")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the conversations of a whole id or a whole key; vaguer means reading them all."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(term)), False
        except ValueError:
            # Agent by agent, as the index has them.
            agents = list(Agent.objects.values_list("pk", flat=True))
            return queryset.filter(agent__in=agents, key=term), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Render the conversation with its places and its latest deliveries."""
        row: Conversation = context["original"]
        context |= {
            "places": places(row),
            "latest": with_lanes(latest_deliveries(row, LATEST_TOGETHER)),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("last used"))
    def used(self, row: Conversation) -> datetime:
        """Return when an event or a message last belonged to it, within a day."""
        return row.created_at

    @admin.display(description=_("place"))
    def first_place(self, row: Conversation) -> str:
        """Return where answers go first, and to how many places more."""
        first = str(row.channel or "–")
        if not row.fan_out:
            return first
        more = len(row.fan_out)
        return ngettext("%(first)s and %(more)d more", "%(first)s and %(more)d more", more) % {
            "first": first,
            "more": more,
        }
