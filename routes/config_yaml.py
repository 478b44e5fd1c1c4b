"""What config.yaml of a Hermes home says: the gateway's settings and its routes (spec 001)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from .config_entries import BrokenEntry, FileRoute, ScriptedEntry, read_entry
from .env_file import references, resolved

FILE_NAME: Final = "config.yaml"

#: The settings of spec 001 by their names in the file: their names in the environment, their types.
SETTINGS: Final[Mapping[str, tuple[str, type]]] = {
    "enabled": ("WEBHOOK_ENABLED", bool),
    "port": ("WEBHOOK_PORT", int),
    "secret": ("WEBHOOK_SECRET", str),
    "rate_limit": ("WEBHOOK_RATE_LIMIT", int),
    "max_body_bytes": ("WEBHOOK_MAX_BODY_BYTES", int),
}
#: The types as a person is told of them.
KINDS: Final = {bool: "true or false", int: "a whole number", str: "text (put it in quotes)"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file of the home that was left out.

    ``route`` is empty for the file as a whole; ``check`` is the id of the system check that
    refuses a start over it, empty when none does.
    """

    route: str
    text: str
    file: str = FILE_NAME
    check: str = ""

    def __str__(self) -> str:
        where = f"route {self.route}" if self.route else self.file
        return f"{where}: {self.text}"


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of a file. ``named`` are all in it, broken ones included."""

    good: tuple[FileRoute, ...] = ()
    named: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says; not ``readable``, it says nothing but its problem."""

    routes: Routes = field(default_factory=Routes)
    settings: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    readable: bool = True


def read_config(path: Path, variables: Mapping[str, str]) -> ConfigFile:
    """Read the file; ``variables`` are what ``${NAME}`` in a secret may refer to."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return ConfigFile()
    except OSError as error:
        return _unreadable(f"{path} can't be read: {error.strerror}")
    except yaml.MarkedYAMLError as error:
        # Not str(error): it quotes the line, and a secret may be in it.
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        return _unreadable(f"{path} is not valid YAML at line {line}; it is not used")
    except (yaml.YAMLError, RecursionError, ValueError):
        return _unreadable(f"{path} is not valid YAML; it is not used")
    if document is not None and not isinstance(document, dict):
        return _unreadable(f"{path} must be a mapping at the top; it is not used")
    return _understood(document or {}, variables)


def read_routes(
    file: str, entries: Mapping[Any, Any], variables: Mapping[str, str], *, stops: bool
) -> Routes:
    """Read the entries of a file; a broken one is skipped and named, the rest lives.

    ``stops`` says whether what is wrong with them may refuse the start.
    """
    good: list[FileRoute] = []
    named = set(map(str, entries))
    problems: list[Problem] = []
    for name, raw in entries.items():
        try:
            entry = read_entry(name, raw, variables)
        except BrokenEntry as error:
            check = error.check if stops else ""
            problems.append(Problem(str(name), f"{error}; skipped", file, check))
            if isinstance(error, ScriptedEntry):
                named.discard(str(name))
            continue
        good.append(entry)
        problems += [Problem(entry.name, note, file) for note in entry.notes]
    return Routes(tuple(good), frozenset(named), tuple(problems))


def _understood(document: Mapping[str, Any], variables: Mapping[str, str]) -> ConfigFile:
    sections = _sections(document)
    values, problems = _settings(sections, variables)
    entries: dict[Any, Any] = {}
    for section in sections:
        routes = section.get("routes")
        if isinstance(routes, dict):
            entries |= routes
        elif routes is not None:
            problems.append(Problem("", "routes must be a mapping of names; left out"))
    routes = read_routes(FILE_NAME, entries, variables, stops=True)
    return ConfigFile(routes, values, (*problems, *routes.problems))


def _settings(
    sections: list[Mapping[str, Any]], variables: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, (_variable, kind) in SETTINGS.items():
        for section in sections:
            value = section.get(name)
            if value is None:
                continue
            if type(value) is kind and not (isinstance(value, int) and value < 0):
                values[name] = value
            else:
                problems.append(Problem("", f"{name} must be {KINDS[kind]}; left out"))
    secret = values.get("secret", "")
    if unset := sorted(name for name in references(secret) if not variables.get(name)):
        # As text it would be a key that everyone can guess.
        del values["secret"]
        problems.append(Problem("", f"secret refers to {', '.join(unset)}, which is not set"))
    elif secret:
        values["secret"] = resolved(secret, variables)
    if any("host" in section for section in sections):
        problems.append(Problem("", "host has no effect here; set WEBHOOK_HOST"))
    return values, problems


def _sections(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the places of spec 001 where settings and routes may stand; the later one wins."""
    platforms = document.get("platforms")
    webhook = platforms.get("webhook") if isinstance(platforms, dict) else None
    extra = webhook.get("extra") if isinstance(webhook, dict) else None
    places = (document.get("webhooks"), webhook, extra)
    return [place for place in places if isinstance(place, dict)]


def _unreadable(text: str) -> ConfigFile:
    return ConfigFile(problems=(Problem("", text),), readable=False)
