"""The filters of the delivery history, each one a range of an index."""

from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from deliveries.models import Delivery, Lane

# Destinations listed by name; more would not be read but searched.
LISTED = 60


class StatusFilter(admin.SimpleListFilter):
    """By status, and by the two that mean it never arrived."""

    title = _("status")
    parameter_name = "status"
    LOST = "lost"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the statuses and their sum of losses."""
        return [*Delivery.Status.choices, (self.LOST, _("failed or unreachable"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of one status."""
        if self.value() == self.LOST:
            return queryset.filter(status__in=[Delivery.Status.FAILED, Delivery.Status.UNREACHABLE])
        if self.value() in Delivery.Status.values:
            return queryset.filter(status=self.value())
        return queryset


class DestinationFilter(admin.SimpleListFilter):
    """By one destination, or by a kind of them."""

    title = _("destination")
    parameter_name = "to"
    KINDS = {"agents": "agent", "channels": "channel"}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return both kinds, then the destinations by name."""
        named = Lane.objects.order_by("label").values_list("pk", "label")[:LISTED]
        return [
            ("agents", _("Any agent")),
            ("channels", _("Any channel")),
            *((str(pk), label) for pk, label in named),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of a destination or a kind."""
        value = self.value() or ""
        if kind := self.KINDS.get(value):
            lanes = list(Lane.objects.filter(kind=kind).values_list("pk", flat=True))
            # The sum keeps the index of one lane out of it: for many lanes it means sorting all
            # they have, where the newest rows are nearly always of both kinds.
            either: QuerySet[Any] = queryset.annotate(any_lane=F("lane_id") + 0)
            return either.filter(any_lane__in=lanes)
        if value.isdecimal():
            return queryset.filter(lane_id=int(value))
        return queryset


class ErrorFilter(admin.SimpleListFilter):
    """Failed deliveries by what they failed of; a fixed list, since asking reads the table."""

    title = _("error")
    parameter_name = "error"
    WORDS = (
        "client_error",
        "exhausted",
        "timeout",
        "dns",
        "connect",
        "tls",
        "reset",
        "protocol",
        "blocked",
    )

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the error classes the engine writes most."""
        return [(word, word) for word in self.WORDS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the failed rows of one error class."""
        if self.value() not in self.WORDS:
            return queryset
        return queryset.filter(status=Delivery.Status.FAILED, error_class=self.value())
