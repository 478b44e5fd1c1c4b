"""Envelopes v1.1: sealed for one agent, and signed by the gateway (docs/protocol.md).

HPKE (RFC 9180), base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. The
signature is over the sealed text, so that a forgery is refused before anything is opened.
"""

import base64
import binascii

import orjson
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from vault.signing import key_id, signing_keys

VERSION = "v1.1"
PUBLIC_KEY_BYTES = 32
ENCAPSULATED_BYTES = 32

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def seal(content: bytes, agent_id: object, public_key: str) -> bytes:
    """Return an envelope v1.1, as JSON, that only the agent with this key can open.

    ``content`` is an envelope v1.0, as JSON. What is returned is different each time, as each
    has a fresh ephemeral key. Raises ValidationError for a malformed public key.
    """
    recipient = read_public_key(public_key)
    info = context(agent_id, recipient)
    sealed = _SUITE.encrypt(content, X25519PublicKey.from_public_bytes(recipient), info)
    signer = signing_keys()[0]
    fields = {
        "version": VERSION,
        "recipient": key_id(recipient),
        "enc": _text(sealed[:ENCAPSULATED_BYTES]),
        "ciphertext": _text(sealed[ENCAPSULATED_BYTES:]),
        "signer": signer.id,
        "signature": _text(signer.sign(info + sealed)),
    }
    return orjson.dumps(fields)


def context(agent_id: object, recipient: bytes) -> bytes:
    """Return what an envelope is bound to: HPKE's ``info``, and the start of what is signed.

    Every part has a fixed length, so two contexts can't read the same.
    """
    return b"hashee-envelope-v1.1\n" + str(agent_id).encode() + b"\n" + recipient


def read_public_key(text: str) -> bytes:
    """Return the 32 bytes of an X25519 public key in base64, standard or url-safe.

    Raises ValidationError for anything else.
    """
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ValidationError(_("The public key must be base64.")) from None
    if len(key) != PUBLIC_KEY_BYTES:
        raise ValidationError(
            _("The public key has %(size)d bytes; an X25519 key has %(right)d.")
            % {"size": len(key), "right": PUBLIC_KEY_BYTES}
        )
    return key


def check_public_key(text: str) -> None:
    """Raise ValidationError unless envelopes can be sealed for a public key.

    They can't for 32 bytes that are a point from which no secret comes.
    """
    key = read_public_key(text)
    try:
        _SUITE.encrypt(b"", X25519PublicKey.from_public_bytes(key))
    except ValueError:
        raise ValidationError(_("The public key is not one that can be sealed for.")) from None


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
