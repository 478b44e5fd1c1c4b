"""Filters: conditions an event must meet before anything is woken (facts/hermes-agent.md §12).

A condition is ``{"field": "action", "equals": "opened"}``, or ``all``, ``any``, ``not`` of others.
A list of them means all; none at all lets everything through. What the operators do is in
`filter_operators`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .filter_fields import Fault, Field, Subject, field
from .filter_operators import OPERATORS, Operator, operator

# Conditions within conditions, and conditions and values in all: YAML can hold itself.
MAX_DEPTH: Final = 20
MAX_PARTS: Final = 2000

_GROUPS: Final = ("all", "any", "not")
_KNOWN: Final = (*_GROUPS, *OPERATORS)
# Taken from hermes-agent, and not supported: with the way out.
_REFUSED: Final[Mapping[str, str | Promise]] = {
    "in_file": _("not supported; write the values themselves into “in”"),
    "script": _("scripts are not run; say it with conditions, or let the agent decide"),
}


class FilterError(ValueError):
    """A filter can't be used; ``path`` is the place of the fault, ``reason`` what is wrong."""

    def __init__(self, path: str, reason: str | Promise) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Condition(Protocol):
    """One node of a filter."""

    def holds(self, subject: Subject) -> bool:
        """Return whether the condition is met; raises nothing, whatever came."""

    def failure(self, subject: Subject) -> str:
        """Return why it is not met, with its path; to be asked only then."""

    def __str__(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Filters:
    """The conditions of a route, ready to judge."""

    conditions: tuple[Condition, ...]

    def match(self, payload: object, event: str, headers: Mapping[str, str]) -> bool:
        """Return whether the event meets every condition; ``headers`` have lower-case names."""
        if not self.conditions:
            return True
        subject = Subject(payload, event, headers)
        return all(condition.holds(subject) for condition in self.conditions)

    def explain(self, payload: object, event: str, headers: Mapping[str, str]) -> str | None:
        """Return the first condition that is not met and what was there; None where all are."""
        subject = Subject(payload, event, headers)
        for condition in self.conditions:
            if not condition.holds(subject):
                return condition.failure(subject)
        return None


def compile_filters(spec: object) -> Filters:
    """Return the filters that a route's setting describes: one condition, a list, or nothing.

    Raises FilterError, which names the place: ``filters[1].any[0].regex``.
    """
    if spec is None or spec == {} or spec == []:
        return Filters(())
    reader = _Reader()
    if isinstance(spec, list):
        return Filters(reader.conditions(spec, "filters", 0))
    return Filters((reader.condition(spec, "filters", 0),))


@dataclass(frozen=True, slots=True)
class _All:
    path: str
    conditions: tuple[Condition, ...]

    def holds(self, subject: Subject) -> bool:
        return all(condition.holds(subject) for condition in self.conditions)

    def failure(self, subject: Subject) -> str:
        first = next(one for one in self.conditions if not one.holds(subject))
        return first.failure(subject)

    def __str__(self) -> str:
        return f"all({', '.join(map(str, self.conditions))})"


@dataclass(frozen=True, slots=True)
class _Any:
    path: str
    conditions: tuple[Condition, ...]

    def holds(self, subject: Subject) -> bool:
        return any(condition.holds(subject) for condition in self.conditions)

    def failure(self, subject: Subject) -> str:
        return _("%(path)s: none holds. %(each)s") % {
            "path": self.path,
            "each": "; ".join(condition.failure(subject) for condition in self.conditions),
        }

    def __str__(self) -> str:
        return f"any({', '.join(map(str, self.conditions))})"


@dataclass(frozen=True, slots=True)
class _Not:
    path: str
    condition: Condition

    def holds(self, subject: Subject) -> bool:
        return not self.condition.holds(subject)

    def failure(self, subject: Subject) -> str:
        return _("%(path)s: %(condition)s holds, and must not") % {
            "path": self.path,
            "condition": self.condition,
        }

    def __str__(self) -> str:
        return f"not({self.condition})"


@dataclass(frozen=True, slots=True)
class _Test:
    path: str
    field: Field
    operator: Operator

    def holds(self, subject: Subject) -> bool:
        return self.operator.judge(self.field.find(subject))

    def failure(self, subject: Subject) -> str:
        return _("%(path)s: %(condition)s, but %(found)s") % {
            "path": self.path,
            "condition": self,
            "found": self.field.shown(subject),
        }

    def __str__(self) -> str:
        return f"{self.field} {self.operator}"


class _Reader:
    """Reads conditions, and counts them."""

    def __init__(self) -> None:
        self._parts = 0

    def conditions(self, items: object, path: str, depth: int) -> tuple[Condition, ...]:
        if not isinstance(items, list):
            raise FilterError(path, _("must be a list of conditions"))
        if not items:
            raise FilterError(path, _("is empty; name at least one condition"))
        return tuple(
            self.condition(item, f"{path}[{index}]", depth) for index, item in enumerate(items)
        )

    def condition(self, spec: object, path: str, depth: int) -> Condition:
        self._count(path, depth)
        if not isinstance(spec, dict):
            raise FilterError(
                path, _('must be an object such as {"field": "action", "equals": "opened"}')
            )
        word = _word(spec, path)
        inside = f"{path}.{word}"
        match word:
            case "all":
                return _All(inside, self.conditions(spec["all"], inside, depth + 1))
            case "any":
                return _Any(inside, self.conditions(spec["any"], inside, depth + 1))
            case "not":
                return _Not(inside, self.condition(spec["not"], inside, depth + 1))
        self._check_value(spec[word], inside, depth + 1)
        try:
            looked_at = field(spec.get("field"))
        except Fault as fault:
            raise FilterError(f"{path}.field", fault.reason) from None
        try:
            return _Test(inside, looked_at, operator(word, spec[word]))
        except Fault as fault:
            raise FilterError(inside, fault.reason) from None

    def _check_value(self, value: object, path: str, depth: int) -> None:
        """Refuse what JSON can't say: dates and such, which YAML reads out of bare words."""
        self._count(path, depth)
        match value:
            case None | bool() | str() | int():
                return
            case float() if value == value and abs(value) != float("inf"):
                return
            case list():
                for index, item in enumerate(value):
                    self._check_value(item, f"{path}[{index}]", depth + 1)
            case dict() if all(isinstance(key, str) for key in value):
                for key, item in value.items():
                    self._check_value(item, f"{path}.{key}", depth + 1)
            case _:
                raise FilterError(path, _("is no JSON value; put it in quotes"))

    def _count(self, path: str, depth: int) -> None:
        self._parts += 1
        if depth > MAX_DEPTH:
            raise FilterError(path, _("is nested too deeply"))
        if self._parts > MAX_PARTS:
            raise FilterError(path, _("there are too many conditions and values"))


def _word(spec: Mapping[object, object], path: str) -> str:
    """Return the one operator of a condition."""
    for refused, reason in _REFUSED.items():
        if refused in spec:
            raise FilterError(f"{path}.{refused}", reason)
    words = [word for word in _KNOWN if word in spec]
    for key in spec:
        if key in ("field", "comment") or key in words:
            continue
        near = difflib.get_close_matches(str(key), (*_KNOWN, "field"), 1)
        hint = _("unknown; is “%(near)s” meant?") % {"near": near[0]} if near else _("unknown")
        raise FilterError(f"{path}.{key}", hint)
    if len(words) > 1:
        # The reference looks at one of them and leaves out the rest.
        raise FilterError(
            path,
            _("has %(words)s; one condition takes one of them, combine several by “all”")
            % {"words": ", ".join(words)},
        )
    if not words:
        known = ", ".join(_KNOWN)
        raise FilterError(path, _("lacks an operator: one of %(words)s") % {"words": known})
    if words[0] in _GROUPS and "field" in spec:
        raise FilterError(f"{path}.field", _("does not go with “%(word)s”") % {"word": words[0]})
    return words[0]
