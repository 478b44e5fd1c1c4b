"""The chat endpoint of an agent in completions mode: its settings, checked and read."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from agents.models import Agent
from deliveries.models import Attempt, Delivery
from deliveries.outbound import Policy, validate_outbound_url
from deliveries.outcomes import Verdict

CHAT_PATH = "/chat/completions"
SYSTEM_LIMIT, MODEL_LIMIT, KEY_LIMIT = 32_000, 200, 1000  # characters
TIMEOUT_SECONDS = (5, 1800)
MAX_TOKENS = (1, 1_000_000)
TEMPERATURE = (0.0, 2.0)
HISTORY = (0, 200)
DEFAULTS: Mapping[str, Any] = {
    "base_url": "",
    "model": "",
    "system": "",
    "max_tokens": None,
    "temperature": None,
    "timeout_seconds": 300,
    "stream": False,
    "history": 20,
    "lan": False,
}

# What an operator has to mend; more of the same follows until then.
ATTENTION = frozenset(
    {
        "blocked",
        "forbidden",
        "model_missing",
        "no_credit",
        "no_endpoint",
        "not_an_endpoint",
        "not_found",
        "redirect",
        "unauthorized",
    }
)

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_UNPRINTABLE_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_HEADER_TEXT = re.compile(r"[\x21-\x7e]+\Z")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is asked, and how; None stands for what is left to the endpoint."""

    base_url: str
    model: str
    system: str
    max_tokens: int | None
    temperature: float | None
    timeout_seconds: int
    stream: bool
    history: int  # how many earlier messages of the conversation are sent
    lan: bool
    key: str

    @property
    def url(self) -> str:
        """Return the address that is called."""
        return url_of(self.base_url)

    @property
    def policy(self) -> Policy:
        """Return how far a request may go: private addresses only where the operator says so."""
        return Policy.LAN if self.lan else Policy.PUBLIC


def endpoint_of(agent: Agent) -> Endpoint:
    """Return an agent's endpoint as it is stored, with what is missing by default."""
    stored = {name: agent.endpoint.get(name, default) for name, default in DEFAULTS.items()}
    return Endpoint(**stored, key=agent.endpoint_key or "")


def url_of(base_url: str) -> str:
    """Return the address of the chat completions below a base address."""
    parts = urlsplit(base_url)
    return urlunsplit(parts._replace(path=parts.path + CHAT_PATH))


def without_query(base_url: str) -> str:
    """Return an address without its query, which may hold a key."""
    return urlunsplit(urlsplit(base_url)._replace(query=""))


def check_endpoint(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an endpoint, cleaned and whole, as `Agent.endpoint` keeps them.

    ``data`` holds any of the names of DEFAULTS, as JSON or a form gives them; an empty text
    stands for the default. Raises ValidationError by field. The key is not among them: see
    `check_key`. Looks the host's address up, so call it outside a transaction.
    """
    cleaned: dict[str, Any] = {}
    errors: dict[str, Any] = {
        name: _("There is no such setting.") for name in data.keys() - _CHECKS
    }
    for name, check in _CHECKS.items():
        value = data.get(name)
        if value is None or value == "":
            value = DEFAULTS[name]
        try:
            cleaned[name] = check(value)
        except ValidationError as error:
            errors[name] = error.messages
    if "base_url" in cleaned and "lan" in cleaned:
        try:
            cleaned["base_url"] = _checked_address(cleaned["base_url"], lan=cleaned["lan"])
        except ValidationError as error:
            errors["base_url"] = error.messages
    if errors:
        raise ValidationError(errors)
    return cleaned


def check_key(key: str) -> str:
    """Return an API key without space around it; raise ValidationError on ``key``."""
    key = key.strip()
    if len(key) > KEY_LIMIT or (key and not _HEADER_TEXT.match(key)):
        raise ValidationError(
            {"key": _("A key is one word of at most %(n)d ASCII characters.") % {"n": KEY_LIMIT}}
        )
    return key


def keeps_key(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether a stored key may go on to be used when an endpoint's settings change.

    Only for the same scheme, host and port: else whoever may change the address could have the
    key sent to themselves.
    """
    old, new = urlsplit(before.get("base_url", "")), urlsplit(after.get("base_url", ""))
    return (old.scheme, old.netloc) == (new.scheme, new.netloc)


def effects_of(cleaned: Mapping[str, Any]) -> list[str]:
    """Return what follows from using these settings, in the reader's language."""
    effects = [
        _("Each message is sent to %(url)s; model %(model)s answers.")
        % {"url": without_query(cleaned["base_url"]), "model": cleaned["model"]},
        _("Its provider sees the messages and may charge for every one of them."),
    ]
    if cleaned["history"]:
        effects.append(
            _("Up to %(count)d earlier messages of a conversation are sent along with each.")
            % {"count": cleaned["history"]}
        )
    if cleaned["lan"]:
        effects.append(_("Addresses of the private network may be called for it."))
    return effects


def attention(agent: Agent) -> str:
    """Return why an agent's endpoint needs a person, or an empty text.

    That is what its latest attempt says, if it is something that more attempts will not mend.
    """
    if agent.connection_mode != Agent.Mode.COMPLETIONS:
        return ""
    tried = Delivery.objects.filter(lane_id=agent.lane_id).exclude(attempt_count=0)
    latest = list(tried.order_by("-id").values_list("pk", flat=True)[:5])
    attempt = (
        Attempt.objects.filter(delivery_id__in=latest)
        .exclude(verdict=Verdict.SENDING)
        .order_by("-started_at")
        .first()
    )
    return attempt.error if attempt and attempt.error_class in ATTENTION else ""


def _text(limit: int, pattern: re.Pattern[str], *, required: bool) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError(_("This must be a text."))
        text = value.strip()
        if required and not text:
            raise ValidationError(_("This is needed."))
        if len(text) > limit:
            raise ValidationError(_("At most %(n)d characters.") % {"n": limit})
        if pattern.search(text):
            raise ValidationError(_("This holds a control character."))
        return text

    return check


def _number(bounds: tuple[float, float], kind: type, *, optional: bool) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value is None and optional:
            return None
        # A truth value is an integer to Python; 20.0 is one to nobody.
        right = isinstance(value, int if kind is int else int | float)
        if isinstance(value, bool) or not right or not math.isfinite(value):
            raise ValidationError(
                _("This must be a whole number.") if kind is int else _("This must be a number.")
            )
        if not bounds[0] <= value <= bounds[1]:
            said = {"low": bounds[0], "high": bounds[1]}
            raise ValidationError(_("Between %(low)s and %(high)s.") % said)
        return kind(value)

    return check


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValidationError(_("This must be true or false."))
    return value


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "base_url": _text(2000, _UNPRINTABLE, required=True),
    "model": _text(MODEL_LIMIT, _UNPRINTABLE, required=True),
    "system": _text(SYSTEM_LIMIT, _UNPRINTABLE_IN_TEXT, required=False),
    "max_tokens": _number(MAX_TOKENS, int, optional=True),
    "temperature": _number(TEMPERATURE, float, optional=True),
    "timeout_seconds": _number(TIMEOUT_SECONDS, int, optional=False),
    "stream": _truth,
    "history": _number(HISTORY, int, optional=False),
    "lan": _truth,
}


def _checked_address(base_url: str, *, lan: bool) -> str:
    """Return the base address: what people paste often ends in the path that is added here."""
    try:
        parts = urlsplit(base_url)
    except ValueError:
        raise ValidationError(_("The URL cannot be read; check its host and port.")) from None
    path = parts.path.rstrip("/").removesuffix(CHAT_PATH).rstrip("/")
    base_url = urlunsplit(parts._replace(path=path, fragment=""))
    try:
        validate_outbound_url(url_of(base_url), Policy.LAN if lan else Policy.PUBLIC)
    except ValidationError as error:
        way_out = [] if lan else [_("If it is on your own network, allow private addresses.")]
        raise ValidationError([" ".join([*error.messages, *way_out])]) from None
    if parts.scheme == "http" and not (lan or settings.OUTBOUND_ALLOW_PRIVATE):
        raise ValidationError(
            _("Use https: messages and the key go there. Plain http is for private addresses.")
        )
    return base_url
