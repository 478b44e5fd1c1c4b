"""Events: what happened, as it came in."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy

from deliveries.excerpts import excerpt
from deliveries.lists import ByIdAdmin, RouteFilter, SinceFilter, is_list
from deliveries.models import Event, Payload

from .trace import chain


@admin.register(Event)
class EventAdmin(ByIdAdmin):
    """Events, newest first, to be read."""

    list_display = ("type", "source", "route", "dedupe_key", "received_at")
    list_filter = (RouteFilter, SinceFilter)
    search_help_text = gettext_lazy("A whole event id or trace id.")
    empty_text = gettext_lazy(
        "No event yet. One is stored whenever a route accepts a request or an agent speaks."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """Return the events; the list shows no headers, so it reads none."""
        rows: QuerySet[Event] = super().get_queryset(request)
        return rows.defer("headers") if is_list(request) else rows

    def find(self, wanted: UUID) -> Q:
        """Return what picks the event, or those of the trace, with this id."""
        return Q(pk=wanted) | Q(trace=wanted)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Render the event with its payload, its headers and its chain."""
        row: Event = context["original"]
        body = Payload.objects.filter(pk=row.pk).values_list("body", flat=True).first()
        context |= {
            "payload": None if body is None else excerpt(bytes(body)),
            "headers": json.dumps(row.headers, indent=2, ensure_ascii=False),
            "chain": chain(row.trace),
        }
        return super().render_change_form(request, context, *args, **kwargs)
