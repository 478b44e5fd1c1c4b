"""States and destinations in templates, as the lists show them."""

from typing import Any

from django import template

from deliveries import lists
from deliveries.admin import places
from deliveries.models import Delivery

register = template.Library()


@register.filter
def tone(value: str) -> str:
    """Return the tone of a state: ok, warn, bad or idle."""
    return lists.TONES.get(value, "idle")


@register.filter
def state_mark(delivery: Delivery) -> str:
    """Return a delivery's status as a word and a dot."""
    return lists.state_mark(delivery.status, delivery.get_status_display())


@register.filter
def place_link(lane: Any) -> str:
    """Return a lane's destination, linked."""
    return places.place_link(lane)


@register.filter
def tries(delivery: Delivery) -> str:
    """Return how often a delivery was tried, of how many."""
    return places.tries(delivery)
