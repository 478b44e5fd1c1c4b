"""The prompt workbench: what a route would make of an event; nothing is stored or sent."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from django.core.exceptions import ValidationError
from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .coalescing import compile_coalesce, validate_coalesce
from .conversation_keys import conversation_key
from .fencing import Fence
from .filters import FilterError, compile_filters
from .form_fields import readable_json
from .handshakes import greet
from .lint import missing_placeholders, suggestion
from .matching import as_events, matches
from .models import Route
from .parsing import Unparseable, parse_body
from .presets import AUTO, Preset, detect, event_type
from .signatures import Verified
from .table import UNSIGNED
from .targets import Target, targets_of
from .templating import compile_template, render_target

# Of a difference, so many lines are shown; and a longer text is compared as far as this.
SHOWN_LINES = 200
COMPARED_LINES = 2000

#: Tones of `deliveries.lists`: passes, stops the event, worth knowing, does not apply.
PASSES, STOPS, NOTED, IDLE = "ok", "bad", "warn", "idle"


@dataclass(frozen=True, slots=True)
class Given:
    """An event to be tried: headers in lower case, the raw body, its name where it is known."""

    headers: Mapping[str, str]
    body: bytes
    event: str = ""  # empty: it is read from the request


@dataclass(frozen=True, slots=True)
class Draft:
    """What of a route can be tried before it is saved."""

    prompt: str
    filters: Any
    fence: bool
    conversation_key: str

    @classmethod
    def of(cls, route: Route) -> "Draft":
        """Return what is saved."""
        return cls(route.prompt, route.filters, route.fence, route.conversation_key)


@dataclass(frozen=True, slots=True)
class Step:
    """One check of the receive path, and what it says of this event."""

    name: str | Promise
    tone: str
    says: str


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a target: its template, and what came of it; None: the home takes its place."""

    name: str
    template: str
    resolved: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """A target as this event would reach it; without values, it is the home of the channel."""

    deliver: str
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Trial:
    """What would become of an event; without a ``prompt`` it could not be read."""

    steps: Sequence[Step]
    prompt: str | None = None
    fenced: bool = False
    places: Sequence[Place] = ()

    @property
    def stopped_by(self) -> Step | None:
        """Return the first step that stops the event; None where it goes out."""
        return next((step for step in self.steps if step.tone == STOPS), None)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a difference: ``sign`` is "+", "-", " ", or "…" where lines are left out."""

    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Lack:
    """A placeholder that ``count`` events lacked, and what was probably meant by it."""

    name: str
    count: int
    meant: str | None


def try_out(
    route: Route, draft: Draft, given: Given, preset: Preset | None, max_body_bytes: int
) -> Trial:
    """Return what the route, with this draft, would make of an event.

    All that needs no signature, in the order of the receive path. A step that stops the event
    does not end the trial: what would follow is shown as well. Never raises on any body.
    """
    if preset is None and route.preset == AUTO:
        preset = detect(given.headers)
    size = _size(given.body, max_body_bytes)
    try:
        payload = parse_body(given.body, given.headers.get("content-type", ""))
    except Unparseable as error:
        return Trial((size, Step(_PARSED, STOPS, f"400: {error}")))
    event = given.event or event_type(preset, given.headers, payload)
    fence = fence_of(preset) if draft.fence and not route.deliver_only else None
    template = compile_template(draft.prompt)
    try:
        prompt = template.render(payload, event, route.name, fence)
    except RecursionError:
        return Trial((size, Step(_PARSED, STOPS, _("400: the body is nested too deeply."))))
    steps = (
        size,
        Step(_PARSED, PASSES, _shape(payload)),
        *_handshake(preset, given, payload),
        Step(_NAMED, PASSES, event),
        *_greeting(route, preset, event),
        _wanted(route, event, given, payload),
        _filtered(draft, event, given, payload),
        *_keys(route, draft, event, payload),
    )
    return Trial(steps, prompt, fence is not None, _places(route, payload, event))


def fence_of(preset: Preset | None) -> Fence:
    """Return the fence of a route's prompts, which names the sender."""
    return Fence(str(preset.label) if preset else UNSIGNED)


def difference(before: str, after: str) -> list[Line]:
    """Return the lines in which two texts differ, with three lines round them; empty: none."""
    if before == after:
        return []
    compared = unified_diff(
        before.splitlines()[:COMPARED_LINES], after.splitlines()[:COMPARED_LINES], lineterm=""
    )
    lines: list[Line] = []
    for number, line in enumerate(compared):
        if number < 2:  # the names of the files
            continue
        if line.startswith("@@"):
            if lines:
                lines.append(Line("…", ""))
            continue
        lines.append(Line(line[0], line[1:]))
        if len(lines) >= SHOWN_LINES:
            return [*lines, Line("…", "")]
    return lines or [Line("…", "")]


def lint(prompt: str, payloads: Sequence[object]) -> list[Lack]:
    """Return the placeholders that some of these events lacked, the most often missing first."""
    shares = missing_placeholders(compile_template(prompt), payloads)
    found = [
        Lack(name, round(share * len(payloads)), suggestion(name, payloads))
        for name, share in shares.items()
    ]
    return sorted(found, key=lambda lack: -lack.count)


def settings_text(draft: Draft) -> str:
    """Return a draft as text, for the difference to what is saved."""
    return "\n".join(
        [
            draft.prompt,
            "",
            f"filters: {readable_json(draft.filters or [])}",
            f"conversation key: {draft.conversation_key}",
            f"payload text marked as data: {'yes' if draft.fence else 'no'}",
        ]
    )


_SIZED = gettext_lazy("Size")
_PARSED = gettext_lazy("Body")
_NAMED = gettext_lazy("Event")
_GREETED = gettext_lazy("Greeting")
_WANTED = gettext_lazy("Events of the route")
_FILTERED = gettext_lazy("Filters")
_CONVERSATION = gettext_lazy("Conversation")
_COALESCED = gettext_lazy("Coalescing")


def _size(body: bytes, limit: int) -> Step:
    words = {"size": filesizeformat(len(body)), "limit": filesizeformat(limit)}
    if len(body) > limit:
        return Step(_SIZED, STOPS, _("413: %(size)s, and %(limit)s are allowed.") % words)
    return Step(_SIZED, PASSES, _("%(size)s of at most %(limit)s") % words)


def _shape(payload: object) -> str:
    if isinstance(payload, dict):
        return _("an object with %s fields") % len(payload)
    if isinstance(payload, list):
        return _("a list with %s items") % len(payload)
    return _("a single value")


def _handshake(preset: Preset | None, given: Given, payload: object) -> Iterator[Step]:
    """Say where it only asks whether the address is ours."""
    if preset is None or preset.handshake is None:
        return
    greeting = greet(
        preset, (), "POST", "", given.headers, payload, Verified(preset), now=time.time()
    )
    if greeting is not None:
        yield Step(_GREETED, STOPS, _("A set-up request: Hermes answers it, nobody is woken."))


def _greeting(route: Route, preset: Preset | None, event: str) -> Iterator[Step]:
    if preset is not None and event in preset.greetings and event not in as_events(route.events):
        yield Step(_GREETED, STOPS, _("200, ignored: it only says hello."))


def _wanted(route: Route, event: str, given: Given, payload: object) -> Step:
    events = as_events(route.events)
    if not events:
        return Step(_WANTED, PASSES, _("every event is accepted"))
    listed = ", ".join(sorted(events))
    if matches(events, event, given.headers, payload):
        return Step(_WANTED, PASSES, _("one of: %s") % listed)
    return Step(_WANTED, STOPS, _("200, ignored: not one of %s.") % listed)


def _filtered(draft: Draft, event: str, given: Given, payload: object) -> Step:
    if not draft.filters:
        return Step(_FILTERED, IDLE, _("none"))
    try:
        filters = compile_filters(draft.filters)
    except FilterError as error:
        return Step(_FILTERED, STOPS, str(error))
    failed = filters.explain(payload, event, given.headers)
    if failed:
        return Step(_FILTERED, STOPS, _("200, ignored: %s") % failed)
    return Step(_FILTERED, PASSES, _("all conditions are met"))


def _keys(route: Route, draft: Draft, event: str, payload: object) -> Iterator[Step]:
    if route.deliver_only:
        return
    if not draft.conversation_key:
        yield Step(_CONVERSATION, IDLE, _("one of its own"))
    else:
        key = conversation_key(compile_template(draft.conversation_key), payload, event)
        yield (
            Step(_CONVERSATION, PASSES, key)
            if key is not None
            else Step(_CONVERSATION, NOTED, _("one of its own: the key lacks a field."))
        )
    yield from _coalescing_key(route, event, payload)


def _coalescing_key(route: Route, event: str, payload: object) -> Iterator[Step]:
    try:
        validate_coalesce(route.coalesce)
    except ValidationError as error:
        yield Step(_COALESCED, NOTED, " ".join(error.messages))
        return
    coalesce = compile_coalesce(route.coalesce)
    if coalesce is None:
        return
    key = conversation_key(coalesce.key, payload, event)
    if key is None:
        yield Step(_COALESCED, NOTED, _("sent at once: the key lacks a field."))
        return
    words = {"key": key, "seconds": int(coalesce.window.total_seconds())}
    yield Step(_COALESCED, PASSES, _("waits %(seconds)s s for a newer one of %(key)s") % words)


def _places(route: Route, payload: object, event: str) -> list[Place]:
    try:
        targets = targets_of(route)
    except ValueError:
        targets = [Target(route.deliver, route.deliver_extra)]
    return [_place(target, payload, event) for target in targets]


def _place(target: Target, payload: object, event: str) -> Place:
    resolved = render_target(target.extra, payload, event)
    return Place(
        target.deliver,
        [
            Value(name, _shown(template), _shown(resolved[name]) if name in resolved else None)
            for name, template in target.extra.items()
        ],
    )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
