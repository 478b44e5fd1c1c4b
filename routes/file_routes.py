"""The routes of a Hermes home as rows.

A route of config.yaml takes the place of any other of its name; one of the subscriptions file only
of those that came from a file. Both live as long as their file names them.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import Q

from agents.models import Agent

from . import subscriptions_file
from .config_entries import FileRoute
from .config_yaml import Problem, Routes
from .models import Route, RouteSecret

logger = logging.getLogger(__name__)

#: The origin of every row that a file of the home describes.
FROM_FILE: Final = Route.Origin.FILE


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written of the files, and what is left out as things stand in the database."""

    entries: tuple[FileRoute, ...]
    named: frozenset[str]  # whose rows stay, though their entry may be broken
    agents: Mapping[str, UUID]
    missing_agents: frozenset[str]
    problems: tuple[Problem, ...]


def sync_routes(config: Routes, subscriptions: Routes, *, whole: bool) -> Plan:
    """Write what the files say, in the caller's transaction; return what was done.

    Not ``whole``, a file could not be read: then no row goes.
    """
    rows = _rows(config, subscriptions)
    plan = _plan(config, subscriptions, rows)
    for entry in plan.entries:
        _write(entry, plan.agents.get(entry.agent), rows.get(entry.name))
    if whole:
        for name, route in rows.items():
            if route.origin == FROM_FILE and name not in plan.named:
                logger.info("route %s: removed, no file names it any more", name)
                route.delete()
    return plan


def route_problems(config: Routes, subscriptions: Routes) -> tuple[Problem, ...]:
    """Return which good entries are left out as things stand in the database, and why."""
    return _plan(config, subscriptions, _rows(config, subscriptions)).problems


def waits_for_agent(names: frozenset[str]) -> bool:
    """Return whether one of these agents, which routes were left out for, exists by now."""
    return bool(names) and Agent.objects.filter(name__in=names).exists()


def _rows(config: Routes, subscriptions: Routes) -> dict[str, Route]:
    named = config.named | subscriptions.named
    found = Route.objects.filter(Q(origin=FROM_FILE) | Q(name__in=named))
    return {route.name: route for route in found.prefetch_related("secrets")}


def _plan(config: Routes, subscriptions: Routes, rows: Mapping[str, Route]) -> Plan:
    entries, problems = list(config.good), []
    for entry in subscriptions.good:
        row = rows.get(entry.name)
        if entry.name in config.named:
            text = "config.yaml has a route of this name, which counts; skipped"
        elif row is not None and row.origin != FROM_FILE:
            text = (
                f"there is a route of this name ({row.get_origin_display()}), which counts; skipped"
            )
        else:
            entries.append(entry)
            continue
        problems.append(Problem(entry.name, text, subscriptions_file.FILE_NAME))
    wanted = {entry.agent for entry in entries if entry.agent}
    agents = dict(Agent.objects.filter(name__in=wanted).values_list("name", "pk")) if wanted else {}
    missing = frozenset(wanted - agents.keys())
    problems += [
        Problem(entry.name, f"there is no agent named “{entry.agent}”; skipped")
        for entry in entries
        if entry.agent in missing
    ]
    return Plan(
        entries=tuple(entry for entry in entries if entry.agent not in missing),
        named=config.named | subscriptions.named,
        agents=agents,
        missing_agents=missing,
        problems=tuple(problems),
    )


def _write(entry: FileRoute, agent: UUID | None, route: Route | None) -> None:
    fields = {**entry.fields, "agent_id": agent, "origin": FROM_FILE}
    if route is None:
        route = Route.objects.create(name=entry.name, **fields)
    elif any(getattr(route, key) != value for key, value in fields.items()):
        if route.origin != FROM_FILE:
            logger.warning(
                "route %s: the one in config.yaml takes the place of the one made by %s",
                entry.name,
                route.get_origin_display(),
            )
        for key, value in fields.items():
            setattr(route, key, value)
        route.save()
    if entry.secret is None and entry.tells_secret:
        return  # what its source has told is in no file
    stored = list(route.secrets.all())
    wanted = [] if entry.secret is None else [entry.secret]
    if [one.value for one in stored if one.not_after is None] != wanted:
        for one in stored:
            one.delete()
        for value in wanted:
            RouteSecret.objects.create(route=route, value=value)
