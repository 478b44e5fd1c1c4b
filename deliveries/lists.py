"""Admin lists that stay quick at millions of rows (facts/performance.md C)."""

from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import Promise, cached_property
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from .acts import ActsAdmin
from .selectors import first_id_of

# Beyond it a list says "more than 1000" and its filters lead further.
COUNT_LIMIT = 1000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs only
    """Counts one row more than the limit and no further: counting 5 M takes 46-174 ms."""

    limit = COUNT_LIMIT

    @cached_property
    def count(self) -> int:
        """Return the number of rows, at most one more than the limit."""
        rows: Any = self.object_list
        found: int = rows.order_by().values("pk")[: self.limit + 1].count()
        return found


class TunedAdmin(ActsAdmin):
    """Newest first, counted up to a limit, without facets; says what an empty list waits for."""

    ordering = ("-pk",)
    sortable_by = ()
    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = BoundedPaginator
    list_max_show_all = 0
    empty_text: ClassVar[str | Promise] = _("Nothing here yet.")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list under its own name rather than as "Select … to change"."""
        title = capfirst(self.opts.verbose_name_plural)
        context = {"title": title, "empty_text": self.empty_text}
        return super().changelist_view(request, context | (extra_context or {}))


class LedgerAdmin(TunedAdmin):
    """Rows that are only ever read here: the ledger is written by the gateway alone."""

    actions: Any = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: nobody writes the ledger by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: the ledger is what happened."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: retention removes rows."""
        return False


def is_list(request: HttpRequest) -> bool:
    """Return whether a request is for a list, which shows less of each row than its page."""
    match = request.resolver_match
    return match is not None and str(match.url_name).endswith("_changelist")


class ByIdAdmin(LedgerAdmin):
    """A ledger list that is searched by whole ids: anything vaguer would read the whole table."""

    # Django shows the search box for any value; `get_search_results` decides.
    search_fields = ("pk",)

    def find(self, wanted: UUID) -> Q:
        """Return what picks the rows that have something to do with an id."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows for a whole id; none for any other text."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            return queryset.none(), False
        return queryset.filter(self.find(wanted)), False


class SinceFilter(admin.SimpleListFilter):
    """Rows by age, as a range of the primary key: UUIDv7 ids carry their time."""

    title = _("time")
    parameter_name = "since"
    spans: ClassVar[dict[str, tuple[str | Promise, timedelta | None, timedelta | None]]] = {
        "1h": (_("Last hour"), timedelta(hours=1), None),
        "24h": (_("Last 24 hours"), timedelta(hours=24), None),
        "2d": (_("The day before"), timedelta(hours=48), timedelta(hours=24)),
        "7d": (_("Two to seven days ago"), timedelta(days=7), timedelta(days=2)),
        "old": (_("Older than seven days"), None, timedelta(days=7)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the spans by their names."""
        return [(key, label) for key, (label, _first, _last) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen span."""
        if self.value() not in self.spans:
            return queryset
        _label, first, last = self.spans[str(self.value())]
        now = timezone.now()
        if first is not None:
            queryset = queryset.filter(pk__gte=first_id_of(now - first))
        if last is not None:
            queryset = queryset.filter(pk__lt=first_id_of(now - last))
        return queryset


class RouteFilter(admin.SimpleListFilter):
    """By a route's name, as it comes in a link from the route's page; lists nothing itself."""

    title = _("route")
    parameter_name = "route"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the route in question only: collecting the names would read the ledger."""
        chosen = request.GET.get(self.parameter_name)
        return [(chosen, chosen)] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the route."""
        return queryset.filter(route=self.value()) if self.value() else queryset


TONES = {
    "delivered": "ok", "ready": "ok", "ok": "ok", "confirmed": "ok",
    "pending": "warn", "needs_attention": "warn", "open": "warn",
    "failed": "bad", "unreachable": "bad",
}  # fmt: skip


def state_mark(value: str, word: str | Promise) -> str:
    """Return a state as HTML: its word and a dot; a value without a tone is an idle one."""
    return format_html('<span class="state state-{}">{}</span>', TONES.get(value, "idle"), word)
