"""What each source would send: sample events of our own making, signed on demand.

One file per source, ``<preset>.json``: an object of event names and the payloads that go with
them. A source that sends what another sends has no file and is named in `_SENDS_AS`.
"""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path

from deliveries.ids import new_id
from routes.presets import presets

from .bodies import content_type_of
from .event import Sample
from .placing import place_event
from .requests import Request, signed_request

__all__ = ["Request", "Sample", "sample", "samples", "signed_request"]

_FOLDER = Path(__file__).resolve().parent
_SENDS_AS = {
    "gitlab_signed": "gitlab",
    "forgejo": "gitea",
    "gogs": "gitea",
    "jira_app": "jira",
    "alertmanager_basic": "alertmanager",
    "feishu_token": "feishu",
    "generic_v2": "generic",
    "bearer": "generic",
    "basic": "generic",
}
# For senders that nobody described: a route's own scheme, or one recognised by its headers.
_ANYBODY = "generic"


def sample(preset_name: str, event: str | None = None) -> Sample:
    """Return a sample event of a source under a new id; its first one unless ``event`` is named.

    An event of which there is no sample gets the first one's payload, and its own name where
    the source says it. A source that is not known sends what the generic one does.
    """
    known = _events(preset_name)
    preset = presets().get(preset_name) or presets()[_ANYBODY]
    name = event or next(iter(known))
    payload = deepcopy(known.get(name, next(iter(known.values()))))
    if name not in known:
        payload = place_event(preset, payload, name)
    return Sample(name, payload, content_type_of(preset), str(new_id()))


def samples(preset_name: str) -> list[Sample]:
    """Return every sample event of a source, each under a new id."""
    return [sample(preset_name, event) for event in _events(preset_name)]


@cache
def _events(preset_name: str) -> dict[str, object]:
    file = _FOLDER / f"{_SENDS_AS.get(preset_name, preset_name)}.json"
    # Names of routes' presets come from files and forms: only a known one names a file.
    if preset_name not in presets() or not file.is_file():
        return _events(_ANYBODY)
    found: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return found
