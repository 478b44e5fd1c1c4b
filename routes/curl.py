"""A request that a person can paste into a shell: signed as the route's own source would."""

import re
import time
from collections.abc import Mapping

from django.conf import settings

from .models import Route
from .presets import AUTO, Encoding, Preset, Scheme, presets
from .presets.record import Key
from .samples import Sample, samples, signed_request
from .samples.bodies import JSON
from .sources import preset_of, spelled

# What a route that recognises its sender by the headers is shown: the plainest scheme.
PLAINEST = "generic"

# What curl and openssl can do in a few lines.
_SCHEMES = frozenset({Scheme.HMAC, Scheme.TOKEN, Scheme.BEARER, Scheme.BASIC, Scheme.NONE})
_FIELD = re.compile(r"\{(\w+)\}")
_IN_THE_TEXT = frozenset({"body", "timestamp", "id"})
# Stands for the secret while the headers are made that do not need it.
_ANY_SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # noqa: S105


def address(route: Route) -> str:
    """Return the URL that is given to the sender."""
    return f"{settings.PUBLIC_URL}/webhooks/{route.name}"


def sample(route: Route) -> str:
    """Return shell lines that sign and post a sample event; the secret is ``$SECRET``.

    Made from the source's record, so that it can't part from what the gateway verifies. Needs
    curl and openssl, and nothing else; where those can't sign as the source does, it is the
    command that can. Empty where the source is not known.
    """
    preset = presets()[PLAINEST] if route.preset == AUTO else preset_of(route)
    if preset is None:
        return ""
    chosen = _sample(route, preset)
    if not _fits_a_shell(preset) or chosen.content_type != JSON:
        return f"python manage.py webhook test {route.name}"
    request = signed_request(preset, any_secret(preset), chosen, address(route), time.time())
    lines = [f"BODY={_quoted(request.body.decode())}"]
    headers = [
        _quoted(f"{spelled(name)}: {value}") for name, value in _plain(preset, request.headers)
    ]
    if not route.insecure_no_auth:
        lines += _signing(preset)
        headers += _signature_headers(preset)
    request_lines = [f"curl -X POST {address(route)}"]
    request_lines += [f"  -H {header}" for header in headers]
    request_lines.append('  -d "$BODY"')
    return "\n".join([*lines, " \\\n".join(request_lines)])


def any_secret(preset: Preset) -> str:
    """Return a secret that a source could have issued, where none is looked at."""
    return f"{preset.base64_secret_prefix}{_ANY_SECRET}"


def _sample(route: Route, preset: Preset) -> Sample:
    found = samples(preset.name)
    return next((one for one in found if one.event in route.events), found[0])


def _fits_a_shell(preset: Preset) -> bool:
    """Return whether the source signs in one header, over what a shell has at hand."""
    time_of_signing = preset.timestamp
    return (
        preset.scheme in _SCHEMES
        and bool(preset.header or preset.scheme is Scheme.NONE)
        and preset.key is Key.TEXT
        and not preset.encryption
        and set(_FIELD.findall(preset.signed)) <= _IN_THE_TEXT
        and ("{id}" not in preset.signed or bool(preset.id_headers))
        and (time_of_signing is None or bool(time_of_signing.header))
    )


def _plain(preset: Preset, headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers that are the same whatever the secret and the time."""
    made = {preset.header, *preset.id_headers[:1]}
    if preset.timestamp is not None:
        made.add(preset.timestamp.header)
    return [(name, value) for name, value in headers.items() if name not in made]


def _signing(preset: Preset) -> list[str]:
    lines = ["SECRET='the secret of this route'"]
    if preset.id_headers:
        lines.append("ID=$(openssl rand -hex 16)")
    if preset.scheme is Scheme.BASIC:
        # The password alone is one of any user.
        lines.append('case "$SECRET" in *:*) ;; *) SECRET="hermes:$SECRET" ;; esac')
        return [*lines, 'BASIC=$(printf %s "$SECRET" | openssl base64 -A)']
    if preset.scheme is not Scheme.HMAC:
        return lines
    if preset.secret_parts:
        lines.append("SECRET=${SECRET%%:*}")
    if preset.timestamp is not None:
        times = "" if preset.timestamp.per_second == 1 else "000"
        lines.append(f"TIME=$(date +%s){times}")
    key = '-hmac "$SECRET"'
    if preset.base64_secret_prefix:
        lines += [
            f'KEY=$(printf %s "${{SECRET#{preset.base64_secret_prefix}}}" | openssl base64 -d -A '
            "| od -An -v -tx1 | tr -d ' \\n')"
        ]
        key = '-mac HMAC -macopt "hexkey:$KEY"'
    text = preset.signed.format(body="$BODY", timestamp="$TIME", id="$ID")
    digest = f'printf %s "{text}" | openssl dgst -{preset.algorithm} {key}'
    out = (
        " -binary | openssl base64 -A"
        if preset.encoding is Encoding.BASE64
        else " | sed 's/^.* //'"
    )
    return [*lines, f"SIGNATURE=$({digest}{out})"]


def _signature_headers(preset: Preset) -> list[str]:
    headers = []
    if preset.id_headers:
        headers.append(f'"{spelled(preset.id_headers[0])}: $ID"')
    match preset.scheme:
        case Scheme.TOKEN:
            value = f"{preset.prefix}$SECRET"
        case Scheme.BEARER:
            value = "Bearer $SECRET"
        case Scheme.BASIC:
            value = "Basic $BASIC"
        case Scheme.NONE:
            return headers
        case _:
            value = f"{preset.prefix}$SIGNATURE"
    if preset.timestamp is not None:
        if preset.timestamp.part:
            value = f"{preset.timestamp.part}$TIME{preset.separator}{value}"
        else:
            headers.append(f'"{spelled(preset.timestamp.header)}: $TIME"')
    return [*headers, f'"{spelled(preset.header)}: {value}"']


def _quoted(text: str) -> str:
    """Return the text as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"
