"""Routes in the admin, and the requests that they turned away."""

import json
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.acts import Act
from deliveries.excerpts import excerpt
from deliveries.lists import LedgerAdmin, RouteFilter, TunedAdmin, is_list, state_mark
from deliveries.models import Event

from .config_files import effective_settings
from .curl import address, sample
from .forms import RouteForm
from .models import Refusal, Route
from .presets import AUTO, presets
from .services import rotate_secret

OVERLAP = timedelta(hours=24)
LATEST = 8


class SecretForm(forms.Form):
    """A secret that the sender dictates; mostly it stays empty."""

    secret = forms.CharField(
        label=gettext_lazy("Secret"),
        required=False,
        max_length=512,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "Leave it empty: a good one is generated and shown once. Fill it in where the sender "
            "issues the secret itself."
        ),
    )


class NewSecret(Act):
    """Give a route its first secret, or a new one beside the old."""

    slug = "secret"
    label = gettext_lazy("New secret")
    permission = "routes.add_routesecret"
    template = "admin/routes/route/secret.html"
    form_class = SecretForm

    def offered(self) -> bool:
        """Offer it where the secret is kept here."""
        return bool(self.row.origin != Route.Origin.FILE)

    def context(self) -> dict[str, Any]:
        """Explain: which secrets count now, and until when."""
        return {"offered": self.offered(), "secrets": list(self.row.secrets.live())}

    def perform(self, form: Any) -> HttpResponse:
        """Add it; the older ones count for another day."""
        if not self.offered():
            return self.done(
                _("The secret of this route is set in config.yaml; change it there."),
                level=messages.ERROR,
            )
        given = form.cleaned_data["secret"].strip()
        secret = rotate_secret(self.row, OVERLAP, given or None)
        if given:
            return self.done(
                _("The secret is stored. Older ones count for another 24 hours."),
                log=_("Gave it a secret of the sender's."),
            )
        self.log(_("Gave it a new secret."))
        return self.shown_once(
            secret,
            title=_("Secret of %(name)s") % {"name": self.row},
            what=_("Give it to the sender of %(name)s. Older secrets count for another 24 hours.")
            % {"name": self.row},
        )


@admin.register(Route)
class RouteAdmin(TunedAdmin):
    """Routes by name; those of config.yaml are to be read only."""

    form = RouteForm
    ordering = ("name",)
    list_display = ("on", "name", "source", "goes_to", "origin", "last_event")
    list_display_links = ("name",)
    list_filter = ("enabled", "origin")
    list_select_related = ("agent",)
    search_fields = ("name", "description")
    acts = (NewSecret,)
    empty_text = gettext_lazy(
        "No route yet. Add one, give its address and its secret to the sender, and its events "
        "arrive here."
    )
    fieldsets = (
        (None, {"fields": ("name", "enabled", "description")}),
        (gettext_lazy("What comes in"), {"fields": ("preset", "events")}),
        (gettext_lazy("What the agent is told"), {"fields": ("prompt", "agent", "skills")}),
        (
            gettext_lazy("Where it goes"),
            {"fields": ("deliver", "deliver_extra", "deliver_only")},
        ),
        (
            gettext_lazy("Limits"),
            {
                "classes": ("collapse",),
                "fields": ("rate_limit", "max_body_bytes", "insecure_no_auth"),
            },
        ),
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
        """Render the route with its address, its secrets and what came in last."""
        row: Route | None = context.get("original")
        if row is not None:
            secrets = list(row.secrets.live())
            context |= {
                "address": address(row),
                "curl": sample(row),
                "secrets": secrets,
                "global_secret": not secrets and bool(effective_settings().secret),
                "from_file": row.origin == Route.Origin.FILE,
                "events": list(Event.objects.filter(route=row.name).order_by("-pk")[:LATEST]),
                "refusals": list(Refusal.objects.filter(route=row.name).order_by("-pk")[:3]),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=gettext_lazy("source"))
    def source(self, row: Route) -> str:
        """Return who sends."""
        preset = presets().get(row.preset)
        if row.preset == AUTO:
            return _("by its headers")
        return str(preset.label) if preset else row.preset

    @admin.display(description=gettext_lazy("goes to"))
    def goes_to(self, row: Route) -> str:
        """Return the agent, and where its answer goes."""
        if row.deliver_only:
            return row.deliver
        return f"{row.agent or _('default agent')} → {row.deliver}"

    @admin.display(description=gettext_lazy("state"))
    def on(self, row: Route) -> str:
        """Return whether it takes requests."""
        if not row.enabled:
            return state_mark("", _("off"))
        if row.insecure_no_auth:
            return state_mark("needs_attention", _("unsigned"))
        return state_mark("ok", _("on"))

    @admin.display(description=gettext_lazy("last event"))
    def last_event(self, row: Any) -> Any:
        """Return when an event arrived last."""
        return row.last_event_at or "–"


@admin.register(Refusal)
class RefusalAdmin(LedgerAdmin):
    """Requests that were turned away, newest first; capped per route."""

    list_display = ("reason", "status", "route_name", "client", "at")
    list_filter = ("reason", RouteFilter)
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
        """Render the refusal: why first, then what was sent."""
        row: Refusal = context["original"]
        context |= {
            "body": excerpt(bytes(row.body)),
            "headers": json.dumps(row.headers, indent=2, ensure_ascii=False),
            "route": Route.objects.filter(name=row.route).first(),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=gettext_lazy("route"))
    def route_name(self, row: Refusal) -> str:
        """Return the name that was asked for, which need not be a route's."""
        return format_html('<span class="mono">{}</span>', row.route)
