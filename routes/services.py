"""Changes of routes: subscriptions and secrets."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from vault.services import generate_secret, rotate

from .config_entries import INSECURE_NO_AUTH, is_loopback
from .config_files import effective_settings, file_of
from .models import NAME_PATTERN, Route, RouteSecret
from .presets import presets, tells_secret
from .presets.record import Greets
from .rules import faults, nowhere, unknown_source
from .targets import LOG, Target, fan_out_of, targets_of, unknown_target
from .versions import bump_version

__all__ = [
    "LOG",
    "Subscription",
    "Target",
    "await_secret",
    "bump_version",
    "effective_secrets",
    "is_loopback",
    "remove",
    "rotate_secret",
    "secret_to_copy",
    "subscribe",
]

# How hermes-agent's own `webhook test` signs; a route that recognises its sender takes it.
SAMPLE_PRESET = "github"
# So long a person can look at what has to be pasted back at the source.
SHOWN_FOR = timedelta(hours=1)


class Subscription(NamedTuple):
    """What `subscribe` did; ``secret`` is to be shown now or never, None when it was kept."""

    route: Route
    created: bool
    secret: str | None


def subscribe(
    name: str,
    *,
    events: Sequence[str] = (),
    prompt: str = "",
    targets: Sequence[Target] = (),
    description: str = "",
    secret: str | None = None,
    skills: Sequence[str] = (),
    deliver_only: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Subscription:
    """Create a subscription, or describe an existing one anew (spec 001, dynamic subscriptions).

    1. The name is trimmed and lower-cased, its spaces become hyphens.
    2. What a subscription describes is replaced; what else a route has stays, but for what is in
       ``changes`` (fields of the route by name; ``agent`` by the agent's name, empty for the
       default one). The rest of the first target stays while it is the same place.
    3. Every target must exist; a direct delivery needs real ones.
    4. Without ``secret``, a new subscription gets a generated one, but for a source that tells it,
       and an old one keeps its own; with it, the old ones end at once.

    Raises ValidationError by field; then nothing is stored.
    """
    name = normalised_name(name)
    insecure = secret == INSECURE_NO_AUTH
    if secret is not None and not secret.strip():
        raise ValidationError({"secret": _("A secret can't be empty.")})
    if insecure and not is_loopback(settings.WEBHOOK_HOST):
        raise ValidationError(
            {"secret": _("INSECURE_NO_AUTH is for a gateway on a loopback address only.")}
        )
    first, *more = targets or [Target(LOG, {})]
    with transaction.atomic():
        route = Route.objects.select_for_update().filter(name=name).first()
        created = route is None
        if route is None:
            route = Route(name=name, origin=Route.Origin.DYNAMIC)
        _must_be_dynamic(route)
        route.description = description or f"Agent-created subscription: {name}"
        route.events = _names(events)
        route.prompt = prompt
        route.skills = _names(skills)
        route.deliver_extra = _extra(route, first)
        route.deliver = first.deliver.strip() or LOG
        route.fan_out = fan_out_of(more)
        route.deliver_only = deliver_only
        for field, value in (changes or {}).items():
            setattr(route, field, _agent(value) if field == "agent" else value)
        if created or secret is not None:
            route.insecure_no_auth = insecure
        _validate(route)
        route.save()
        shown = None
        generated = created and not tells_secret(route.preset)
        if not insecure and (generated or secret is not None):
            shown = secret or generate_secret()
            rotate(route.secrets, shown, timedelta(0))
    return Subscription(route, created, shown)


def remove(name: str) -> None:
    """Delete a subscription; raise ValidationError where there is none, or it is not one."""
    with transaction.atomic():
        route = Route.objects.select_for_update().filter(name=normalised_name(name)).first()
        if route is None:
            raise ValidationError({"name": _("There is no subscription of this name.")})
        _must_be_dynamic(route)
        route.delete()


def rotate_secret(route: Route, overlap: timedelta, value: str | None = None) -> str:
    """Give a route a new secret, generated unless the sender dictates one, and return it.

    The old ones count until the overlap ends. A route that took unsigned requests no longer does.
    Raises ValidationError for a route of a file.
    """
    if route.origin == Route.Origin.FILE:
        file = file_of(route.name) or "config.yaml"
        raise ValidationError(_("The secret of this route is set in %s; change it there.") % file)
    with transaction.atomic():
        new = rotate(route.secrets, value, overlap)
        if route.insecure_no_auth:
            route.insecure_no_auth = False
            route.save(update_fields=["insecure_no_auth", "updated_at"])
    return new.value


def effective_secrets(route: Route) -> list[str]:
    """Return the secrets that count, newest first: the route's own, else the global one."""
    own = [one.value for one in route.secrets.live()]
    fallback = "" if tells_secret(route.preset) else effective_settings().secret
    return own or ([fallback] if fallback else [])


def await_secret(route: Route) -> None:
    """End the secrets of a route whose source tells them, so that it can tell a new one.

    Until then the route refuses everybody.
    """
    with transaction.atomic():
        route.secrets.live().update(not_after=timezone.now())
        bump_version()


def secret_to_copy(route: Route) -> RouteSecret | None:
    """Return the secret that a person has to bring back to the source; None where there is none.

    That is a source's that tells it for this purpose (Notion), for an hour. Whoever may see it may
    give the route another one anyway.
    """
    preset = presets().get(route.preset)
    handshake = preset.handshake if preset else None
    if handshake is None or handshake.kind is not Greets.NOTION:
        return None
    since = timezone.now() - SHOWN_FOR
    return route.secrets.live().filter(created_at__gt=since).first()


def normalised_name(name: str) -> str:
    """Return the name as a route has it; raise ValidationError for one that can't be made so."""
    name = name.strip().lower().replace(" ", "-")
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValidationError(
            {
                "name": _(
                    "Use letters, digits, hyphens and underscores; start with a letter or digit."
                )
            }
        )
    return name


def _names(values: Sequence[str]) -> list[str]:
    return [name for value in values if (name := value.strip())]


def _extra(route: Route, target: Target) -> dict[str, Any]:
    """Return where on its channel a route delivers to: as told, the rest as it was."""
    kept = dict(route.deliver_extra) if route.deliver == target.deliver else {}
    kept.pop("chat_id", None)
    if "thread_id" in target.extra:
        kept.pop("message_thread_id", None)  # it would win (spec 001, forum topics)
    return kept | dict(target.extra)


def _agent(name: str) -> Agent | None:
    """Return the agent of a name, None for no name; raise ValidationError for an unknown one."""
    if not name:
        return None
    found = Agent.objects.filter(name=name).first()
    if found is None:
        raise ValidationError({"agent": _("There is no agent named “%s”.") % name})
    return found


def _validate(route: Route) -> None:
    route.full_clean()
    if found := faults(route):
        raise ValidationError(found)
    if reason := unknown_source(route):
        raise ValidationError({"preset": reason})
    if nowhere(route):
        raise ValidationError(
            {"deliver": _("A direct delivery needs a target other than the log.")}
        )
    for deliver, _more in targets_of(route):
        if reason := unknown_target(deliver):
            raise ValidationError({"deliver": reason})


def _must_be_dynamic(route: Route) -> None:
    if route.origin == Route.Origin.FILE:
        file = file_of(route.name) or "config.yaml"
        raise ValidationError(
            {"name": _("This route is set in %s; change or remove it there.") % file}
        )
    if route.origin == Route.Origin.ADMIN:
        raise ValidationError(
            {"name": _("This route was made in the admin; change or remove it there.")}
        )
