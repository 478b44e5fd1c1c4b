"""The delivery history: what was sent where, how often, and what came of it."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from deliveries.excerpts import excerpt
from deliveries.lists import ByIdAdmin, SinceFilter, state_mark
from deliveries.models import Delivery, Event, Lane, Payload
from deliveries.outcomes import Verdict

from . import redeliver
from .filters import DestinationFilter, ErrorFilter, StatusFilter
from .places import place_link, tries, with_lanes
from .trace import chain

# More attempts than this are a long story of redelivering; the newest tell it.
ATTEMPTS_SHOWN = 50
# Events of one trace that a search by it looks at.
TRACE_LIMIT = 200

TONES = {Verdict.DELIVERED: "ok", Verdict.RETRY: "bad", Verdict.FAILED: "bad"}


@admin.register(Delivery)
class DeliveryAdmin(ByIdAdmin):
    """Deliveries, newest first; read, and sent again."""

    list_display = (
        "state", "event_type", "destination", "tries", "next_try", "latency", "created",
    )  # fmt: skip
    list_display_links = ("event_type",)
    list_filter = (StatusFilter, SinceFilter, DestinationFilter, ErrorFilter)
    search_help_text = gettext_lazy("A whole delivery id, event id or trace id.")
    actions = ("redeliver_selected",)
    acts = (redeliver.Redeliver,)
    empty_text = gettext_lazy(
        "No delivery yet. One appears as soon as an event arrives on a route or an agent speaks."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Return the deliveries with their lanes."""
        return with_lanes(super().get_queryset(request))

    def find(self, wanted: UUID) -> Q:
        """Return what picks the delivery, or those of the event or the trace, with this id."""
        # Asked first: as a subquery behind an OR it would make PostgreSQL read the whole table.
        events = list(Event.objects.filter(trace=wanted).values_list("pk", flat=True)[:TRACE_LIMIT])
        return Q(pk=wanted) | Q(event_id__in=[wanted, *events])

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may send deliveries again."""
        return request.user.has_perm(redeliver.PERMISSION)

    @admin.action(description=gettext_lazy("Redeliver…"), permissions=["redeliver"])
    def redeliver_selected(
        self, request: HttpRequest, queryset: QuerySet[Delivery]
    ) -> HttpResponse | None:
        """Redeliver what is ticked, after a page that explains."""
        return redeliver.redeliver_selected(self, request, queryset)

    @admin.display(description=gettext_lazy("status"))
    def state(self, row: Delivery) -> str:
        """Return the status as a word and a dot."""
        return state_mark(row.status, row.get_status_display())

    @admin.display(description=gettext_lazy("destination"))
    def destination(self, row: Delivery) -> str:
        """Return where it goes, linked."""
        return place_link(row.lane)

    @admin.display(description=gettext_lazy("tries"))
    def tries(self, row: Delivery) -> str:
        """Return how often it was tried, of how many."""
        return tries(row)

    @admin.display(description=gettext_lazy("next attempt"))
    def next_try(self, row: Delivery) -> str:
        """Return when it is tried next."""
        return next_try(row)

    @admin.display(description=gettext_lazy("latency"))
    def latency(self, row: Delivery) -> str:
        """Return the time from its creation to its arrival."""
        return spell_milliseconds(row.latency_ms)

    @admin.display(description=gettext_lazy("created"))
    def created(self, row: Delivery) -> str:
        """Return when it was made; retention is a month, so the year goes without saying."""
        return date_format(timezone.localtime(row.created_at), "M j H:i")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Render the delivery with its attempts, its payload and its chain."""
        row: Delivery = context["original"]
        attempts = list(row.attempts.order_by("-number")[:ATTEMPTS_SHOWN])
        body = Payload.objects.filter(pk=row.pk).values_list("body", flat=True).first()
        context |= {
            "attempts": [(attempt, TONES.get(attempt.verdict, "warn")) for attempt in attempts],  # type: ignore[call-overload]
            "state": self.state(row),
            "place": place_link(row.lane),
            "next_try": next_try(row),
            "latency": spell_milliseconds(row.latency_ms),
            "error": attempts[0].error if attempts and row.error_class else "",
            "payload": None if body is None else excerpt(bytes(body)),
            "chain": chain(row.event.trace),
            "lost": row.status in (Delivery.Status.FAILED, Delivery.Status.UNREACHABLE),
            "skipped": row.status == Delivery.Status.SKIPPED,
            "replaced_by": replaced_by(row),
            "can_redeliver": self.has_redeliver_permission(request),
        }
        return super().render_change_form(request, context, *args, **kwargs)


def replaced_by(row: Delivery) -> UUID | None:
    """Return the delivery that a skipped one made room for, as long as the ledger has it."""
    if row.status != Delivery.Status.SKIPPED or "replaced_by" not in row.metadata:
        return None
    newer = Delivery.objects.filter(pk=row.metadata["replaced_by"])
    return newer.values_list("pk", flat=True).first()


def next_try(row: Delivery) -> str:
    """Return when a delivery is tried next, in words; a dash for one that is not."""
    now = timezone.now()
    if row.status != Delivery.Status.PENDING:
        return "–"
    if row.next_attempt_at is None:
        return _("held") if row.lane.state == Lane.State.HELD else _("queued")
    if row.claim is not None:
        return _("being sent")
    if row.next_attempt_at <= now:
        return _("now")
    return _("in %(time)s") % {"time": timeuntil(row.next_attempt_at, now, depth=1)}


def spell_milliseconds(value: int | None) -> str:
    """Return a duration for a person: 154 ms, 2.4 s, 3 min; a dash for none."""
    if value is None:
        return "–"
    if value < 1000:
        return _("%(count)d ms") % {"count": value}
    if value < 120_000:
        return _("%(count).1f s") % {"count": value / 1000}
    minutes = round(value / 60_000)
    return ngettext("%(count)d min", "%(count)d min", minutes) % {"count": minutes}
