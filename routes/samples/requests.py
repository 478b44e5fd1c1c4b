"""A sample as the request that its source would make."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from urllib.parse import urlsplit

from routes.presets import Preset
from routes.signatures import sign_request
from routes.signatures.verdicts import Address

from .bodies import body_of
from .event import Sample
from .placing import mark, place_event


@dataclass(frozen=True, slots=True)
class Request:
    """What goes on the wire; ``url`` is path and query, header names are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def signed_request(preset: Preset, secret: str, sample: Sample, url: str, now: float) -> Request:
    """Return the request with which the source would post this sample to ``url``.

    The event's name and the id are put where the source has them; where it has no id, the body
    is marked, or the second test within the hour would be a duplicate. ``url`` is the route's
    whole public address, as some sources sign it; ``now`` is unix time.
    The secret is the route's, for sources with public keys the private one. Raises ValueError
    for a secret that can't sign.
    """
    payload = deepcopy(sample.payload)
    if not any(rule.header for rule in preset.event):
        payload = place_event(preset, payload, sample.event)
    mark(preset, payload, sample.id)
    signed = sign_request(
        preset,
        secret,
        body_of(payload, sample.content_type),
        now=now,
        delivery_id=sample.id,
        event=sample.event,
        content_type=sample.content_type,
        at=Address("POST", url, urlsplit(url).query),
    )
    headers = {"content-type": sample.content_type, **preset.recognised_values, **signed.headers}
    where = urlsplit(signed.at.url)
    query = f"?{where.query}" if where.query else ""
    return Request(signed.at.method, f"{where.path or '/'}{query}", headers, signed.body)
