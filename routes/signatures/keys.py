"""From a secret, as a person entered it, to the key that a scheme works with."""

import base64
import binascii
from dataclasses import replace

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from routes.presets.record import Encryption, Key, Preset, Scheme, Variant

from .encryption import wecom_key

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

ASYMMETRIC = frozenset({Scheme.ED25519, Scheme.ECDSA})

_PEM = "-----BEGIN"
# How public keys begin. Anyone may know them, so nothing is verified by a keyed hash with one: a
# forger would make it as the owner does.
_PUBLIC = ("whpk_", f"{_PEM} PUBLIC KEY")
_RAW_ED25519 = 32


def key_of(preset: Preset, secret: str) -> bytes | None:
    """Return the key a secret stands for; None for one this source can't have issued.

    Of a secret in pieces it is the first. A secret of white space only is no secret. A public
    key comes back as 32 bytes (Ed25519) or as SubjectPublicKeyInfo (ECDSA).
    """
    if not secret.strip():
        return None
    preset = preset_for(preset, secret)
    if preset.scheme is Scheme.ED25519:
        return _public_ed25519(preset, secret)
    if preset.scheme is Scheme.ECDSA:
        return _public_ecdsa(preset, secret)
    if secret.strip().startswith(_PUBLIC):
        return None
    parts = parts_of(preset, secret)
    if preset.encryption is Encryption.WECOM and (len(parts) < 2 or wecom_key(parts[1]) is None):
        return None
    return _bytes(preset, parts[0])


def preset_for(preset: Preset, secret: str) -> Preset:
    """Return the record by which this secret signs: the preset, or what its variant makes of it."""
    variant = _variant(preset, secret)
    if variant is None:
        return preset
    return replace(
        preset,
        scheme=variant.scheme,
        prefix=variant.prefix,
        key=Key.BASE64,
        base64_secret_prefix=variant.secret_prefix,
        variants=(),
    )


def parts_of(preset: Preset, secret: str) -> tuple[str, ...]:
    """Return the pieces of a secret, as `Preset.secret_parts` names them; later ones may lack."""
    return tuple(secret.split(":", max(0, len(preset.secret_parts) - 1)))


def private_key_of(preset: Preset, secret: str) -> PrivateKey | None:
    """Return the private key behind a text; None for one that can't sign for this source.

    PKCS #8 as PEM or in base64, or what the source's variant calls private. A public key is none.
    """
    variant = _variant(preset, secret)
    try:
        if variant is not None and variant.private_prefix:
            if not secret.startswith(variant.private_prefix):
                return None
            raw = _base64(secret.removeprefix(variant.private_prefix)) or b""
            # 64 bytes are the seed and the public key after it.
            return Ed25519PrivateKey.from_private_bytes(raw[:_RAW_ED25519])
        if secret.lstrip().startswith(_PEM):
            key = load_pem_private_key(secret.strip().encode(), None)
        else:
            key = load_der_private_key(_base64(secret.strip()) or b"", None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    wanted = Ed25519PrivateKey if preset.scheme is Scheme.ED25519 else EllipticCurvePrivateKey
    return key if isinstance(key, wanted) else None


def _variant(preset: Preset, secret: str) -> Variant | None:
    for variant in preset.variants:
        if secret.startswith((variant.secret_prefix, variant.private_prefix or "\0")):
            return variant
    return None


def _public_ed25519(preset: Preset, secret: str) -> bytes | None:
    raw = _bytes(preset, secret)
    if raw is None or len(raw) != _RAW_ED25519:
        key = _loaded(preset, secret)
        if not isinstance(key, Ed25519PublicKey):
            return None
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return raw


def _public_ecdsa(preset: Preset, secret: str) -> bytes | None:
    key = _loaded(preset, secret)
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        return None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _loaded(preset: Preset, secret: str) -> object:
    try:
        if secret.lstrip().startswith(_PEM):
            return load_pem_public_key(secret.strip().encode())
        return load_der_public_key(_bytes(preset, secret) or b"")
    except (ValueError, UnsupportedAlgorithm):
        return None


def _bytes(preset: Preset, secret: str) -> bytes | None:
    marker = preset.base64_secret_prefix
    if marker and secret.startswith(marker):
        return _base64(secret.removeprefix(marker))
    match preset.key:
        case Key.HEX:
            return _hex(secret.strip())
        case Key.BASE64:
            return _base64(secret.strip())
    try:
        # As it came from the environment, which need not be UTF-8.
        return secret.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) or None
    except ValueError:
        return None
