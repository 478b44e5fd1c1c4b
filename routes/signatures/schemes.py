"""The families of signatures: how one is made of a text, and how a claimed one is checked.

A family whose signature can be made anew by whoever checks it is one function in `_MADE`; any
other has one in `_CHECKED`, and `signer_of` says how Hermes makes it.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from functools import partial
from hmac import compare_digest

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from routes.presets.record import Encoding, Preset, Scheme

from . import web_tokens
from .keys import ASYMMETRIC, PrivateKey, key_of, preset_for, private_key_of

# (key, signed text) -> the signature as the source writes it, prefix included.
Signature = Callable[[bytes, bytes], bytes]
# A claimed signature, prefix included -> whether it is good for the text it was prepared for.
Check = Callable[[bytes], bool]

# Schemes of Authorization are told apart without regard to case (RFC 9110).
_BEARER = (b"bearer ", b"jwt ")
_BASIC = b"basic "
# Who asks, where the secret is a password only.
_ANY_USER = b"hermes"

_HASHES: dict[str, type[HashAlgorithm]] = {"sha1": SHA1, "sha256": SHA256, "sha512": SHA512}


def signature_of(preset: Preset) -> Signature:
    """Return the function that signs as this source does; for keyed hashes, hashes and tokens."""
    return _MADE[preset.scheme](preset)


def check_of(preset: Preset, secret: str) -> Callable[[bytes], Check] | None:
    """Return what prepares, for a signed text, the check of claimed signatures.

    None for a secret that the source can't have issued, and where it can't prove anything.
    """
    key = key_of(preset, secret)
    preset = preset_for(preset, secret)
    if key is None or preset.scheme is Scheme.NONE:
        return None
    if checked := _CHECKED.get(preset.scheme):
        return checked(preset, key)
    signature = signature_of(preset)
    return lambda text: partial(compare_digest, signature(key, text))


def signer_of(preset: Preset, secret: str, now: float) -> Callable[[bytes], bytes] | None:
    """Return what signs a text at this unix time; None for a secret that can't sign.

    For public-key schemes the secret is the private key.
    """
    signing = preset_for(preset, secret)
    if signing.scheme in ASYMMETRIC:
        private = private_key_of(preset, secret)
        return None if private is None else _private_signer(signing, private)
    key = key_of(preset, secret)
    if key is None:
        return None
    match signing.scheme:
        case Scheme.BASIC:
            pair = key if b":" in key else _ANY_USER + b":" + key
            return lambda _text: b"Basic " + base64.b64encode(pair)
        case Scheme.JWT:
            return lambda _text: b"Bearer " + web_tokens.made(key, now)
        case Scheme.NONE:
            return None
    return partial(signature_of(signing), key)


def token_in(value: bytes) -> bytes:
    """Return the token of an ``Authorization`` header, b"" where its scheme is another."""
    for scheme in _BEARER:
        if value[: len(scheme)].lower() == scheme:
            return value[len(scheme) :].strip()
    return b""


def _hmac(preset: Preset) -> Signature:
    prefix, algorithm = preset.prefix.encode(), preset.algorithm
    if preset.encoding is Encoding.HEX:
        return lambda key, text: prefix + hmac.digest(key, text, algorithm).hex().encode()
    return lambda key, text: prefix + base64.b64encode(hmac.digest(key, text, algorithm))


def _hash(preset: Preset) -> Signature:
    # The secret is a piece of the text here.
    return lambda _key, text: _written(preset, hashlib.new(preset.algorithm, text).digest())


def _token(preset: Preset) -> Signature:
    prefix = preset.prefix.encode()
    return lambda key, _text: prefix + key


def _bearer(_preset: Preset) -> Signature:
    return lambda key, _text: b"Bearer " + key


_MADE: dict[Scheme, Callable[[Preset], Signature]] = {
    Scheme.HMAC: _hmac,
    Scheme.HASH: _hash,
    Scheme.TOKEN: _token,
    Scheme.BEARER: _bearer,
}


def _check_bearer(_preset: Preset, key: bytes) -> Callable[[bytes], Check]:
    return lambda _text: lambda claimed: compare_digest(token_in(claimed), key)


def _check_basic(_preset: Preset, key: bytes) -> Callable[[bytes], Check]:
    def check(claimed: bytes) -> bool:
        if claimed[: len(_BASIC)].lower() != _BASIC:
            return False
        try:
            pair = base64.b64decode(claimed[len(_BASIC) :].strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        # A secret without a colon is a password, whoever the user says he is.
        return compare_digest(pair if b":" in key else pair.partition(b":")[2], key)

    return lambda _text: check


def _check_web_token(_preset: Preset, key: bytes) -> Callable[[bytes], Check]:
    return lambda _text: lambda claimed: web_tokens.is_signed(token_in(claimed), key)


def _check_ed25519(preset: Preset, key: bytes) -> Callable[[bytes], Check]:
    public = Ed25519PublicKey.from_public_bytes(key)
    return _by_public_key(preset, public.verify)


def _check_ecdsa(preset: Preset, key: bytes) -> Callable[[bytes], Check]:
    public = load_der_public_key(key)
    assert isinstance(public, EllipticCurvePublicKey)  # noqa: S101  key_of has seen to it
    method = ECDSA(_HASHES[preset.algorithm]())
    return _by_public_key(preset, lambda signature, text: public.verify(signature, text, method))


def _by_public_key(
    preset: Preset, verify: Callable[[bytes, bytes], None]
) -> Callable[[bytes], Check]:
    def check(text: bytes, claimed: bytes) -> bool:
        signature = _read(preset, claimed)
        if signature is None:
            return False
        try:
            verify(signature, text)
        except InvalidSignature:
            return False
        return True

    return lambda text: partial(check, text)


_CHECKED: dict[Scheme, Callable[[Preset, bytes], Callable[[bytes], Check]]] = {
    Scheme.BEARER: _check_bearer,
    Scheme.BASIC: _check_basic,
    Scheme.JWT: _check_web_token,
    Scheme.ED25519: _check_ed25519,
    Scheme.ECDSA: _check_ecdsa,
}


def _private_signer(preset: Preset, private: PrivateKey) -> Callable[[bytes], bytes]:
    if isinstance(private, EllipticCurvePrivateKey):
        method = ECDSA(_HASHES[preset.algorithm]())
        return lambda text: _written(preset, private.sign(text, method))
    return lambda text: _written(preset, private.sign(text))


def _written(preset: Preset, signature: bytes) -> bytes:
    if preset.encoding is Encoding.HEX:
        return preset.prefix.encode() + signature.hex().encode()
    return preset.prefix.encode() + base64.b64encode(signature)


def _read(preset: Preset, claimed: bytes) -> bytes | None:
    prefix = preset.prefix.encode()
    if not claimed.startswith(prefix):
        return None
    text = claimed[len(prefix) :]
    try:
        if preset.encoding is Encoding.BASE64:
            return base64.b64decode(text, validate=True)
        signature = bytes.fromhex(text.decode("ascii"))
    except (binascii.Error, ValueError):
        return None
    # fromhex takes capitals and spaces, too.
    return signature if signature.hex().encode() == text else None
