"""Dotted paths into a payload: ``pull_request.user.login``, ``alerts.0.labels.name``."""

from typing import Final

# A step by key and, where it is the plain number of a list item, by position.
Step = tuple[str, int | None]
Path = tuple[Step, ...]

MISSING: Final = object()

# More digits than any list has items; int() of an absurdly long number would be slow.
_MAX_INDEX_DIGITS = 9


def parse_path(text: str) -> Path:
    """Return the steps of a dotted path; an empty part looks up the empty key."""
    return tuple((part, _index(part)) for part in text.split("."))


def walk(payload: object, path: Path) -> object:
    """Return what lies at the path, or MISSING; only objects and lists are walked into."""
    here = payload
    for key, index in path:
        if isinstance(here, dict):
            here = here.get(key, MISSING)
            if here is MISSING:
                return MISSING
        elif index is not None and isinstance(here, list) and index < len(here):
            here = here[index]
        else:
            return MISSING
    return here


def _index(part: str) -> int | None:
    if not part.isdecimal() or len(part) > _MAX_INDEX_DIGITS or str(int(part)) != part:
        return None
    return int(part)
