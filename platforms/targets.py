"""Where a message goes: what the route's target says, else the channel's home."""

import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from deliveries.outcomes import Outcome

# A template that found nothing leaves its placeholder; it must never be sent as a chat's name.
UNRENDERED = re.compile(r"\{[^{}]*\}")


def value_of(place: Mapping[str, Any], name: str) -> str:
    """Return a field of a target or a home as text; empty when it says nothing."""
    value = place.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value).strip()
    return "" if UNRENDERED.search(text) else text


def no_destination(name: str) -> Outcome:
    """Return the failure of a message that says not where to go, on a channel without a home."""
    return Outcome.failed(
        "no_destination",
        _("No %(name)s: the route gives none, and the channel has no home.") % {"name": name},
        faults_channel=True,
    )


def bad_target(name: str, value: str) -> Outcome:
    """Return the failure of a message whose target the platform cannot have."""
    words = {"name": name, "value": value[:100]}
    return Outcome.failed("bad_target", _("%(value)r is not a valid %(name)s.") % words)


def no_text() -> Outcome:
    """Return the failure of a message that has nothing to say."""
    return Outcome.failed("empty_message", _("The message has no text."))
