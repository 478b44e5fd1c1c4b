"""Routes in the admin, and the requests that they turned away."""

import json
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.excerpts import excerpt
from deliveries.lists import LedgerAdmin, TunedAdmin, is_list, state_mark
from deliveries.models import Event

from .acts import AwaitSecret, CopySecret, NewSecret, SignedTest
from .advice import advice
from .config_files import effective_settings, file_of
from .curl import address, sample
from .forms import COALESCE_FIELDS, RouteForm
from .models import Refusal, Route
from .presets import CUSTOM, tells_secret
from .refusals import UNKNOWN_ROUTE
from .remedies import may_be_the_secret, remedies
from .rules import faults
from .scheme_form import SCHEME_FIELDS
from .selectors import last_day, last_events, refused_last_day
from .services import secret_to_copy
from .sources import preset_of, source_label
from .workbench_page import Workbench

LATEST = 8
# Routes that a list's filter names.
LISTED_ROUTES = 50
# Of an explanation, in a list.
SHOWN_CHARACTERS = 90


def fieldsets(scheme: Any, coalescing: Any, source: Any = ("preset",)) -> list[Any]:
    """Return the groups of a route's page, with the fields of those that come in pieces."""
    groups: list[Any] = [
        (None, {"fields": ("name", "enabled", "description")}),
        (gettext_lazy("Who sends"), {"fields": source}),
        (
            gettext_lazy("How it signs"),
            {
                "classes": ("custom-scheme",),
                "description": gettext_lazy(
                    "For a sender that is not listed, as its documentation has it."
                ),
                "fields": scheme,
            },
        ),
        (gettext_lazy("What is let through"), {"fields": ("events", "filters")}),
        (
            gettext_lazy("What the agent is told"),
            {"fields": ("prompt", "fence", "agent", "skills", "conversation_key")},
        ),
        (
            gettext_lazy("Where it goes"),
            {"fields": ("deliver", "deliver_extra", "fan_out", "deliver_only", "answer_at_once")},
        ),
        (
            gettext_lazy("Many events in a short while"),
            {"classes": ("collapse",), "fields": coalescing},
        ),
        (
            gettext_lazy("Limits"),
            {
                "classes": ("collapse",),
                "fields": ("rate_limit", "max_body_bytes", "insecure_no_auth"),
            },
        ),
    ]
    return [group for group in groups if group[1]["fields"]]


@admin.register(Route)
class RouteAdmin(TunedAdmin):
    """Routes by name; those of a Hermes home are to be read only."""

    form = RouteForm
    ordering = ("name",)
    list_display = ("on", "name", "source", "goes_to", "origin", "last_event")
    list_display_links = ("name",)
    list_filter = ("enabled", "origin")
    list_select_related = ("agent",)
    search_fields = ("name", "description")
    acts = (CopySecret, Workbench, SignedTest, NewSecret, AwaitSecret)
    empty_text = gettext_lazy(
        "No route yet. Add one, give its address and its secret to the sender, and its events "
        "arrive here."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        """Return the routes, each with the time of its last event."""
        last = Event.objects.filter(route=OuterRef("name")).order_by("-pk").values("received_at")
        rows: QuerySet[Route] = super().get_queryset(request)
        return rows.annotate(last_event_at=Subquery(last[:1]))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse for a file route: the file would take the change back."""
        in_file = obj is not None and obj.origin == Route.Origin.FILE
        return not in_file and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse for a file route: it would come back at once."""
        in_file = obj is not None and obj.origin == Route.Origin.FILE
        return not in_file and super().has_delete_permission(request, obj)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Render the route with its address, its secrets and what happened on it."""
        if context.get("original") is not None:
            # As it is stored: a form that was refused has changed the one at hand.
            context |= _about(Route.objects.get(pk=context["original"].pk))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields in groups; for a reader as they are stored."""
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets(SCHEME_FIELDS, COALESCE_FIELDS, ("chat", "preset"))
        return fieldsets(("custom_scheme",) if obj.preset == CUSTOM else (), ("coalesce",))

    @admin.display(description=gettext_lazy("source"))
    def source(self, row: Route) -> str:
        """Return who sends."""
        return str(source_label(row))

    @admin.display(description=gettext_lazy("goes to"))
    def goes_to(self, row: Route) -> str:
        """Return the agent, and where its answer goes."""
        place = f"{row.deliver} +{len(row.fan_out)}" if row.fan_out else row.deliver
        return place if row.deliver_only else f"{row.agent or _('default agent')} → {place}"

    @admin.display(description=gettext_lazy("state"))
    def on(self, row: Route) -> str:
        """Return whether it takes requests."""
        if not row.enabled:
            return state_mark("", _("off"))
        if faults(row):
            return state_mark("needs_attention", _("can’t be used"))
        if row.insecure_no_auth:
            return state_mark("needs_attention", _("unsigned"))
        return state_mark("ok", _("on"))

    @admin.display(description=gettext_lazy("last event"))
    def last_event(self, row: Any) -> Any:
        """Return when an event arrived last."""
        return row.last_event_at or "–"


def _about(row: Route) -> dict[str, Any]:
    """Return what the page of a route shows beside its fields."""
    preset = preset_of(row)
    secrets = list(row.secrets.live())
    told = tells_secret(row.preset)
    from_file = row.origin == Route.Origin.FILE
    return {
        "address": address(row),
        "curl": sample(row),
        "source": preset,
        "secrets": secrets,
        "global_secret": not secrets and not told and bool(effective_settings().secret),
        "awaits_secret": not secrets and told,
        "to_copy": secret_to_copy(row),
        "file": (file_of(row.name) or "config.yaml") if from_file else "",
        "faults": list(faults(row).values()),
        "advice": advice(row, preset),
        "day": last_day(row),
        "refused": refused_last_day(row, settings.REFUSALS_PER_ROUTE),
        "events": list(last_events(row, LATEST)),
        "refusals": list(Refusal.objects.filter(route=row.name).order_by("-pk")[:3]),
    }


class RefusedRouteFilter(admin.SimpleListFilter):
    """Refusals by route; names that no route has are one line, however many were invented."""

    title = gettext_lazy("route")
    parameter_name = "route"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the routes that refused something; refusals are few, so they can be asked."""
        known = Refusal.objects.exclude(reason=UNKNOWN_ROUTE).order_by("route")
        names = list(known.values_list("route", flat=True).distinct()[:LISTED_ROUTES])
        chosen = request.GET.get(self.parameter_name, "")
        if chosen and chosen != "?" and chosen not in names:
            names.insert(0, chosen)
        return [*((name, name) for name in names), ("?", _("Names that no route has"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the refusals of the route."""
        if self.value() == "?":
            return queryset.filter(reason=UNKNOWN_ROUTE)
        return queryset.filter(route=self.value()) if self.value() else queryset


@admin.register(Refusal)
class RefusalAdmin(LedgerAdmin):
    """Requests that were turned away, newest first; capped per route."""

    list_display = ("reason", "status", "route_name", "why", "at")
    list_filter = (RefusedRouteFilter, "reason", "status")
    empty_text = gettext_lazy(
        "No refusal. A request with a wrong signature, for an unknown route or over a limit "
        "would be kept here with the reason."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Refusal]:
        """Return the refusals; the list needs neither bodies nor headers."""
        rows: QuerySet[Refusal] = super().get_queryset(request)
        return rows.defer("body", "headers") if is_list(request) else rows

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Render the refusal: why first and what to do, then what was sent."""
        row: Refusal = context["original"]
        route = Route.objects.filter(name=row.route).first()
        context |= {
            "body": excerpt(bytes(row.body)),
            "headers": json.dumps(row.headers, indent=2, ensure_ascii=False),
            "route": route,
            "remedies": remedies(row.reason),
            "may_be_the_secret": may_be_the_secret(row.reason),
            "secret_is_ours": route is not None and route.origin != Route.Origin.FILE,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=gettext_lazy("route"))
    def route_name(self, row: Refusal) -> str:
        """Return the name that was asked for, which need not be a route's."""
        return format_html('<span class="mono">{}</span>', row.route)

    @admin.display(description=gettext_lazy("why"))
    def why(self, row: Refusal) -> str:
        """Return the first sentence of the explanation."""
        first = row.explanation.partition(". ")[0]
        return Truncator(first).chars(SHOWN_CHARACTERS)
