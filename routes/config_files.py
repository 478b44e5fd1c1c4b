"""config.yaml of a Hermes home: the gateway's settings and the static routes (spec 001).

A file route takes the place of any other route of its name, and lives as long as the file names
it. An entry that is broken is skipped and named; a route it used to be stays as it was.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from .config_entries import BrokenEntry, EmptySecret, FileRoute, read_entry
from .models import Route, RouteSecret
from .versions import bump_version, lock_version

logger = logging.getLogger(__name__)

FILE_NAME = "config.yaml"

# The settings of spec 001 by their names in the file: their names in the environment, their types.
_SETTINGS: Mapping[str, tuple[str, type]] = {
    "enabled": ("WEBHOOK_ENABLED", bool),
    "port": ("WEBHOOK_PORT", int),
    "secret": ("WEBHOOK_SECRET", str),
    "rate_limit": ("WEBHOOK_RATE_LIMIT", int),
    "max_body_bytes": ("WEBHOOK_MAX_BODY_BYTES", int),
}

# What tells one state of the file from another; None where there is none.
_Stamp = tuple[str, int, int, int] | None
_UNREAD: Final = ("", -1, -1, -1)


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings that count: the environment's where set there, else the file's, else ours."""

    enabled: bool
    port: int
    secret: str
    rate_limit: int  # requests a minute and route
    max_body_bytes: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that was left out; ``route`` is empty for the file as a whole."""

    route: str
    text: str
    lacks_secret: bool = False

    def __str__(self) -> str:
        where = f"route {self.route}" if self.route else FILE_NAME
        return f"{where}: {self.text}"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says. ``named`` are the routes in it, broken ones included."""

    routes: tuple[FileRoute, ...] = ()
    named: frozenset[str] = frozenset()
    settings: Mapping[str, Any] | None = None
    problems: tuple[Problem, ...] = ()
    readable: bool = True


_read: tuple[_Stamp, ConfigFile] = (_UNREAD, ConfigFile())
_synced: tuple[_Stamp, Mapping[str, Any] | None] = (_UNREAD, None)


def config_file() -> ConfigFile:
    """Return what config.yaml says now; it is read again only when it has changed."""
    global _read
    stamp = _stamp()
    if _read[0] != stamp:
        _read = (stamp, _load(Path(stamp[0])) if stamp else ConfigFile())
    return _read[1]


def effective_settings() -> Effective:
    """Return the settings of spec 001 from the environment, config.yaml and the defaults."""
    in_file = config_file().settings or {}
    return Effective(
        **{
            name: in_file[name]
            if name in in_file and not _in_environment(variable)
            else getattr(settings, variable)
            for name, (variable, _type) in _SETTINGS.items()
        }
    )


def sync_if_changed() -> bool:
    """Bring the file routes in step with config.yaml; return whether it had changed.

    Costs one stat of the file where it has not. The first call of a process counts as a change.
    """
    global _synced
    stamp = _stamp()
    if stamp == _synced[0]:
        return False
    file = config_file()
    for problem in file.problems:
        logger.warning("%s", problem)
    if file.readable:
        with transaction.atomic():
            lock_version()
            _sync(file)
            if file.settings != _synced[1]:
                bump_version()
    _synced = (stamp, file.settings)
    return True


def _sync(file: ConfigFile) -> None:
    rows = {
        route.name: route
        for route in Route.objects.filter(
            Q(origin=Route.Origin.FILE) | Q(name__in=file.named)
        ).prefetch_related("secrets")
    }
    for entry in file.routes:
        _write(entry, rows.get(entry.name))
    for name, route in rows.items():
        if route.origin == Route.Origin.FILE and name not in file.named:
            logger.info("route %s: removed, %s no longer names it", name, FILE_NAME)
            route.delete()


def _write(entry: FileRoute, route: Route | None) -> None:
    fields = {**entry.fields, "origin": Route.Origin.FILE}
    if route is None:
        route = Route.objects.create(name=entry.name, **fields)
    elif any(getattr(route, key) != value for key, value in fields.items()):
        if route.origin != Route.Origin.FILE:
            logger.warning(
                "route %s: the one in %s takes the place of the one made by %s",
                entry.name,
                FILE_NAME,
                route.get_origin_display(),
            )
        for key, value in fields.items():
            setattr(route, key, value)
        route.save()
    stored = list(route.secrets.all())
    wanted = [] if entry.secret is None else [entry.secret]
    if [one.value for one in stored if one.not_after is None] != wanted:
        for one in stored:
            one.delete()
        for value in wanted:
            RouteSecret.objects.create(route=route, value=value)


def _load(path: Path) -> ConfigFile:
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        return _unreadable(f"{path} can't be read: {error.strerror}")
    except yaml.MarkedYAMLError as error:
        # Not str(error): it quotes the line, and a secret may be in it.
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        return _unreadable(f"{path} is not valid YAML at line {line}; it is not used")
    except (yaml.YAMLError, RecursionError):
        return _unreadable(f"{path} is not valid YAML; it is not used")
    if document is not None and not isinstance(document, dict):
        return _unreadable(f"{path} must be a mapping at the top; it is not used")
    return _understood(document or {})


def _understood(document: Mapping[str, Any]) -> ConfigFile:
    sections = _sections(document)
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for name, (_variable, kind) in _SETTINGS.items():
        for section in sections:
            value = section.get(name)
            if value is None:
                continue
            if type(value) is kind and not (isinstance(value, int) and value < 0):
                values[name] = value
            else:
                problems.append(Problem("", f"{name} must be {_kind_name(kind)}; left out"))
    entries: dict[Any, Any] = {}
    for section in sections:
        routes = section.get("routes")
        if isinstance(routes, dict):
            entries |= routes
        elif routes is not None:
            problems.append(Problem("", "routes must be a mapping of names; left out"))
    good: list[FileRoute] = []
    for name, raw in entries.items():
        try:
            entry = read_entry(name, raw)
        except BrokenEntry as error:
            lacks_secret = isinstance(error, EmptySecret)
            problems.append(Problem(str(name), f"{error}; skipped", lacks_secret))
            continue
        good.append(entry)
        if entry.unknown_keys:
            unknown = ", ".join(entry.unknown_keys)
            problems.append(Problem(entry.name, f"has no effect here: {unknown}"))
    return ConfigFile(tuple(good), frozenset(map(str, entries)), values, tuple(problems))


def _sections(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the places of spec 001 where settings and routes may stand; the later one wins."""
    platforms = document.get("platforms")
    webhook = platforms.get("webhook") if isinstance(platforms, dict) else None
    extra = webhook.get("extra") if isinstance(webhook, dict) else None
    places = (document.get("webhooks"), webhook, extra)
    return [place for place in places if isinstance(place, dict)]


def _unreadable(text: str) -> ConfigFile:
    return ConfigFile(problems=(Problem("", text),), readable=False)


def _kind_name(kind: type) -> str:
    return {bool: "true or false", int: "a whole number", str: "text (put it in quotes)"}[kind]


def _in_environment(variable: str) -> bool:
    # django-environ puts what stands in .env into os.environ; NAME_FILE names a file. A line
    # left empty, as in .env.example, sets nothing.
    return bool(os.environ.get(variable) or os.environ.get(f"{variable}_FILE"))


def _stamp() -> _Stamp:
    if not settings.HERMES_HOME:
        return None
    path = Path(settings.HERMES_HOME).expanduser() / FILE_NAME
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return (str(path), 0, 0, 0)  # there, but not to be read: `_load` says so
    return (str(path), found.st_mtime_ns, found.st_size, found.st_ino)
