"""Where deliveries go, as links; the tables of destinations are known by name only."""

from typing import Any

from django.db.models import F, Prefetch, QuerySet
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from deliveries.ladder import AGENT_LADDER, CHANNEL_LADDER
from deliveries.models import Delivery, Lane

LADDERS = {"agent": AGENT_LADDER, "channel": CHANNEL_LADDER}


def lanes() -> QuerySet[Lane]:
    """Return lanes, each with the key of the row it belongs to as ``<kind>_pk``."""
    owners = {
        f"{relation.name}_pk": F(f"{relation.name}__pk")
        for relation in Lane._meta.related_objects
        if relation.one_to_one
    }
    return Lane.objects.annotate(**owners)


def with_lanes(rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Return deliveries that fetch their lanes in one query apart.

    Joined, the lanes tempt SQLite to start from them and to sort the whole ledger afterwards.
    """
    return rows.prefetch_related(Prefetch("lane", queryset=lanes()))


def place_link(lane: Any) -> str:
    """Return the destination's name as HTML, linked while it exists; a lane of `lanes`."""
    pk = getattr(lane, f"{lane.kind}_pk", None)
    if pk is None:
        return format_html("{}", lane.label)
    owner: Any = Lane._meta.get_field(lane.kind).related_model
    try:
        url = reverse(f"admin:{owner._meta.label_lower.replace('.', '_')}_change", args=[pk])
    except NoReverseMatch:
        return format_html("{}", lane.label)
    return format_html('<a href="{}">{}</a>', url, lane.label)


def tries(delivery: Delivery) -> str:
    """Return "3 / 8": how often it was tried, of how many times one climb has."""
    ladder = LADDERS.get(delivery.lane.kind)
    if ladder is None or delivery.attempt_count > ladder.tries:
        return str(delivery.attempt_count)
    return _("%(count)d / %(of)d") % {"count": delivery.attempt_count, "of": ladder.tries}
