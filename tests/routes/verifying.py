"""A request held against a source, in a line."""

from typing import Any

from routes.presets import Preset, presets
from routes.signatures import POSTED, Address, Refused, Verified, Verifier, sign

NOW = 1_700_000_000.0
SECRET = "hermes-test-secret"
BODY = b'{"event":"ping","n":1}'
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
HEX = "eab207d18ce2c1baae6009d2bf617faff82221d4137656cb1a9eec4b53fcbc4e"


def source(name: str) -> Preset:
    return presets()[name]


def headers_of(preset: Preset, secret: str = SECRET, now: float = NOW) -> dict[str, str]:
    return sign(preset, secret, BODY, now=now, delivery_id=ID, event="ping")


def verify(
    preset: Preset,
    headers: dict[str, str],
    *,
    secret: str = SECRET,
    body: bytes = BODY,
    now: float = NOW,
    at: Address = POSTED,
) -> Verified | Refused:
    return Verifier(preset, (secret,)).verify(headers, body, now, at)


def refusal(*args: Any, **kwargs: Any) -> Refused:
    found = verify(*args, **kwargs)
    assert isinstance(found, Refused), found
    return found
