"""Signed tests: a sample event of a route's source, posted to the gateway on this machine."""

import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.utils.translation import gettext as _

from deliveries.models import Event

from .config_files import effective_settings
from .curl import address, any_secret
from .models import Route
from .presets import Preset, presets
from .presets.record import Scheme
from .samples import Request, Sample, samples, signed_request
from .services import SAMPLE_PRESET, effective_secrets
from .sources import preset_of

POST_SECONDS = 15.0  # a direct delivery is answered within ten
SHOWN_CHARACTERS = 500
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  what to replace, not to listen on
_ONLY_THE_SENDER_SIGNS = frozenset({Scheme.ED25519, Scheme.ECDSA})


class NotSent(Exception):
    """The test could not be made or posted; the text says why, and the way out."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What the gateway answered, and the event that came of it (None: there is none)."""

    status: int
    text: str
    event: Event | None


def trial_preset(route: Route) -> Preset:
    """Return the source a test comes from: the route's own, or one that it would recognise."""
    return preset_of(route) or presets()[SAMPLE_PRESET]


def trial_samples(route: Route) -> list[Sample]:
    """Return the sample events of a route's source, the ones it asks for first."""
    found = samples(trial_preset(route).name)
    return sorted(found, key=lambda sample: sample.event not in route.events)


def trial_request(route: Route, sample: Sample) -> Request:
    """Return a sample as the route's source would send it now; raise NotSent.

    It is signed with the route's newest secret, and for its public address.
    """
    preset = trial_preset(route)
    if preset.scheme in _ONLY_THE_SENDER_SIGNS:
        raise NotSent(
            _("%s signs with a key that only the sender has. Let the sender send a test.")
            % preset.label
        )
    try:
        return signed_request(preset, _secret(route, preset), sample, address(route), time.time())
    except ValueError:
        raise NotSent(
            _("The secret of this route can't be one of %s; give it another.") % preset.label
        ) from None


def _secret(route: Route, preset: Preset) -> str:
    secrets = effective_secrets(route)
    if secrets:
        return secrets[0]
    if route.insecure_no_auth:
        return any_secret(preset)
    raise NotSent(_("The route has no secret yet; give it one first."))


def post(route: Route, request: Request) -> Posted:
    """Post a request to the gateway of this machine; raise NotSent where none answers.

    Past the guard of `deliveries.outbound`: no address of anybody else's is in it.
    """
    # What a proxy has before its own path is not ours.
    path = request.url.removeprefix(urlsplit(settings.PUBLIC_URL).path)
    url = f"http://{_host()}:{effective_settings().port}{path}"
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy between this machine and itself
            answer = session.request(
                request.method,
                url,
                data=request.body,
                headers=dict(request.headers),
                timeout=POST_SECONDS,
                allow_redirects=False,
            )
    except requests.RequestException as error:
        raise NotSent(
            _("No answer from %(url)s (%(error)s). Is the gateway running?")
            % {"url": url, "error": type(error).__name__}
        ) from None
    return Posted(answer.status_code, answer.text[:SHOWN_CHARACTERS], _event(route, answer))


def _host() -> str:
    host = settings.WEBHOOK_HOST.strip()
    host = "127.0.0.1" if host in _WILDCARDS else host
    return f"[{host}]" if ":" in host else host


def _event(route: Route, answer: requests.Response) -> Event | None:
    try:
        said = answer.json()
    except ValueError:
        return None
    shown = said.get("delivery_id") if isinstance(said, dict) else None
    if not isinstance(shown, str):
        return None
    rows = Event.objects.filter(route=route.name).order_by("-pk")[:20]
    return next((row for row in rows if shown in (row.dedupe_key, str(row.pk))), None)
