"""Whether a route wants an event, whichever of its spellings the route was given."""

from collections.abc import Iterable, Mapping

from .paths import MISSING, parse_path, walk

# Where sources say what was done: GitHub's issues.opened, GitLab's merge_request.open.
_ACTIONS = (parse_path("action"), parse_path("object_attributes.action"))


def as_events(configured: object) -> frozenset[str]:
    """Return the events of a route as configured: a list, one name, or nothing for all.

    A text is one event and never a pattern: ``push`` does not let ``pus`` through.
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

    Besides the name itself, ``name.action`` matches (``issues.opened``), and for GitLab what its
    header says (``Merge Request Hook``) and the body's ``event_type``
    (``confidential_issue``). Case counts.
    """
    if not events or event in events:
        return True
    if not isinstance(payload, dict):
        return headers.get("x-gitlab-event") in events
    if hook := headers.get("x-gitlab-event"):
        name = payload.get("event_type")
        if hook in events or (isinstance(name, str) and name in events):
            return True
    for path in _ACTIONS:
        action = walk(payload, path)
        if action is not MISSING and isinstance(action, str) and f"{event}.{action}" in events:
            return True
    return False
