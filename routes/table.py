"""The route table: every route prepared for the receive path, reloaded when something changed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from agents.models import Agent
from agents.services import NoDefaultAgent, default_agent
from deliveries.transactions import reconnecting
from platforms.models import Channel
from platforms.services import UnknownChannel, channel_for

from .config_entries import INSECURE_NO_AUTH
from .config_files import Effective, effective_settings, sync_if_changed
from .matching import as_events
from .models import Route, RouteVersion
from .presets import AUTO, Preset, detect, presets
from .services import is_loopback
from .signatures import Verifier
from .templating import Template, compile_template
from .versions import changes_here

# How long a process may go on with routes that another process has changed, in seconds.
FRESH_SECONDS = 1.0


@dataclass(slots=True)
class Entry:
    """One route, prepared: nothing here needs the database or a parser any more."""

    name: str
    enabled: bool
    insecure: bool
    preset: Preset | None  # None: recognised by headers
    known: bool  # whether the preset it is pinned to exists; else it refuses everyone
    secrets: tuple[str, ...]
    events: frozenset[str]
    template: Template
    deliver_extra: Mapping[str, Any]
    deliver_only: bool
    skills: tuple[str, ...]
    rate_limit: int  # requests a minute; 0: none
    max_body_bytes: int
    agent_id: Any
    agent_lane: int | None
    channel_id: int | None
    channel_lane: int | None
    channel_kind: str
    verifiers: dict[str, Verifier]

    def verifier(self, headers: Mapping[str, str]) -> Verifier | None:
        """Return the verifier for a request; None when an `auto` route recognises nothing."""
        preset = self.preset or (detect(headers) if self.known else None)
        if preset is None:
            return None
        found = self.verifiers.get(preset.name)
        if found is None:
            found = self.verifiers[preset.name] = Verifier(preset, self.secrets)
        return found


@dataclass(slots=True)
class Table:
    """All routes at one version."""

    entries: dict[str, Entry]
    effective: Effective
    version: int
    expires: datetime | None  # when the first secret in it runs out
    checked: float = 0.0  # monotonic seconds
    changes: int = 0  # see `changes_here`


_table: Table | None = None


async def current() -> Table:
    """Return the route table, at most `FRESH_SECONDS` old."""
    if (
        _table is not None
        and _table.changes == changes_here()
        and time.monotonic() - _table.checked < FRESH_SECONDS
    ):
        return _table
    return await sync_to_async(refresh)()


@reconnecting()
def refresh() -> Table:
    """Return the table, loaded anew when a route, secret, channel, agent or file has changed."""
    global _table
    changes = changes_here()
    sync_if_changed()
    version = RouteVersion.objects.values_list("version", flat=True).first() or 0
    now = timezone.now()
    table = _table
    stale = table is not None and (
        table.version != version
        or table.changes != changes
        or (table.expires is not None and table.expires <= now)
    )
    if table is None or stale:
        table = _load(version, now)
    table.checked, table.changes = time.monotonic(), changes
    _table = table
    return table


def _load(version: int, now: datetime) -> Table:
    effective = effective_settings()
    fallback = _default_agent()
    entries = {}
    ends: list[datetime] = []
    routes = Route.objects.select_related("agent").prefetch_related("secrets")
    for route in routes:
        live = [one for one in route.secrets.all() if one.not_after is None or one.not_after > now]
        live.sort(key=lambda one: one.created_at, reverse=True)
        ends += [one.not_after for one in live if one.not_after]
        secrets = tuple(one.value for one in live)
        if not secrets and effective.secret.strip():
            secrets = (effective.secret,)
        insecure = route.insecure_no_auth or INSECURE_NO_AUTH in secrets
        agent = route.agent or fallback
        channel = _channel(route)
        entries[route.name] = Entry(
            name=route.name,
            enabled=route.enabled,
            insecure=insecure and is_loopback(settings.WEBHOOK_HOST),
            preset=None if route.preset == AUTO else presets().get(route.preset),
            known=route.preset == AUTO or route.preset in presets(),
            # The word that switches checking off must never itself be a key.
            secrets=tuple(one for one in secrets if one != INSECURE_NO_AUTH),
            events=as_events(route.events),
            template=compile_template(route.prompt),
            deliver_extra=route.deliver_extra,
            deliver_only=route.deliver_only,
            skills=tuple(route.skills),
            rate_limit=effective.rate_limit if route.rate_limit is None else route.rate_limit,
            max_body_bytes=route.max_body_bytes or effective.max_body_bytes,
            agent_id=agent.pk if agent else None,
            agent_lane=agent.lane_id if agent else None,
            channel_id=channel.pk if channel else None,
            channel_lane=channel.lane_id if channel else None,
            channel_kind=channel.kind if channel else route.deliver,
            verifiers={},
        )
    return Table(entries, effective, version, min(ends, default=None))


def _default_agent() -> Agent | None:
    try:
        return default_agent()
    except NoDefaultAgent:
        # Only the routes that name no agent have no place to go; the others go on.
        return None


def _channel(route: Route) -> Channel | None:
    try:
        return channel_for(route.deliver or "log")
    except UnknownChannel:
        # The check at the start and the form name it; here the answer has no place to go.
        return None
