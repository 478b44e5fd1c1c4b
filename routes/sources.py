"""The sources a person can choose for a route, and the one that was chosen."""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .models import Route
from .presets import AUTO, CUSTOM, Preset, Scheme, families, presets
from .presets.custom import custom_preset

Choices = list[tuple[Any, Any]]

_WORDS = {
    Scheme.HMAC: "HMAC",
    Scheme.HASH: _("hash"),
    Scheme.ED25519: "Ed25519",
    Scheme.ECDSA: "ECDSA",
    Scheme.TOKEN: _("secret token"),
    Scheme.BEARER: _("bearer token"),
    Scheme.BASIC: _("user and password"),
    Scheme.JWT: "JWT",
    Scheme.NONE: _("unsigned"),
}


def preset_of(route: Route) -> Preset | None:
    """Return the source a route is pinned to; None where it recognises it, or knows none."""
    if route.preset != CUSTOM:
        return presets().get(route.preset)
    try:
        return custom_preset(route.custom_scheme)
    except ValidationError:
        return None


def how_it_proves_itself(preset: Preset) -> str:
    """Return how a source signs in a few words: “HMAC-SHA256, X-Hub-Signature-256”."""
    word = str(_WORDS.get(preset.scheme, preset.scheme))
    if preset.scheme in (Scheme.HMAC, Scheme.HASH):
        name = preset.algorithm.upper()
        word = f"{word}-{name}" if preset.scheme is Scheme.HMAC else f"{name}"
    return f"{word}, {spelled(preset.header)}" if preset.header else word


def preset_choices() -> Choices:
    """Return what a route may be set to: the sources by family, each with how it signs."""
    known: Choices = [
        (
            label,
            [(one.name, f"{one.label} · {how_it_proves_itself(one)}") for one in family],
        )
        for label, family in families()
    ]
    first: Choices = [
        (AUTO, _("Recognised by the headers")),
        (CUSTOM, _("Another sender, described below")),
    ]
    return first + known


def source_label(route: Route) -> str | Promise:
    """Return who sends, as a list shows it."""
    if route.preset == AUTO:
        return _("by its headers")
    if route.preset == CUSTOM:
        return _("its own scheme")
    preset = presets().get(route.preset)
    return preset.label if preset else route.preset


def spelled(header: str) -> str:
    """Return a header's name as it is usually written."""
    return "-".join(part.capitalize() for part in header.split("-"))
