"""JSON Web Tokens, as far as senders use them: HS256, with an end (RFC 7519)."""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from hmac import compare_digest

_ALGORITHM = "HS256"
_HEADER = {"alg": _ALGORITHM, "typ": "JWT"}
# Longer than any that a webhook carries.
_MAX_CHARACTERS = 8192
# Clocks of sender and receiver may differ by so much, in seconds.
LEEWAY = 60
_LIFETIME = 180


def is_signed(token: bytes, key: bytes) -> bool:
    """Return whether the key made this token; its times are not looked at."""
    text, _, signature = token.rpartition(b".")
    if len(token) > _MAX_CHARACTERS or text.count(b".") != 1:
        return False
    # The token may not choose how it is checked: "none" and public-key algorithms are no HS256.
    if _part(text.partition(b".")[0]).get("alg") != _ALGORITHM:
        return False
    return compare_digest(signature, _encoded(hmac.digest(key, text, "sha256")))


def lateness(token: bytes, now: float) -> int | None:
    """Return by how many seconds a token is out of its time: negative where it is too early.

    0 when it is good, None when it names no end, which would make it good for ever.
    """
    claims = _part(token.split(b".")[1])
    end, start = _time(claims.get("exp")), _time(claims.get("nbf", 0))
    if end is None or start is None:
        return None
    if now > end + LEEWAY:
        return int(now - end)
    if now < start - LEEWAY:
        return int(now - start)
    return 0


def made(key: bytes, now: float) -> bytes:
    """Return a token as a source would send it now."""
    claims = {"iat": int(now), "exp": int(now) + _LIFETIME}
    text = b".".join(_encoded(json.dumps(part).encode()) for part in (_HEADER, claims))
    return text + b"." + _encoded(hmac.digest(key, text, "sha256"))


def _part(encoded: bytes) -> Mapping[str, object]:
    try:
        data = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        found = json.loads(data)
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _time(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    # A time has ten digits; what lies far beyond is none, and neither is NaN.
    return float(value) if 0 <= value < 1e12 else None
