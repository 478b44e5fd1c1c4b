"""Mistakes in the routes, found at the start rather than by a sender.

The checks carry the database tag: `manage.py check --database default` and the gateway run
them, ordinary commands do not.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError

from .config_entries import INSECURE_NO_AUTH, is_loopback
from .config_files import (
    config_file,
    effective_settings,
    file_of,
    home_problems,
    subscriptions,
    sync_if_changed,
)
from .config_yaml import Problem
from .curl import address
from .file_routes import FROM_FILE, route_problems
from .models import Route
from .presets import presets, tells_secret
from .rules import faults, nowhere, unknown_source
from .signatures import key_of
from .sources import preset_of
from .subscriptions_file import FILE_NAME as SUBSCRIPTIONS
from .targets import targets_of, unknown_target

Found = Iterator[CheckMessage]


@register(Tags.database)
def check_routes(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Check every enabled route; a database that is not migrated yet has none."""
    if "default" not in (databases or ()):
        return []
    checks: tuple[Callable[[list[Route]], Found], ...] = (
        _without_secret,
        _unusable_fields,
        _open_to_the_world,
        _direct_to_nowhere,
        _unknown_target,
        _unusable_secret,
        _unknown_source,
        _left_out_of_the_home,
    )
    try:
        sync_if_changed()  # what a Hermes home says counts from now on
        routes = list(Route.objects.filter(enabled=True).order_by("name"))
        return [message for check in checks for message in check(routes)]
    except DatabaseError:
        return []  # the tables are not there, or not yet as they should be: migrate says so


def _without_secret(routes: list[Route]) -> Found:
    for problem in _stopping("routes.E001"):
        yield Error(
            f"Route {problem.route} has no secret: {problem.text}.",
            hint="Give the route a secret, or remove the line to use the global one.",
            obj=problem.route,
            id="routes.E001",
        )
    everywhere = effective_settings().secret.strip()
    for route in routes:
        if route.insecure_no_auth or route.secrets.live().exists():
            continue
        if tells_secret(route.preset):
            preset = presets()[route.preset]
            yield Warning(
                f"Route {route.name} has no secret yet: {preset.label} tells it when it is set up.",
                hint=f"Enter {address(route)} at {preset.label}. Until then the route refuses "
                "everybody, and takes the secret of whoever tells one first.",
                obj=route.name,
                id="routes.W004",
            )
        elif not everywhere:
            yield Error(
                f"Route {route.name} has no secret.",
                hint="Give the route a secret, set WEBHOOK_SECRET for all that have none, or "
                "disable the route.",
                obj=route.name,
                id="routes.E001",
            )


def _open_to_the_world(routes: list[Route]) -> Found:
    if is_loopback(settings.WEBHOOK_HOST):
        return
    everywhere = effective_settings().secret == INSECURE_NO_AUTH
    for route in routes:
        by_default = everywhere and not tells_secret(route.preset)
        if route.insecure_no_auth or (by_default and not route.secrets.live().exists()):
            yield Error(
                f"Route {route.name} takes unsigned requests ({INSECURE_NO_AUTH}), and the gateway "
                f"listens on {settings.WEBHOOK_HOST}, which others can reach.",
                hint="Give the route a secret, or set WEBHOOK_HOST=127.0.0.1.",
                obj=route.name,
                id="routes.E002",
            )


def _unusable_fields(routes: list[Route]) -> Found:
    for problem in _stopping("routes.E006"):
        yield Error(
            f"Route {problem.route} can't be used: {problem.text}.",
            hint=f"Mend it in {problem.file}, or remove the route there.",
            obj=problem.route,
            id="routes.E006",
        )
    for route in routes:
        for fault in faults(route).values():
            yield Error(
                f"Route {route.name} can't be used: {fault}",
                hint="Change the route, or disable it.",
                obj=route.name,
                id="routes.E006",
            )


def _direct_to_nowhere(routes: list[Route]) -> Found:
    for route in routes:
        if "fan_out" not in faults(route) and nowhere(route):
            yield Error(
                f"Route {route.name} only delivers (deliver_only), but to nowhere: a target of "
                "it is the log.",
                hint="Set deliver to a channel, or let an agent take the events.",
                obj=route.name,
                id="routes.E003",
            )


def _unknown_target(routes: list[Route]) -> Found:
    for route in routes:
        if "fan_out" in faults(route):
            continue
        for deliver, _extra in targets_of(route):
            if not (reason := unknown_target(deliver)):
                continue
            text = f"Route {route.name} delivers to “{deliver}”: {reason}"
            hint = "Add such a channel, or change the route's deliver."
            if route.origin == FROM_FILE and file_of(route.name) == SUBSCRIPTIONS:
                # An agent may have written it; until there is a channel, senders get a 503.
                yield Warning(text, hint=hint, obj=route.name, id="routes.W003")
            else:
                yield Error(text, hint=hint, obj=route.name, id="routes.E004")


def _unusable_secret(routes: list[Route]) -> Found:
    for route in routes:
        preset = preset_of(route)
        if preset is None:
            continue
        for secret in route.secrets.live():
            if key_of(preset, secret.value) is None:
                yield Error(
                    f"Route {route.name} has a secret ({secret.hint}) that {preset.label} can't "
                    "have issued.",
                    hint="Copy it again from the sender, whole.",
                    obj=route.name,
                    id="routes.E005",
                )


def _unknown_source(routes: list[Route]) -> Found:
    for route in routes:
        if reason := unknown_source(route):
            yield Warning(
                f"Route {route.name} names a source that is not known.",
                hint=reason,
                obj=route.name,
                id="routes.W001",
            )


def _left_out_of_the_home(_routes: list[Route]) -> Found:
    unplaced = route_problems(config_file().routes, subscriptions().routes)
    for problem in (*home_problems(), *unplaced):
        if not problem.check:
            where = f"{problem.file}, {problem}" if problem.route else str(problem)
            yield Warning(where, obj=problem.route or None, id="routes.W002")


def _stopping(check: str) -> list[Problem]:
    """Return what of the home refuses the start as this check."""
    return [problem for problem in home_problems() if problem.check == check]
