"""The files of a Hermes home, read live: config.yaml, webhook_subscriptions.json and .env.

A file that can't be read goes on as it was before, as far as this process has seen it. What a
variable is, the environment says first, then .env of the home.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import transaction

from platforms.home_channels import sync_home_channels

from . import config_yaml, subscriptions_file
from .config_yaml import SETTINGS, ConfigFile, Problem, read_config
from .env_file import parse_env
from .file_routes import sync_routes, waits_for_agent
from .subscriptions_file import SubscriptionsFile, read_subscriptions
from .versions import bump_version, lock_version

__all__ = [
    "ConfigFile",
    "Effective",
    "Home",
    "Problem",
    "config_file",
    "effective_of",
    "effective_settings",
    "environment",
    "file_of",
    "home_changed",
    "home_has_secret",
    "home_problems",
    "read_home",
    "subscriptions",
    "sync_if_changed",
    "targets_of_home",
]

logger = logging.getLogger(__name__)

DEFAULT_HOME: Final = "~/.hermes"
ENV_NAME: Final = ".env"
_NAMES: Final = (config_yaml.FILE_NAME, subscriptions_file.FILE_NAME, ENV_NAME)
_TRUE: Final = frozenset({"true", "1", "yes", "on", "y", "t"})
_FALSE: Final = frozenset({"false", "0", "no", "off", "n", "f"})

# What tells one state of the files from another: folder, and of each file time, size and inode;
# None for one that is not there.
_Stamp = tuple[str, *tuple[tuple[int, int, int] | None, ...]]
_UNREAD: Final[_Stamp] = ("\0",)


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings that count: the environment's, else the home's, else ours.

    Of the home's, .env comes before config.yaml, as in hermes-agent.
    """

    enabled: bool
    port: int
    secret: str
    rate_limit: int  # requests a minute and route
    max_body_bytes: int


@dataclass(frozen=True, slots=True)
class Home:
    """What the files say together. ``env`` are the variables of .env alone."""

    config: ConfigFile = field(default_factory=ConfigFile)
    subscriptions: SubscriptionsFile = field(default_factory=SubscriptionsFile)
    env: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class _Synced(NamedTuple):
    """What the database was last brought in step with by this process."""

    stamp: _Stamp = _UNREAD
    effective: Effective | None = None
    said: frozenset[Problem] = frozenset()
    agents: frozenset[str] = frozenset()  # that routes name and nobody has made yet


_read: tuple[_Stamp, Home] = (_UNREAD, Home())
_synced = _Synced()


def config_file() -> ConfigFile:
    """Return what config.yaml says now; it is read again only when something has changed."""
    return _home().config


def subscriptions() -> SubscriptionsFile:
    """Return what webhook_subscriptions.json says now."""
    return _home().subscriptions


def home_problems() -> list[Problem]:
    """Return everything in the home that was left out."""
    home = _home()
    return [*home.problems, *home.config.problems, *home.subscriptions.problems]


def file_of(name: str) -> str:
    """Return the file of the home that has a route of this name; empty when none has."""
    home = _home()
    if name in home.config.routes.named:
        return config_yaml.FILE_NAME
    return subscriptions_file.FILE_NAME if name in home.subscriptions.routes.named else ""


def effective_settings() -> Effective:
    """Return the settings of spec 001 from the environment, the home and the defaults."""
    return effective_of(_home())


def effective_of(home: Home) -> Effective:
    """Return the settings that count with this home."""
    return Effective(**{name: _setting(home, name) for name in SETTINGS})


def home_has_secret() -> bool:
    """Return whether the home in use gives a global secret of its own."""
    home = _home()
    return bool(home.env.get("WEBHOOK_SECRET") or home.config.settings.get("secret"))


def read_home(folder: Path) -> Home:
    """Return what the files of a folder say, whether or not it is the home in use."""
    return _load(folder, None)


def environment() -> dict[str, str]:
    """Return the variables of this process that hold something."""
    return {name: value for name, value in os.environ.items() if value}


def targets_of_home(home: Home) -> set[str]:
    """Return the names that the routes of a home deliver to."""
    entries = [*home.config.routes.good, *home.subscriptions.routes.good]
    return {
        name
        for entry in entries
        for name in (entry.fields["deliver"], *(one["deliver"] for one in entry.fields["fan_out"]))
    }


def home_changed() -> bool:
    """Return whether a file has changed since `sync_if_changed`; costs a stat of each."""
    return _stamp() != _synced.stamp


def sync_if_changed() -> bool:
    """Bring routes and channels in step with the home; return whether anything had changed.

    Costs a stat of each file where nothing has. The first call of a process counts as a change,
    and so does an agent that routes of the home have waited for. What is left out is logged once.
    """
    global _synced
    stamp = _stamp()
    if stamp == _synced.stamp and not waits_for_agent(_synced.agents):
        return False
    home, effective = _home(), effective_settings()
    texts = sync_home_channels({**home.env, **environment()}, targets_of_home(home))
    problems = [*home_problems(), *(Problem("", text, ENV_NAME) for text in texts)]
    agents: frozenset[str] = frozenset()
    if home.config.readable:
        with transaction.atomic():
            lock_version()
            plan = sync_routes(
                home.config.routes, home.subscriptions.routes, whole=home.subscriptions.readable
            )
            if _synced.effective not in (None, effective):
                bump_version()
        problems += plan.problems
        agents = plan.missing_agents
    for problem in problems:
        if problem not in _synced.said:
            logger.warning("%s", problem)
    _synced = _Synced(stamp, effective, frozenset(problems), agents)
    return True


def _home() -> Home:
    global _read
    stamp = _stamp()
    if _read[0] != stamp:
        before = _read[1] if _read[0][0] == stamp[0] else None
        home = _load(Path(stamp[0]), before) if stamp[0] else Home()
        if settings.HERMES_HOME is None and not _enables_webhooks(home):
            home = Home()  # nobody has asked for this one, and it is not in use
        _read = (stamp, home)
    return _read[1]


def _load(folder: Path, before: Home | None) -> Home:
    """Read the home; ``before`` is what it said when last read, for the files that can't be."""
    env, problems = _load_env(folder / ENV_NAME, before.env if before else {})
    variables = {**env, **environment()}
    config = read_config(folder / config_yaml.FILE_NAME, variables)
    subscribed = read_subscriptions(folder / subscriptions_file.FILE_NAME, variables)
    if before and not config.readable:
        config = replace(before.config, problems=config.problems)
    if before and not subscribed.readable:
        subscribed = replace(before.subscriptions, problems=subscribed.problems)
    return Home(config, subscribed, env, tuple(problems))


def _load_env(path: Path, before: Mapping[str, str]) -> tuple[Mapping[str, str], list[Problem]]:
    try:
        env = parse_env(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}, []
    except OSError as error:
        return before, [Problem("", f"{path} can't be read: {error.strerror}", ENV_NAME)]
    except UnicodeDecodeError:
        return before, [Problem("", f"{path} is not text in UTF-8; it is not used", ENV_NAME)]
    problems = [
        Problem("", f"{variable} must be {config_yaml.KINDS[kind]}; left out", ENV_NAME)
        for variable, kind in SETTINGS.values()
        if env.get(variable) and _typed(env[variable], kind) is None
    ]
    return env, problems


def _enables_webhooks(home: Home) -> bool:
    said = _typed(home.env.get("WEBHOOK_ENABLED", ""), bool)
    return bool(home.config.settings.get("enabled") if said is None else said)


def _setting(home: Home, name: str) -> Any:
    variable, kind = SETTINGS[name]
    # django-environ puts what stands in our own .env into os.environ; NAME_FILE names a file. A
    # line left empty, as in .env.example, sets nothing.
    if not (os.environ.get(variable) or os.environ.get(f"{variable}_FILE")):
        for value in (_typed(home.env.get(variable, ""), kind), home.config.settings.get(name)):
            if value is not None:
                return value
    return getattr(settings, variable)


def _typed(text: str, kind: type) -> Any:
    """Return the value that a variable's text stands for; None for none of its kind."""
    if kind is bool:
        return text.lower() in _TRUE if text.lower() in _TRUE | _FALSE else None
    if kind is int:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    return text or None


def _stamp() -> _Stamp:
    wanted = DEFAULT_HOME if settings.HERMES_HOME is None else settings.HERMES_HOME
    if not wanted:
        return ("",)
    folder = os.path.expanduser(wanted)
    return (folder, *(_stamp_of(os.path.join(folder, name)) for name in _NAMES))


def _stamp_of(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return (0, 0, 0)  # there, but not to be read: `_load` says so
    return (found.st_mtime_ns, found.st_size, found.st_ino)
