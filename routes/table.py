"""The route table: every route prepared for the receive path, reloaded when something changed."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from agents.models import Agent
from agents.selectors import blocked, blocked_senders
from agents.services import NoDefaultAgent, default_agent
from deliveries.transactions import reconnecting
from platforms.services import UnknownChannel, channel_for

from .coalescing import Coalesce, compile_coalesce
from .config_entries import INSECURE_NO_AUTH
from .config_files import Effective, effective_settings, home_changed, sync_if_changed
from .fencing import Fence
from .filters import Filters, compile_filters
from .matching import as_events
from .models import Route, RouteVersion
from .presets import AUTO, CUSTOM, Preset, detect, presets, tells_secret
from .presets.custom import custom_preset
from .services import is_loopback
from .signatures import Verifier
from .targets import targets_of
from .templating import Template, compile_template
from .versions import changes_here

logger = logging.getLogger(__name__)

# Nobody proved who sent it.
UNSIGNED = "an unsigned sender"


def sender_of(route: str) -> str:
    """Return who sends what comes in by a route, as its agent is told."""
    return f"webhook:{route}"


# How long a process may go on with routes that another process has changed, in seconds.
FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """A channel that a route delivers to, and where on it."""

    channel_id: int
    lane: int
    kind: str
    extra: Mapping[str, Any]


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
    filters: Filters
    template: Template
    fence: bool
    conversation_key: Template | None
    coalesce: Coalesce | None
    deliver: str
    places: tuple[Place, ...]  # those that exist, the first one first
    deliver_only: bool
    direct: bool  # sent while the sender waits
    skills: tuple[str, ...]
    rate_limit: int  # requests a minute; 0: none
    max_body_bytes: int
    agent_id: Any
    agent_lane: int | None
    blocked: str  # why the agent is sent nothing of this route's; empty: it is
    verifiers: dict[str, Verifier]
    fences: dict[str, Fence]

    def recognised(self, headers: Mapping[str, str]) -> Preset | None:
        """Return whose request this claims to be; None when an `auto` route can't tell."""
        return self.preset or (detect(headers) if self.known else None)

    def verifier(self, headers: Mapping[str, str]) -> Verifier | None:
        """Return the verifier for a request; None when nobody is recognised."""
        preset = self.recognised(headers)
        if preset is None:
            return None
        found = self.verifiers.get(preset.name)
        if found is None:
            found = self.verifiers[preset.name] = Verifier(preset, self.secrets)
        return found

    def fence_of(self, preset: Preset | None) -> Fence | None:
        """Return the fence round what this source says; None where the route wants none."""
        if not self.fence:
            return None
        name = preset.name if preset else ""
        found = self.fences.get(name)
        if found is None:
            label = str(preset.label) if preset else UNSIGNED
            found = self.fences[name] = Fence(label)
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
        and not home_changed()
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
    kept_away = blocked_senders()
    entries = {}
    ends: list[datetime] = []
    routes = Route.objects.select_related("agent").prefetch_related("secrets")
    for route in routes:
        live = [one for one in route.secrets.all() if one.not_after is None or one.not_after > now]
        live.sort(key=lambda one: one.created_at, reverse=True)
        ends += [one.not_after for one in live if one.not_after]
        secrets = tuple(one.value for one in live)
        if not secrets and effective.secret.strip() and not tells_secret(route.preset):
            secrets = (effective.secret,)
        try:
            entries[route.name] = _entry(route, effective, fallback, secrets, kept_away)
        except Exception:
            # Saved past every check. What its settings were to keep out must not come in.
            logger.exception("route %s can't be used and is left out", route.name)
    return Table(entries, effective, version, min(ends, default=None))


def _entry(
    route: Route,
    effective: Effective,
    fallback: Agent | None,
    secrets: tuple[str, ...],
    kept_away: frozenset[tuple[UUID, str]],
) -> Entry:
    preset = _preset(route)
    insecure = route.insecure_no_auth or INSECURE_NO_AUTH in secrets
    agent = route.agent or fallback
    places = _places(route)
    sender = sender_of(route.name)
    key = route.conversation_key
    return Entry(
        name=route.name,
        enabled=route.enabled,
        insecure=insecure and is_loopback(settings.WEBHOOK_HOST),
        preset=preset,
        known=preset is not None or route.preset == AUTO,
        # The word that switches checking off must never itself be a key.
        secrets=tuple(one for one in secrets if one != INSECURE_NO_AUTH),
        events=as_events(route.events),
        filters=compile_filters(route.filters),
        template=compile_template(route.prompt),
        fence=route.fence and not route.deliver_only,
        conversation_key=compile_template(key) if key else None,
        coalesce=None if route.deliver_only else compile_coalesce(route.coalesce),
        deliver=route.deliver,
        places=places,
        deliver_only=route.deliver_only,
        # Of several, some may have gone out when one fails: their sender is not asked again.
        direct=route.deliver_only and len(places) == 1 and not route.answer_at_once,
        skills=tuple(route.skills),
        rate_limit=effective.rate_limit if route.rate_limit is None else route.rate_limit,
        max_body_bytes=route.max_body_bytes or effective.max_body_bytes,
        agent_id=agent.pk if agent else None,
        agent_lane=agent.lane_id if agent else None,
        # One query for all routes; mostly nobody is kept away.
        blocked=(blocked(agent.pk, sender) if agent and (agent.pk, sender) in kept_away else ""),
        verifiers={},
        fences={},
    )


def _default_agent() -> Agent | None:
    try:
        return default_agent()
    except NoDefaultAgent:
        # Only the routes that name no agent have no place to go; the others go on.
        return None


def _preset(route: Route) -> Preset | None:
    """Return the source a route is pinned to; None for `auto`, and for one that is not known.

    Raises ValidationError for a custom scheme that can't be used.
    """
    if route.preset == CUSTOM:
        return custom_preset(route.custom_scheme)
    return presets().get(route.preset)


def _places(route: Route) -> tuple[Place, ...]:
    """Return the channels of a route, without those that do not exist.

    The check at the start and the form name these; here the answer has no such place to go.
    """
    places = []
    for target in targets_of(route):
        try:
            channel = channel_for(target.deliver)
        except UnknownChannel:
            logger.warning("route %s: the channel %s does not exist", route.name, target.deliver)
            continue
        places.append(Place(channel.pk, channel.lane_id, channel.kind, target.extra))
    return tuple(places)
