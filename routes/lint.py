"""What is likely wrong with a template: placeholders that stay empty, tokens that are none."""

import difflib
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from .paths import MISSING, parse_path, walk
from .templating import EVENT_TYPE, PLACEHOLDER, RAW, Template

# Braces with something in them, single or doubled.
_TOKEN: Final = re.compile(r"(?<!\{)\{(\{)?([^{}\n]{1,100})\}(?(1)\})")
_INDEX: Final = re.compile(r"\[\s*(?:(\d+)|'(\w+)'|\"(\w+)\")\s*\]")
_KEY_PATH: Final = re.compile(r"[\w.-]+")
# What people put before a path, out of habit from other languages.
_EVENT: Final = "event"
_ROOTS: Final = (_EVENT, "payload", "body", "data", "json")
# Keys of one object that are looked through for one that is much alike.
_MAX_KEYS: Final = 500


def missing_placeholders(template: Template, payloads: Sequence[object]) -> Mapping[str, float]:
    """Return the placeholders that some of the payloads lacked, with the share that did (0-1).

    In the order of the template. ``{__raw__}`` and ``{event_type}`` are never missing.
    """
    shares: dict[str, float] = {}
    for name in dict.fromkeys(template.placeholders):
        if name in (RAW, EVENT_TYPE) or not payloads:
            continue
        path = parse_path(name)
        lacked = sum(walk(payload, path) is MISSING for payload in payloads)
        if lacked:
            shares[name] = lacked / len(payloads)
    return shares


def suggestion(name: str, payloads: Sequence[object]) -> str | None:
    """Return the placeholder that was probably meant by one that is missing; None: no idea.

    ``payload`` is ``__raw__`` here, ``payload.title`` is ``title``, ``titel`` is ``title``.
    """
    root, _, rest = name.partition(".")
    if root in _ROOTS:
        if not rest:
            return EVENT_TYPE if root == _EVENT else RAW
        if _is_in(rest, payloads):
            return rest
    return next((found for payload in payloads if (found := _nearest(name, payload))), None)


def misspellings(text: str) -> Mapping[str, str]:
    """Return what looks like a placeholder of a template and is none, with the right spelling.

    The spelling is "" where there is none: a key with a hyphen can't be named.
    """
    found: dict[str, str] = {}
    for token in _TOKEN.finditer(text):
        inside = token[2].strip()
        if PLACEHOLDER.fullmatch(token[0]):
            continue
        path = _INDEX.sub(lambda part: f".{part[1] or part[2] or part[3]}", inside)
        path = path.removeprefix("$").removeprefix(".")
        if PLACEHOLDER.fullmatch(spelling := f"{{{path}}}"):
            found[token[0]] = spelling
        elif _KEY_PATH.fullmatch(path):
            found[token[0]] = ""
    return found


def _is_in(name: str, payloads: Sequence[object]) -> bool:
    path = parse_path(name)
    return any(walk(payload, path) is not MISSING for payload in payloads)


def _nearest(name: str, payload: object) -> str | None:
    """Return the path with its first wrong step replaced by a key that is much like it."""
    steps = name.split(".")
    here = payload
    for index, step in enumerate(steps):
        below = walk(here, parse_path(step))
        if below is not MISSING:
            here = below
            continue
        keys = islice(here, _MAX_KEYS) if isinstance(here, dict) else ()
        for key in difflib.get_close_matches(step, list(keys), 3):
            path = ".".join([*steps[:index], key, *steps[index + 1 :]])
            if PLACEHOLDER.fullmatch(f"{{{path}}}") and _is_in(path, [payload]):
                return path
        return None
    return None
