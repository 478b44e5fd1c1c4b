"""System checks of what the settings say as a whole, each with a way out.

The warnings carry the database tag, though they read no database: the gateway and
`manage.py check --database default` give them, ordinary commands stay quiet.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.http.request import validate_host

from routes.config_files import effective_settings

PORTS = range(1, 65_536)
#: Settings that make no sense below 1.
AT_LEAST_ONE = (
    "WEBHOOK_MAX_BODY_BYTES",
    "RUNNERS",
    "SENDER_THREADS",
    "LEDGER_DAYS",
    "PENDING_HOURS",
    "IDEMPOTENCY_SECONDS",
    "REFUSALS_PER_ROUTE",
)


@register
def check_numbers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse numbers with which nothing would work."""
    found: list[CheckMessage] = [
        Error(
            f"{name} is {getattr(settings, name)}.", hint="Set it to 1 or more.", id="hermes.E001"
        )
        for name in AT_LEAST_ONE
        if getattr(settings, name) < 1
    ]
    if settings.WEBHOOK_PORT not in PORTS:
        found.append(
            Error(
                f"WEBHOOK_PORT is {settings.WEBHOOK_PORT}.",
                hint="Set it to a port from 1 to 65535.",
                id="hermes.E002",
            )
        )
    return found


@register(Tags.database)
def check_webhooks_enabled(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Say so when a gateway would receive nothing (spec 001: it is off unless enabled)."""
    if effective_settings().enabled:
        return []
    return [
        Warning(
            "Webhooks are not enabled: what is posted to /webhooks/ is turned away.",
            hint="Set WEBHOOK_ENABLED=true; `manage.py setup` does when it writes .env.",
            id="hermes.W001",
        )
    ]


@register(Tags.database)
def check_public_url(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Say so when the links we print would lead to a page that refuses its own host name."""
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    if settings.DEBUG or validate_host(bracketed, settings.ALLOWED_HOSTS):
        return []
    return [
        Warning(
            f"PUBLIC_URL is {settings.PUBLIC_URL}, but its host is not among ALLOWED_HOSTS.",
            hint="Add the host to ALLOWED_HOSTS, or the admin answers 400 there.",
            id="hermes.W002",
        )
    ]
