"""For each source a secret of the kind it issues: what the sender has, what the route has."""

import base64
import hashlib
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from routes.presets import Preset, Scheme
from routes.presets.record import Encryption

PRIVATE = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def secret_pair(preset: Preset, seed: str = "hermes") -> tuple[str, str]:
    """Return what this source signs with and what its route keeps; mostly the same text."""
    if preset.scheme is Scheme.ED25519:
        return _ed25519(seed)
    if preset.scheme is Scheme.ECDSA:
        return _ecdsa(seed)
    secret = f"{seed}-secret-of-a-test"
    if preset.base64_secret_prefix:
        encoded = base64.b64encode(hashlib.sha256(seed.encode()).digest()).decode()
        secret = f"{preset.base64_secret_prefix}{encoded}"
    if preset.encryption is Encryption.WECOM:
        key = base64.b64encode(hashlib.sha256(seed.encode()).digest()).decode().rstrip("=")
        secret = f"{seed}:{key}:ww{seed}"
    elif preset.secret_parts:
        secret = f"{secret}:{seed}-second"
    elif preset.scheme is Scheme.BASIC:
        secret = f"user:{secret}"
    return secret, secret


@cache
def _ed25519(seed: str) -> tuple[str, str]:
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(private.private_bytes(*PRIVATE)).decode(), public.hex()


@cache
def _ecdsa(seed: str) -> tuple[str, str]:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:31], "big")
    private = derive_private_key(number, SECP256R1())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(private.private_bytes(*PRIVATE)).decode(), base64.b64encode(
        public
    ).decode()
