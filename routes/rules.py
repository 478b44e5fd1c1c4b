"""What the fields of a route must be beyond their types, wherever the route is written."""

from django.core.exceptions import ValidationError

from .coalescing import validate_coalesce
from .filters import FilterError, compile_filters
from .models import Route
from .presets import AUTO, CUSTOM, presets
from .presets.custom import custom_preset
from .targets import LOG, targets_of

__all__ = ["CUSTOM", "faults", "nowhere", "unknown_source"]


def faults(route: Route) -> dict[str, str]:
    """Return what is wrong with a route by field, each with the path of the fault.

    No database is asked. A direct delivery to nowhere is `nowhere`'s to find, a source that is
    not known `unknown_source`'s: a file with one of these is read, and the start refused.
    """
    found = {}
    if route.preset == CUSTOM:
        try:
            custom_preset(route.custom_scheme)
        except ValidationError as error:
            found["custom_scheme"] = f"custom_scheme: {' '.join(error.messages)}"
    try:
        compile_filters(route.filters)
    except FilterError as error:
        found["filters"] = str(error)
    try:
        targets_of(route)
    except ValueError as error:
        found["fan_out"] = str(error)
    try:
        validate_coalesce(route.coalesce, deliver_only=route.deliver_only)
    except ValidationError as error:
        found["coalesce"] = f"coalesce: {' '.join(error.messages)}"
    return found


def nowhere(route: Route) -> bool:
    """Return whether a route only delivers, and one of its targets is no real one (spec 001)."""
    return route.deliver_only and any(deliver == LOG for deliver, _extra in targets_of(route))


def unknown_source(route: Route) -> str:
    """Return why the source that a route names is none; empty when it is one."""
    if route.preset in (AUTO, CUSTOM) or route.preset in presets():
        return ""
    return f"“{route.preset}” is no source; known are {', '.join([AUTO, *presets(), CUSTOM])}."
