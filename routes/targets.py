"""The targets of a route: the first in fields of its own, the rest in ``fan_out``."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from platforms.services import UnknownChannel, channel_for

from .models import Route

#: The target of a route that names none (spec 001, delivery options).
LOG: Final = "log"


class Target(NamedTuple):
    """A channel or platform by name, and where on it (templates as values)."""

    deliver: str
    extra: Mapping[str, Any]


def targets_of(route: Route) -> list[Target]:
    """Return where a route delivers to; raise ValueError where its ``fan_out`` is malformed."""
    return [Target(route.deliver or LOG, route.deliver_extra), *_further(route.fan_out)]


def fan_out_of(targets: Iterable[Target]) -> list[dict[str, Any]]:
    """Return targets beyond the first as the field ``fan_out`` keeps them."""
    return [{"deliver": deliver, "deliver_extra": dict(extra)} for deliver, extra in targets]


def unknown_target(deliver: str) -> str:
    """Return why nothing can be delivered to that name, with the way out; empty when it can."""
    if deliver in ("", LOG):
        return ""
    try:
        channel_for(deliver)
    except UnknownChannel as error:
        return str(error)
    return ""


def _further(fan_out: object) -> list[Target]:
    if not isinstance(fan_out, list):
        raise ValueError("fan_out must be a list of targets")
    found = []
    for index, item in enumerate(fan_out):
        if not isinstance(item, dict):
            raise ValueError(f"fan_out[{index}] must be a mapping with deliver and deliver_extra")
        deliver, extra = item.get("deliver"), item.get("deliver_extra", {})
        if not isinstance(deliver, str) or not deliver.strip():
            raise ValueError(f"fan_out[{index}].deliver must be the name of a channel or platform")
        if not isinstance(extra, dict):
            raise ValueError(f"fan_out[{index}].deliver_extra must be a mapping")
        found.append(Target(deliver, extra))
    return found
