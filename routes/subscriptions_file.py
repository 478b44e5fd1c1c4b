"""webhook_subscriptions.json of a Hermes home: what `hermes webhook subscribe` wrote (facts §13).

An agent may write this file while the gateway runs. So nothing in it refuses a start: an entry
that would is skipped and named.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from django.conf import settings

from .config_entries import INSECURE_NO_AUTH, FileRoute, is_loopback
from .config_yaml import Problem, Routes, read_routes
from .models import Route
from .rules import nowhere

FILE_NAME: Final = "webhook_subscriptions.json"


@dataclass(frozen=True, slots=True)
class SubscriptionsFile:
    """What the file says; not ``readable``, it says nothing but its problem."""

    routes: Routes = field(default_factory=Routes)
    problems: tuple[Problem, ...] = ()
    readable: bool = True


def read_subscriptions(path: Path, variables: Mapping[str, str]) -> SubscriptionsFile:
    """Read the file; ``variables`` are what ``${NAME}`` in a secret may refer to."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return SubscriptionsFile()
    except OSError as error:
        return _unreadable(f"{path} can't be read: {error.strerror}")
    except (ValueError, RecursionError):
        return _unreadable(f"{path} is not valid JSON; what it said before goes on")
    if not isinstance(document, dict):
        return _unreadable(f"{path} must be an object of names; what it said before goes on")
    routes = _servable(read_routes(FILE_NAME, document, variables, stops=False))
    return SubscriptionsFile(routes, routes.problems)


def _servable(routes: Routes) -> Routes:
    """Leave out what the start would be refused for, had it stood in config.yaml."""
    kept, problems = [], list(routes.problems)
    for entry in routes.good:
        if reason := _unservable(entry):
            problems.append(Problem(entry.name, f"{reason}; skipped", FILE_NAME))
        else:
            kept.append(entry)
    return replace(routes, good=tuple(kept), problems=tuple(problems))


def _unservable(entry: FileRoute) -> str:
    route = Route(name=entry.name, **entry.fields)
    if route.insecure_no_auth and not is_loopback(settings.WEBHOOK_HOST):
        return f"{INSECURE_NO_AUTH} is for a gateway on a loopback address only"
    if nowhere(route):
        return "it only delivers (deliver_only), but to the log; name a real target"
    return ""


def _unreadable(text: str) -> SubscriptionsFile:
    return SubscriptionsFile(problems=(Problem("", text, FILE_NAME),), readable=False)
