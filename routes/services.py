"""Changes of routes: subscriptions, secrets, signed samples."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import orjson
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from deliveries.ids import new_id
from platforms.services import UnknownChannel, channel_for
from vault.services import generate_secret, rotate

from .config_entries import INSECURE_NO_AUTH
from .config_files import effective_settings
from .models import NAME_PATTERN, Route
from .presets import AUTO, presets
from .signatures import sign
from .versions import bump_version

__all__ = [
    "Sample",
    "Subscription",
    "bump_version",
    "effective_secrets",
    "is_loopback",
    "remove",
    "rotate_secret",
    "signed_sample",
    "subscribe",
]

LOG = "log"
TEST_EVENT = "test"
# How hermes-agent's own `webhook test` signs; a route that recognises its sender takes it.
SAMPLE_PRESET = "github"

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "ip6-localhost", "ip6-loopback"})


class Subscription(NamedTuple):
    """What `subscribe` did; ``secret`` is to be shown now or never, None when it was kept."""

    route: Route
    created: bool
    secret: str | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A request a sender could make; headers in lower case."""

    headers: Mapping[str, str]
    body: bytes


def subscribe(
    name: str,
    *,
    events: Sequence[str] = (),
    prompt: str = "",
    deliver: str = LOG,
    deliver_chat_id: str = "",
    description: str = "",
    secret: str | None = None,
    skills: Sequence[str] = (),
    deliver_only: bool = False,
) -> Subscription:
    """Create a subscription, or describe an existing one anew (spec 001, dynamic subscriptions).

    1. The name is trimmed and lower-cased, its spaces become hyphens.
    2. The target must exist; a direct delivery needs a real one.
    3. What a subscription describes is replaced; whether it is enabled, its limits, source and
       agent stay, and so does the rest of its target while ``deliver`` is the same.
    4. Without ``secret``, a new subscription gets a generated one and an old one keeps its own;
       with it, the old ones end at once.

    Raises ValidationError by field; then nothing is stored.
    """
    name = normalised_name(name)
    deliver = deliver.strip() or LOG
    _validate_target(deliver, deliver_only=deliver_only)
    insecure = secret == INSECURE_NO_AUTH
    if secret is not None and not secret.strip():
        raise ValidationError({"secret": _("A secret can't be empty.")})
    if insecure and not is_loopback(settings.WEBHOOK_HOST):
        raise ValidationError(
            {"secret": _("INSECURE_NO_AUTH is for a gateway on a loopback address only.")}
        )
    with transaction.atomic():
        route = Route.objects.select_for_update().filter(name=name).first()
        created = route is None
        if route is None:
            route = Route(name=name, origin=Route.Origin.DYNAMIC)
        _must_be_dynamic(route)
        extra = dict(route.deliver_extra) if route.deliver == deliver else {}
        extra.pop("chat_id", None)
        route.description = description or f"Agent-created subscription: {name}"
        route.events = _names(events)
        route.prompt = prompt
        route.skills = _names(skills)
        route.deliver = deliver
        route.deliver_extra = extra | ({"chat_id": deliver_chat_id} if deliver_chat_id else {})
        route.deliver_only = deliver_only
        if created or secret is not None:
            route.insecure_no_auth = insecure
        route.full_clean()
        route.save()
        shown = None
        if not insecure and (created or secret is not None):
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
    Raises ValidationError for a route of config.yaml.
    """
    if route.origin == Route.Origin.FILE:
        raise ValidationError(_("The secret of this route is set in config.yaml; change it there."))
    with transaction.atomic():
        new = rotate(route.secrets, value, overlap)
        if route.insecure_no_auth:
            route.insecure_no_auth = False
            route.save(update_fields=["insecure_no_auth", "updated_at"])
    return new.value


def effective_secrets(route: Route) -> list[str]:
    """Return the secrets that count, newest first: the route's own, else the global one."""
    own = [one.value for one in route.secrets.live()]
    fallback = effective_settings().secret
    return own or ([fallback] if fallback else [])


def signed_sample(route: Route, payload: object, event: str) -> Sample:
    """Return a request as the route's own source would send it now, under a new id.

    A route that takes unsigned requests gets an unsigned one. Raises ValidationError where no
    secret of the route can sign for its source.
    """
    body = orjson.dumps(payload)
    preset = presets().get(SAMPLE_PRESET if route.preset == AUTO else route.preset)
    if preset is None:
        raise ValidationError(_("The source of this route is not known; choose another."))
    if route.insecure_no_auth:
        headers = {"x-github-event": event, "x-request-id": str(new_id())}
        return Sample({"content-type": "application/json", **headers}, body)
    secrets = effective_secrets(route)
    if not secrets:
        raise ValidationError(_("This route has no secret to sign with."))
    try:
        signature = sign(
            preset, secrets[0], body, now=time.time(), delivery_id=str(new_id()), event=event
        )
    except ValueError as error:
        raise ValidationError(str(error)) from None
    return Sample({"content-type": "application/json", **signature}, body)


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


def is_loopback(host: str) -> bool:
    """Return whether a gateway listening there can be reached from this machine only."""
    return host.strip().lower() in _LOOPBACK


def _names(values: Sequence[str]) -> list[str]:
    return [name for value in values if (name := value.strip())]


def _validate_target(deliver: str, *, deliver_only: bool) -> None:
    if deliver_only and deliver == LOG:
        raise ValidationError(
            {"deliver": _("A direct delivery needs a target other than the log.")}
        )
    if deliver == LOG:
        return
    try:
        channel_for(deliver)
    except UnknownChannel as error:
        raise ValidationError({"deliver": str(error)}) from error


def _must_be_dynamic(route: Route) -> None:
    if route.origin == Route.Origin.FILE:
        raise ValidationError(
            {"name": _("This route is set in config.yaml; change or remove it there.")}
        )
    if route.origin == Route.Origin.ADMIN:
        raise ValidationError(
            {"name": _("This route was made in the admin; change or remove it there.")}
        )
