"""The families of signatures: from a secret and the signed text to what the header must say.

To add a family, write one function that takes a preset and returns such a function, and name
it in `_FAMILIES`.
"""

import base64
import binascii
import hmac
from collections.abc import Callable

from routes.presets.record import Encoding, Preset, Scheme

# (key, signed text) -> the signature as the header spells it, prefix included.
Signature = Callable[[bytes, bytes], bytes]


def signature_of(preset: Preset) -> Signature:
    """Return the function that signs as this source does."""
    return _FAMILIES[preset.scheme](preset)


def key_of(preset: Preset, secret: str) -> bytes | None:
    """Return the key a secret stands for; None for one this source can't have issued.

    A secret of white space only is no secret.
    """
    if not secret.strip():
        return None
    marker = preset.base64_secret_prefix
    if not marker or not secret.startswith(marker):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(marker), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _hmac(preset: Preset) -> Signature:
    prefix, algorithm = preset.prefix.encode(), preset.algorithm
    if preset.encoding is Encoding.HEX:
        return lambda key, text: prefix + hmac.digest(key, text, algorithm).hex().encode()
    return lambda key, text: prefix + base64.b64encode(hmac.digest(key, text, algorithm))


def _token(_preset: Preset) -> Signature:
    return lambda key, _text: key


_FAMILIES: dict[Scheme, Callable[[Preset], Signature]] = {
    Scheme.HMAC: _hmac,
    Scheme.TOKEN: _token,
}
