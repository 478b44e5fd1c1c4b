"""What a condition of a filter asks of a field: equals, contains, regex and the like.

Values are compared as JSON has them: 1 is 1.0, and neither true nor "1".
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import re2  # type: ignore[import-untyped]
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .filter_fields import SHOWN, Fault
from .paths import MISSING
from .rendering import CUT, as_text

Judge = Callable[[object], bool]

# RE2 takes time in proportion to text times pattern, whatever the pattern: within these a search
# takes a tenth of a second at the very worst, and microseconds as a rule.
MAX_SEARCHED: Final = 16_384  # characters of text
MAX_PATTERN: Final = 1000  # characters
MAX_PROGRAM: Final = 3000  # of RE2's instructions
MAX_MEMORY: Final = 1 << 20  # bytes, of one pattern

# What Python's expressions have and RE2's don't, as its errors name it.
_WAYS_OUT: Final[tuple[tuple[tuple[str, ...], str | Promise], ...]] = (
    (("(?=", "(?!", "(?<"), _("looking ahead or behind is not possible; use “not” or “all”")),
    (("\\Z",), _("the end of the text is \\z")),
    (tuple(f"\\{digit}" for digit in range(1, 10)), _("back references are not possible")),
)


@dataclass(frozen=True, slots=True)
class Operator:
    """One question with its operand. ``judge`` takes a value or MISSING and raises nothing."""

    word: str
    wanted: object
    judge: Judge

    def __str__(self) -> str:
        wanted = json.dumps(self.wanted, ensure_ascii=False)
        return f"{self.word} {wanted if len(wanted) <= SHOWN else wanted[:SHOWN] + CUT}"


def operator(word: str, wanted: object) -> Operator:
    """Return the operator of a word of `OPERATORS`; raise Fault where its operand is no good."""
    return Operator(word, wanted, OPERATORS[word](wanted))


def same(value: object, wanted: object) -> bool:
    """Return whether two JSON values are equal; no deeper than ``wanted`` is looked at."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(wanted, dict):
        return (
            isinstance(value, dict)
            and value.keys() == wanted.keys()
            and all(same(value[key], item) for key, item in wanted.items())
        )
    if isinstance(wanted, list):
        return (
            isinstance(value, list) and len(value) == len(wanted) and all(map(same, value, wanted))
        )
    return value == wanted


def _exists(wanted: object) -> Judge:
    if not isinstance(wanted, bool):
        raise Fault(_("must be true or false"))
    return lambda value: (value is not MISSING) is wanted


def _missing(wanted: object) -> Judge:
    if not isinstance(wanted, bool):
        raise Fault(_("must be true or false"))
    return lambda value: (value is MISSING) is wanted


def _equals(wanted: object) -> Judge:
    if isinstance(wanted, str):
        return lambda value: value == wanted
    return lambda value: same(value, wanted)


def _not_equals(wanted: object) -> Judge:
    # What is missing is not equal: as the reference has it.
    return lambda value: not same(value, wanted)


def _in(wanted: object) -> Judge:
    if not isinstance(wanted, list):
        raise Fault(_("must be a list of values"))
    texts = frozenset(item for item in wanted if isinstance(item, str))
    others = [item for item in wanted if not isinstance(item, str)]

    def judge(value: object) -> bool:
        if isinstance(value, str):
            return value in texts
        return any(same(value, item) for item in others)

    return judge


def _contains(wanted: object) -> Judge:
    text = as_text(wanted, 0) if _is_text_or_number(wanted) else None

    def judge(value: object) -> bool:
        if isinstance(value, list):
            return any(same(item, wanted) for item in value)
        if isinstance(value, dict):
            return isinstance(wanted, str) and wanted in value
        return text is not None and _is_text_or_number(value) and text in as_text(value, 0)

    return judge


def _is_text_or_number(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _regex(wanted: object) -> Judge:
    if not isinstance(wanted, str):
        raise Fault(_("must be text"))
    if len(wanted) > MAX_PATTERN:
        raise Fault(_("is longer than %(count)s characters") % {"count": MAX_PATTERN})
    options = re2.Options()
    options.never_capture = True
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    try:
        pattern = re2.compile(wanted.encode("utf-8", "replace"), options)
    except re2.error as error:
        raise Fault(_reason(error)) from None
    if pattern.programsize > MAX_PROGRAM:
        raise Fault(_("is too large; it repeats too much"))

    def judge(value: object) -> bool:
        text = _searched(value)
        return text is not None and pattern.search(text) is not None

    return judge


def _searched(value: object) -> bytes | None:
    """Return the text a pattern is looked for in; of objects and lists, their JSON."""
    if value is MISSING:
        return None
    if isinstance(value, dict | list):
        try:
            text = json.dumps(value, ensure_ascii=False, sort_keys=True)
        except RecursionError:
            return None
    else:
        text = as_text(value, 0)
    return text[:MAX_SEARCHED].encode("utf-8", "replace")


def _reason(error: re2.error) -> str | Promise:
    said = error.args[0]
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    for marks, way_out in _WAYS_OUT:
        if any(mark in text for mark in marks):
            return way_out
    return text


#: The operators, in the order in which a page lists them.
OPERATORS: Final[Mapping[str, Callable[[object], Judge]]] = MappingProxyType(
    {
        "exists": _exists,
        "missing": _missing,
        "equals": _equals,
        "not_equals": _not_equals,
        "contains": _contains,
        "in": _in,
        "regex": _regex,
    }
)
