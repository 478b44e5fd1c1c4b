"""The sources Hermes knows, one record each.

To add a source, add its record to the tuple of its family; a new family is a new module and
one more line in `_FAMILIES`. Verification, event name, delivery id, handshake and signer follow
from the record.
"""

from collections.abc import Mapping
from types import MappingProxyType

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .clouds import CLOUDS
from .code_hosts import CODE_HOSTS
from .customers import CUSTOMERS
from .generic import GENERIC
from .mail_and_phone import MAIL_AND_PHONE
from .messengers import MESSENGERS
from .monitoring import MONITORING
from .reading import UNKNOWN_EVENT, delivery_id, event_type
from .recognition import Recognition
from .record import Encoding, EventName, Preset, Scheme, Timestamp
from .standard import STANDARD
from .trackers import TRACKERS

__all__ = [
    "AUTO",
    "CUSTOM",
    "UNKNOWN_EVENT",
    "Encoding",
    "EventName",
    "Preset",
    "Scheme",
    "Timestamp",
    "delivery_id",
    "detect",
    "event_type",
    "families",
    "presets",
    "tells_secret",
]

#: The preset of a route that recognises its sender by the headers.
AUTO = "auto"
#: The preset of a route whose own `custom_scheme` says how its sender signs.
CUSTOM = "custom"

# In the order of recognition: the first whose headers are there commits, so whoever also sends
# another's headers stands before it (facts/sources.md §4). Meta before GitHub, whose header it
# has; Hookdeck, which passes on the headers of others, after them.
_FAMILIES: tuple[tuple[str | Promise, tuple[Preset, ...]], ...] = (
    (_("Chat"), MESSENGERS),
    (_("Code"), CODE_HOSTS),
    (_("Trackers and documents"), TRACKERS),
    (_("Customers and payments"), CUSTOMERS),
    (_("Monitoring"), MONITORING),
    (_("Mail and telephone"), MAIL_AND_PHONE),
    (_("Standard Webhooks"), STANDARD),
    (_("Platforms"), CLOUDS),
    (_("Programs of your own"), GENERIC),
)
_ALL = tuple(preset for _label, family in _FAMILIES for preset in family)
_BY_NAME: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
_RECOGNITION = Recognition(_ALL)


def presets() -> Mapping[str, Preset]:
    """Return every source by its name, in the order of recognition."""
    return _BY_NAME


def tells_secret(name: str) -> bool:
    """Return whether a source of this name tells its secret; then no other one is meant for it."""
    preset = _BY_NAME.get(name)
    return preset is not None and preset.tells_secret


def families() -> tuple[tuple[str | Promise, tuple[Preset, ...]], ...]:
    """Return the sources in groups that a person looks for them in, each with its label."""
    return _FAMILIES


def detect(headers: Mapping[str, str]) -> Preset | None:
    """Return the source these headers belong to; None where no signature is there.

    See `Recognition.preset_of`.
    """
    return _RECOGNITION.preset_of(headers)
