"""Taking secrets out of text and headers before they are stored or shown."""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus

MASK = "***"

# Shorter ones would punch holes into ordinary words, and protect nothing.
SHORTEST_SECRET = 4

CREDENTIAL_HEADER = re.compile(
    r"token|secret|signature|password|api[-_]?key|authorization|cookie|credential|^sign$",
    re.IGNORECASE,
)
SIGNATURE_HEADER = re.compile("signature", re.IGNORECASE)

# "sha256=…", "v0=…", "v1,…", "t=…": which scheme it was helps to find a wrong one. Only known
# schemes, as base64 may begin with anything.
SCHEME_PREFIX = re.compile(r"(?:(?:hmac-)?sha-?\d{1,3}|v\d{1,2}a?|t)[=,]", re.IGNORECASE)

# What Go's encoding/json escapes beyond the need, for the sake of HTML.
GO_ESCAPES = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})

PERCENT_ESCAPE = re.compile("%[0-9A-F]{2}")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every known secret of four characters or more replaced by `***`.

    They are found raw, URL-quoted, as JSON writes them and in base64. The time is one pass over
    the text for each spelling: about a millisecond for 64 kB and a few secrets.
    """
    spellings = {
        spelling
        for secret in secrets
        if len(secret) >= SHORTEST_SECRET
        for spelling in _spellings(secret)
    }
    # Longest first: a secret that begins like another must not leave its tail behind.
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return text


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with the values of those that carry credentials masked.

    A signature keeps the name of its scheme: `sha256=***`.
    """
    return {name: _redact_header(name, value) for name, value in headers.items()}


def _redact_header(name: str, value: str) -> str:
    if not CREDENTIAL_HEADER.search(name):
        return value
    if SIGNATURE_HEADER.search(name) and (scheme := SCHEME_PREFIX.match(value)):
        return scheme.group() + MASK
    return MASK


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    for quoted in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield quoted
        yield PERCENT_ESCAPE.sub(lambda escape: escape.group().lower(), quoted)
    for ensure_ascii in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ensure_ascii)[1:-1]
        yield escaped
        yield escaped.replace("/", r"\/")  # as PHP writes it
        yield escaped.translate(GO_ESCAPES)
    for encoded in (base64.b64encode, base64.urlsafe_b64encode):
        padded = encoded(secret.encode()).decode()
        yield padded
        yield padded.rstrip("=")
