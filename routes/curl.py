"""A request that a person can paste into a shell: signed as the route's own source would."""

import json

from django.conf import settings

from .models import Route
from .presets import AUTO, Encoding, Preset, Scheme, presets

# What a route that recognises its sender by the headers is shown: the plainest scheme.
PLAINEST = "generic"
BODY = {"hello": "from curl"}


def address(route: Route) -> str:
    """Return the URL that is given to the sender."""
    return f"{settings.PUBLIC_URL}/webhooks/{route.name}"


def sample(route: Route) -> str:
    """Return shell lines that sign and post a small event; the secret is ``$SECRET``.

    Made from the source's record, so that it can't part from what the gateway verifies. Needs
    curl and openssl, and nothing else.
    """
    preset = presets().get(PLAINEST if route.preset == AUTO else route.preset)
    if preset is None:
        return ""
    lines = [f"BODY='{json.dumps(BODY)}'"]
    headers = ["'Content-Type: application/json'"]
    if not route.insecure_no_auth:
        lines += _signing(preset)
        headers += _signature_headers(preset)
    headers += _event_header(preset, route.events)
    request = [f"curl -X POST {address(route)}"]
    request += [f"  -H {header}" for header in headers]
    request.append('  -d "$BODY"')
    return "\n".join([*lines, " \\\n".join(request)])


def _signing(preset: Preset) -> list[str]:
    lines = ["SECRET='the secret of this route'"]
    if preset.id_headers:
        lines.append("ID=$(openssl rand -hex 16)")
    if preset.scheme is Scheme.TOKEN:
        return lines
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
        headers.append(f'"{_spelled(preset.id_headers[0])}: $ID"')
    value = "$SECRET" if preset.scheme is Scheme.TOKEN else f"{preset.prefix}$SIGNATURE"
    if preset.timestamp is not None:
        if preset.timestamp.part:
            value = f"{preset.timestamp.part}$TIME{preset.separator}{value}"
        else:
            headers.append(f'"{_spelled(preset.timestamp.header)}: $TIME"')
    return [*headers, f'"{_spelled(preset.header)}: {value}"']


def _event_header(preset: Preset, events: object) -> list[str]:
    """Return the header that names the event: the first that the route accepts."""
    header = next((rule for rule in preset.event if rule.header), None)
    if header is None:
        return []
    event = str(events[0]) if isinstance(events, list) and events else "push"
    name = next((key for key, value in header.spellings.items() if value == event), event)
    # The name stands in a shell's single quotes.
    return ["'{}: {}'".format(_spelled(header.header), name.replace("'", ""))]


def _spelled(header: str) -> str:
    return "-".join(part.capitalize() for part in header.split("-"))
