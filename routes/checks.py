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

from platforms.services import UnknownChannel, channel_for

from .config_entries import INSECURE_NO_AUTH
from .config_files import config_file, effective_settings
from .models import Route
from .presets import AUTO, presets
from .services import LOG, is_loopback
from .signatures import key_of

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
        _open_to_the_world,
        _direct_to_nowhere,
        _unknown_target,
        _unusable_secret,
        _unknown_source,
        _left_out_of_the_file,
    )
    try:
        routes = list(Route.objects.filter(enabled=True).order_by("name"))
        return [message for check in checks for message in check(routes)]
    except DatabaseError:
        return []  # the tables are not there, or not yet as they should be: migrate says so


def _without_secret(routes: list[Route]) -> Found:
    names = [problem.route for problem in config_file().problems if problem.lacks_secret]
    if not effective_settings().secret.strip():
        names += [
            route.name
            for route in routes
            if not route.insecure_no_auth and not route.secrets.live().exists()
        ]
    for name in sorted(set(names)):
        yield Error(
            f"Route {name} has no secret.",
            hint="Give the route a secret, set WEBHOOK_SECRET for all that have none, or disable "
            "the route.",
            obj=name,
            id="routes.E001",
        )


def _open_to_the_world(routes: list[Route]) -> Found:
    if is_loopback(settings.WEBHOOK_HOST):
        return
    everywhere = effective_settings().secret == INSECURE_NO_AUTH
    for route in routes:
        if route.insecure_no_auth or (everywhere and not route.secrets.live().exists()):
            yield Error(
                f"Route {route.name} takes unsigned requests ({INSECURE_NO_AUTH}), and the gateway "
                f"listens on {settings.WEBHOOK_HOST}, which others can reach.",
                hint="Give the route a secret, or set WEBHOOK_HOST=127.0.0.1.",
                obj=route.name,
                id="routes.E002",
            )


def _direct_to_nowhere(routes: list[Route]) -> Found:
    for route in routes:
        if route.deliver_only and route.deliver in ("", LOG):
            yield Error(
                f"Route {route.name} only delivers (deliver_only), but to nowhere: its target is "
                f"“{route.deliver}”.",
                hint="Set deliver to a channel, or let an agent take the events.",
                obj=route.name,
                id="routes.E003",
            )


def _unknown_target(routes: list[Route]) -> Found:
    for route in routes:
        if route.deliver in ("", LOG):
            continue
        try:
            channel_for(route.deliver)
        except UnknownChannel as error:
            yield Error(
                f"Route {route.name} delivers to “{route.deliver}”: {error}",
                hint="Add such a channel, or change the route's deliver.",
                obj=route.name,
                id="routes.E004",
            )


def _unusable_secret(routes: list[Route]) -> Found:
    for route in routes:
        preset = presets().get(route.preset)
        if preset is None or not preset.base64_secret_prefix:
            continue
        for secret in route.secrets.live():
            if key_of(preset, secret.value) is None:
                yield Error(
                    f"Route {route.name} has a secret ({secret.hint}) that {preset.label} can't "
                    "have issued.",
                    hint=f"After {preset.base64_secret_prefix} comes base64; copy it again, whole.",
                    obj=route.name,
                    id="routes.E005",
                )


def _unknown_source(routes: list[Route]) -> Found:
    for route in routes:
        if route.preset != AUTO and route.preset not in presets():
            yield Warning(
                f"Route {route.name} names a source that is not known: “{route.preset}”.",
                hint=f"Known are: {', '.join([AUTO, *presets()])}.",
                obj=route.name,
                id="routes.W001",
            )


def _left_out_of_the_file(_routes: list[Route]) -> Found:
    for problem in config_file().problems:
        if not problem.lacks_secret:
            yield Warning(f"config.yaml, {problem}", obj=problem.route or None, id="routes.W002")
