"""What a person should know of a route's settings, given its source (facts/sources.md §3)."""

from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from .models import Route
from .presets import Preset
from .services import is_loopback

# A direct delivery may take so long, in seconds; who waits less has gone before the answer.
DIRECT_SECONDS = 10


def advice(route: Route, preset: Preset | None) -> list[str]:
    """Return what to consider, one thought each; empty when all is well."""
    found = [_unhurried(route, preset), _without_effect(route)]
    if preset is not None:
        found += [_what_is_signed(preset), _address(preset)]
    return [thought for thought in found if thought]


def _unhurried(route: Route, preset: Preset | None) -> str:
    """Advise to answer at once where the sender does not wait for a direct delivery."""
    if preset is None or not route.deliver_only or route.answer_at_once:
        return ""
    words = {"source": preset.label, "seconds": preset.waits}
    tick = _("Tick “answer at once”: Hermes then answers first, and repeats by itself.")
    if preset.waits is not None and preset.waits < DIRECT_SECONDS:
        waits = _(
            "%(source)s waits %(seconds)s s for an answer; a direct delivery may take longer."
        )
        return f"{waits % words} {tick}"
    if preset.repeats is False:
        fails = _("%(source)s does not repeat what failed, so a direct delivery has one chance.")
        return f"{fails % words} {tick}"
    return ""


def _without_effect(route: Route) -> str:
    if route.answer_at_once and not route.deliver_only:
        return _("“Answer at once” is for direct deliveries; to an agent it is always so.")
    return ""


def _what_is_signed(preset: Preset) -> str:
    if preset.note:
        return str(preset.note)
    if not preset.protects_body:
        return _(
            "%(source)s does not protect the body: whoever knows the secret, or reads along, "
            "could change it. Let it come over HTTPS only."
        ) % {"source": preset.label}
    return ""


def _address(preset: Preset) -> str:
    if preset.signs_address and is_loopback(urlsplit(settings.PUBLIC_URL).hostname or ""):
        return _(
            "%(source)s signs the address it posts to: set PUBLIC_URL to the one it knows, or "
            "nothing is accepted."
        ) % {"source": preset.label}
    return ""
