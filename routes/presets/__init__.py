"""The sources Hermes knows, one record each.

To add a source, add its record to the tuple of its family; a new family is a new module and
one more line in `_ALL`. Verification, event name, delivery id and signer follow from the record.
"""

from collections.abc import Mapping
from types import MappingProxyType

from .code_hosts import CODE_HOSTS
from .generic import GENERIC
from .reading import UNKNOWN_EVENT, delivery_id, event_type
from .record import Encoding, EventName, Preset, Scheme, Timestamp

__all__ = [
    "AUTO",
    "UNKNOWN_EVENT",
    "Encoding",
    "EventName",
    "Preset",
    "Scheme",
    "Timestamp",
    "delivery_id",
    "detect",
    "event_type",
    "presets",
]

#: The preset of a route that recognises its sender by the headers.
AUTO = "auto"

# In the order of recognition: the first whose headers are there commits, so whoever also sends
# another's headers stands before it (facts/sources.md §4).
_ALL = (*CODE_HOSTS, *GENERIC)
_BY_NAME: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
_MARKS = tuple((preset.marks, preset) for preset in _ALL)


def presets() -> Mapping[str, Preset]:
    """Return every source by its name, in the order of recognition."""
    return _BY_NAME


def detect(headers: Mapping[str, str]) -> Preset | None:
    """Return the source these headers belong to; None where no signature is there.

    An empty header counts as absent. The first scheme present commits: if it then fails, no
    weaker one is tried.
    """
    for marks, preset in _MARKS:
        for mark in marks:
            if not headers.get(mark):
                break
        else:
            return preset
    return None
