"""Whether a route wants an event, whichever of its spellings the route was given."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Final

from .paths import parse_path, walk

#: At the end of a name, any ending: ``invoice.*``, ``repo:*``, ``orders/*``.
ANY_ENDING: Final = "*"

# Where sources say what was done: GitHub's issues.opened, GitLab's merge_request.open.
_ACTIONS = (parse_path("action"), parse_path("object_attributes.action"))
# Headers with a second name of the event: GitLab's "Merge Request Hook", Forgejo's finer one.
_OTHER_HEADERS = ("x-gitlab-event", "x-forgejo-event-type", "x-gitea-event-type")
# Fields with a second name of a GitLab event: confidential_issue, and of a system hook.
_GITLAB_FIELDS = ("event_type", "event_name")

# Several events in one request: the fields they are under, where the body is no list itself, and
# how each is named. SendGrid; HubSpot; Azure Event Grid; Microsoft Graph; Meta; Asana.
_BATCHES = ("events", "value", "entry")
_NAMES_IN_BATCH = tuple(
    parse_path(path)
    for path in (
        "event",
        "subscriptionType",
        "eventType",
        "changeType",
        "field",
        "resource.resource_type",
    )
)
# More than any sender puts into one request; the rest is not looked at.
_MAX_BATCH = 1000


def as_events(configured: object) -> frozenset[str]:
    """Return the events of a route as configured: a list, one name, or nothing for all.

    A text is one event: ``push`` does not let ``pus`` through.
    """
    if isinstance(configured, str):
        configured = [configured]
    if not isinstance(configured, Iterable):
        return frozenset()
    return frozenset(name.strip() for name in configured if isinstance(name, str) and name.strip())


def matches(
    events: frozenset[str], event: str, headers: Mapping[str, str], payload: object
) -> bool:
    """Return whether the route wants this event; a route without events wants all.

    Besides the name itself, ``name.action`` matches (``issues.opened``), for GitLab what its
    header says (``Merge Request Hook``) and the body's ``event_type`` (``confidential_issue``),
    and the name of any event of a batch. ``invoice.*`` matches all that begins with
    ``invoice.``. Case counts.
    """
    if not events or event in events:
        return True
    names = (event, *_other_names(event, headers, payload))
    if not events.isdisjoint(names):
        return True
    beginnings = _beginnings(events)
    return bool(beginnings) and any(name.startswith(beginnings) for name in names)


@lru_cache(maxsize=1024)
def _beginnings(events: frozenset[str]) -> tuple[str, ...]:
    return tuple(name.removesuffix(ANY_ENDING) for name in events if name.endswith(ANY_ENDING))


def _other_names(event: str, headers: Mapping[str, str], payload: object) -> Iterator[str]:
    for header in _OTHER_HEADERS:
        if name := headers.get(header):
            yield name
    if isinstance(payload, dict):
        if headers.get("x-gitlab-event"):
            yield from _texts(payload.get(key) for key in _GITLAB_FIELDS)
        for action in _texts(walk(payload, path) for path in _ACTIONS):
            yield f"{event}.{action}"
    for item in islice(_batch(payload), _MAX_BATCH):
        for name in _texts(walk(item, path) for path in _NAMES_IN_BATCH):
            yield name
            for action in _texts([walk(item, _ACTIONS[0])]):
                yield f"{name}.{action}"


def _batch(payload: object) -> Iterator[object]:
    if isinstance(payload, list):
        yield from payload
    elif isinstance(payload, dict):
        for key in _BATCHES:
            items = payload.get(key)
            for item in items if isinstance(items, list) else ():
                yield item
                # Meta has one level more.
                changes = item.get("changes") if isinstance(item, dict) else None
                yield from changes if isinstance(changes, list) else ()


def _texts(values: Iterable[object]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))
