"""Moving a Hermes home into the database, after which it is needed no more."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from agents.models import Agent
from platforms.home_channels import adopt_home_channels, sync_home_channels

from .config_entries import FileRoute
from .config_files import Home, effective_of, environment, read_home, targets_of_home
from .config_yaml import SETTINGS
from .models import Route, RouteSecret

#: What of the settings a route can have of its own; the others belong into our .env.
_OF_ROUTES = ("rate_limit", "max_body_bytes")


@dataclass(frozen=True, slots=True)
class Imported:
    """What was moved, by name, and what is different now: a sentence each, with the way out."""

    routes: tuple[str, ...]
    channels: tuple[str, ...]
    differences: tuple[str, ...]


def import_home(folder: Path, *, dry_run: bool = False) -> Imported:
    """Move the routes and channels of a home into the database; ``dry_run`` only says what it is.

    1. Routes of config.yaml become routes of the admin, those of the subscriptions file
       subscriptions. One whose name a route of the database has is left out.
    2. What they have from the home as a whole (secret, limits) becomes their own.
    3. Platforms whose credentials are in .env become channels.

    A second time it changes nothing. The files are left as they are.
    """
    home = read_home(folder)
    with transaction.atomic():
        found = _import(home)
        transaction.set_rollback(dry_run)
    return found


def _import(home: Home) -> Imported:
    differences = [
        f"{problem.file}: {problem}" if problem.route else str(problem)
        for problem in (*home.problems, *home.config.problems, *home.subscriptions.problems)
    ]
    variables = {**home.env, **environment()}
    differences += sync_home_channels(variables, targets_of_home(home))
    channels = adopt_home_channels()
    routes = []
    named = {entry.name for entry in home.config.routes.good}
    entries = [(entry, Route.Origin.ADMIN) for entry in home.config.routes.good]
    entries += [
        (entry, Route.Origin.DYNAMIC)
        for entry in home.subscriptions.routes.good
        if entry.name not in named
    ]
    for entry, origin in entries:
        if reason := _not_to_be_moved(entry):
            differences.append(f"route {entry.name}: {reason}; left out")
            continue
        _move(_with_the_homes_own(entry, home), origin)
        routes.append(entry.name)
        differences += [f"route {entry.name}: {text}" for text in _differences(entry)]
    differences += _settings_left(home)
    return Imported(tuple(routes), tuple(channels), tuple(differences))


def _not_to_be_moved(entry: FileRoute) -> str:
    row = Route.objects.filter(name=entry.name).exclude(origin=Route.Origin.FILE).first()
    if row is not None:
        return f"there is a route of this name already ({row.get_origin_display()})"
    if entry.agent and not Agent.objects.filter(name=entry.agent).exists():
        return f"there is no agent named “{entry.agent}”"
    return ""


def _with_the_homes_own(entry: FileRoute, home: Home) -> FileRoute:
    """Return an entry with the secret and the limits that it has from the home."""
    effective = effective_of(home)
    fields: dict[str, Any] = dict(entry.fields)
    for name in _OF_ROUTES:
        if fields[name] is None and getattr(effective, name) != getattr(
            settings, SETTINGS[name][0]
        ):
            fields[name] = getattr(effective, name)
    secret = entry.secret
    if secret is None and not fields["insecure_no_auth"] and not entry.tells_secret:
        in_home = home.env.get("WEBHOOK_SECRET") or home.config.settings.get("secret")
        secret = effective.secret if in_home and effective.secret == in_home else None
    return replace(entry, fields=fields, secret=secret)


def _move(entry: FileRoute, origin: str) -> None:
    agent = Agent.objects.filter(name=entry.agent).first() if entry.agent else None
    fields: Mapping[str, Any] = {**entry.fields, "agent": agent, "origin": origin}
    route, _created = Route.objects.update_or_create(name=entry.name, defaults=fields)
    if entry.secret is None and entry.tells_secret:
        return  # what its source has told stays
    route.secrets.all().delete()
    if entry.secret is not None:
        RouteSecret.objects.create(route=route, value=entry.secret)


def _differences(entry: FileRoute) -> Iterator[str]:
    fields = entry.fields
    if fields["fence"] and not fields["deliver_only"]:
        yield "payload text in its prompt is marked as data (fence); untick it to have it bare"
    if fields["skills"] and fields["deliver_only"]:
        yield "its skills have no effect, as it only delivers"


def _settings_left(home: Home) -> Iterator[str]:
    """Yield what belongs into our .env, without the values that are secret."""
    effective = effective_of(home)
    for name, (variable, _kind) in SETTINGS.items():
        value = getattr(effective, name)
        if name in (*_OF_ROUTES, "secret") or value == getattr(settings, variable):
            continue
        text = str(value).lower() if isinstance(value, bool) else value
        yield f"put {variable}={text} into .env: the home said so"
