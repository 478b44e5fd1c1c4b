"""Manifests: what an agent says it can do takes effect when a person has accepted it."""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from agents.event_types import CAPABILITY_CHANGED
from agents.models import Agent, Artifact
from deliveries.transactions import write_transaction

from .artifacts import close, still_open, supersede
from .events import emit

logger = logging.getLogger(__name__)

LIMIT = 65_536  # bytes of JSON
LIFE = timedelta(days=7)
# What a page shows of a difference: so many lines, so deep, so much of a value.
LINES, DEPTH, VALUE_LIMIT = 200, 6, 300
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which two manifests differ; a side that lacks it is None."""

    path: str
    before: str | None
    after: str | None


def propose_manifest(agent: Agent, manifest: Any) -> Artifact | None:
    """Put a changed manifest before a person; return its form, None when nothing is changed.

    Agents tell theirs at every start: one that is open already keeps its form; another that is
    open is cancelled. Raises ValidationError on ``manifest``.
    """
    _check(manifest)
    now = timezone.now()
    with write_transaction():
        open_ones = still_open(now).filter(agent=agent, kind=Artifact.Kind.MANIFEST)
        for artifact in open_ones:
            if _same(artifact.proposal["manifest"], manifest):
                return artifact
        supersede(agent, Artifact.Kind.MANIFEST, now)
        if _same(Agent.objects.values_list("manifest", flat=True).get(pk=agent.pk), manifest):
            return None
        return Artifact.objects.create(
            agent=agent,
            kind=Artifact.Kind.MANIFEST,
            proposal={"manifest": manifest},
            created_at=now,
            expires_at=now + LIFE,
        )


def decide_manifest(artifact: Artifact, *, accepted: bool, by: str) -> None:
    """Take over a proposed manifest or keep the one there is, and tell the agent.

    Raises DecisionRefused, with nothing changed, when the form is no longer open.
    """
    state = Artifact.State.CONFIRMED if accepted else Artifact.State.CANCELLED
    with write_transaction():
        close(artifact, state, timezone.now(), decided_by=by)
        agents = Agent.objects.filter(pk=artifact.agent_id)
        if accepted:
            agents.update(manifest=artifact.proposal["manifest"])
        payload = {
            "accepted": accepted,
            "manifest": agents.values_list("manifest", flat=True).get(),
            "artifact_id": str(artifact.pk),
        }
        emit(artifact.agent, CAPABILITY_CHANGED, payload)
    word = "accepted" if accepted else "rejected"
    logger.info("The manifest of agent %s was %s by %s", artifact.agent_id, word, by)


def differences(before: Any, after: Any) -> list[Difference]:
    """Return where two manifests differ, by path; at most `LINES` of them."""
    return list(islice(_differ(before, after, "", 0), LINES))


def _differ(before: Any, after: Any, path: str, depth: int) -> Iterator[Difference]:
    if _same(before, after):
        return
    both = isinstance(before, dict) and isinstance(after, dict)
    if not both or depth >= DEPTH:
        yield Difference(path or "–", _shown(before), _shown(after))
        return
    for key in sorted(before.keys() | after.keys()):
        place = f"{path}.{key}" if path else key
        one, other = before.get(key, _MISSING), after.get(key, _MISSING)
        yield from _differ(one, other, place, depth + 1)


_MISSING = object()  # equal to nothing else


def _same(before: Any, after: Any) -> bool:
    """Return whether two values are the same JSON; to Python, 1 and true are, too."""
    if before is _MISSING or after is _MISSING:
        return before is after
    one, other = (orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in (before, after))
    return one == other


def _shown(value: Any) -> str | None:
    if value is _MISSING:
        return None
    text = orjson.dumps(value).decode()
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}…"


def _check(manifest: Any) -> None:
    problem = ""
    if not isinstance(manifest, dict):
        problem = _("A manifest is an object.")
    else:
        try:
            json.dumps(manifest, allow_nan=False)
            content = orjson.dumps(manifest)
        except (ValueError, TypeError):  # half a pair, a number beyond all bounds, endless nesting
            problem = _("The manifest holds something that cannot be written as JSON.")
        else:
            if len(content) > LIMIT:
                problem = _("The manifest is larger than %(limit)d bytes.") % {"limit": LIMIT}
            elif NUL.search(content):  # no database keeps it in JSON
                problem = _("The manifest holds a NUL character.")
    if problem:
        raise ValidationError({"manifest": problem})
