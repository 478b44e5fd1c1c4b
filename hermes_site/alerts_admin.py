"""Incidents in the admin, and the one page that says who is told of them."""

from typing import Any, ClassVar
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.acts import Act, ActsAdmin
from deliveries.lists import LedgerAdmin, state_mark
from platforms.models import Channel

from .alerts import channel_now, is_quiet, send_test
from .models import AlertSettings, Incident, Trouble
from .troubles import url_of

CHANGE = "hermes_site.change_alertsettings"


class SendTest(Act):
    """Say on the alerts' channel that alerts come here."""

    slug = "test"
    label = gettext_lazy("Send a test alert")
    permission = CHANGE
    template = "admin/alerts_test.html"

    def context(self) -> dict[str, Any]:
        """Explain where it goes, and what stands in the way of real ones."""
        return {
            "channel": channel_now(self.row),
            "chosen": self.row.channel_id is not None,
            "quiet": is_quiet(self.row, timezone.now()),
        }

    def perform(self, form: Any) -> HttpResponse:
        """Send it as a delivery; what comes of it is in the history."""
        channel = channel_now(self.row)
        if channel is None:
            return self.done(_("No channel could take it."), level=messages.WARNING)
        send_test(channel)
        said = _("A test is on its way to %(channel)s; Deliveries shows what becomes of it.")
        return self.done(said % {"channel": channel}, log=f"Sent a test alert to {channel}.")


class SettingsForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """The settings; kinds are boxes to tick, and the zone a list."""

    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("Tell of"),
        choices=Trouble.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    quiet_zone = forms.ChoiceField(label=gettext_lazy("In the time zone"))

    class Meta:
        model = AlertSettings
        fields = (
            "channel", "substitute", "kinds", "expires_within", "route_errors", "route_share",
            "quiet_from", "quiet_until", "quiet_zone",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone: Any = self.fields["quiet_zone"]
        zone.choices = [(name, name) for name in sorted(available_timezones())]


@admin.register(AlertSettings)
class AlertSettingsAdmin(ActsAdmin):
    """One row, and so no list."""

    form = SettingsForm
    acts = (SendTest,)

    class Media:
        css: ClassVar[Any] = {"all": ["hermes/alerts.css"]}

    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("channel", "substitute", "kinds")}),
        (
            gettext_lazy("From what number on"),
            {"fields": ("expires_within", "route_errors", "route_share")},
        ),
        (
            gettext_lazy("Quiet hours"),
            {"fields": ("quiet_from", "quiet_until", "quiet_zone")},
        ),
    )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the row."""
        return HttpResponseRedirect(reverse(self.url_name("change"), args=[AlertSettings.ONLY]))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> AlertSettings | None:
        """Return the row; where none is stored yet, what counts then."""
        return AlertSettings.current() if object_id == str(AlertSettings.ONLY) else None

    def get_field_queryset(self, db: Any, db_field: Any, request: HttpRequest) -> Any:
        """Offer the channels without their configuration, which is not needed to name them."""
        return Channel.objects.defer("config").order_by("name")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Leave out the buttons beside a channel: they lead away from the page."""
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name in ("channel", "substitute") and field is not None:
            field.widget = field.widget.widget
        return field

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: it is there."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: it stays."""
        return False


class StateFilter(admin.SimpleListFilter):
    """By whether it is over."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the two states."""
        return [("open", gettext_lazy("ongoing")), ("over", gettext_lazy("over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the incidents of the chosen one."""
        if self.value() in ("open", "over"):
            return queryset.filter(closed_at__isnull=self.value() == "open")
        return queryset


@admin.register(Incident)
class IncidentAdmin(LedgerAdmin):
    """What was wrong, from when to when, and whether somebody was told."""

    list_display = ("mark", "what", "opened_at", "lasted", "told_at")
    list_display_links = ("what",)
    list_filter = (StateFilter, "kind")
    fields = (
        "mark", "detail", "page", "opened_at", "closed_at", "lasted", "told_at",
        "over_told_at", "alert",
    )  # fmt: skip
    readonly_fields = fields
    empty_text = gettext_lazy(
        "No incident yet. One begins when an agent can't be reached, a channel needs attention, "
        "deliveries are about to expire, a route has many errors, or no worker runs."
    )

    @admin.display(description=gettext_lazy("state"))
    def mark(self, row: Incident) -> str:
        """Return whether it is over, as a word and a dot."""
        if row.closed_at is None:
            return state_mark("failed", _("ongoing"))
        return state_mark("over", _("over"))

    @admin.display(description=gettext_lazy("incident"))
    def what(self, row: Incident) -> str:
        """Return what it is about."""
        return str(row)

    @admin.display(description=gettext_lazy("for"))
    def lasted(self, row: Incident) -> str:
        """Return for how long it has lasted."""
        return timesince(row.opened_at, row.closed_at)

    @admin.display(description=gettext_lazy("its page"))
    def page(self, row: Incident) -> str:
        """Return a link to what ails."""
        url = url_of(row)
        return format_html('<a href="{}">{}</a>', url, row.label) if url else "–"

    @admin.display(description=gettext_lazy("alert"))
    def alert(self, row: Incident) -> str:
        """Return a link to the event that told of it, and so to its delivery."""
        if row.told_event is None:
            return "–"
        url = reverse("admin:deliveries_event_change", args=[row.told_event])
        return format_html('<a href="{}">{}</a>', url, _("as it was told"))
