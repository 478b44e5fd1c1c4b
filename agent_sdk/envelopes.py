"""Envelopes: v1.0 in the clear, v1.1 sealed for one agent and signed by the gateway.

Sealed ones need the ``[sealed]`` extra, which is `cryptography`.
"""

import base64
import binascii
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import CannotOpen, InvalidBody

CLEAR, SEALED = "v1.0", "v1.1"
KEY_BYTES = 32
# A signer that nobody knows may be a new key of the gateway, or a forgery of which there are many.
ASK_EVERY = 60.0  # seconds

Keys = Mapping[str, bytes]  # public keys by their names


class Opener:
    """Reads envelopes for one agent.

    ``private_key`` is the agent's X25519 key, 32 bytes in base64. ``gateway_keys`` are the public
    Ed25519 keys of the gateway, in base64, to trust these and no others; without them
    ``fetch_keys`` is asked for them, at most once a minute. Safe for threads.
    """

    def __init__(
        self,
        agent_id: str,
        private_key: str | None = None,
        gateway_keys: Sequence[str] = (),
        fetch_keys: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self._agent_id = agent_id
        self._private = _key(private_key, "private_key") if private_key else None
        self._keys = _by_name(gateway_keys)
        self._fetch = None if gateway_keys else fetch_keys
        self._lock = threading.Lock()
        self._asked_at = float("-inf")

    def open(self, content: bytes) -> Mapping[str, Any]:
        """Return the fields of an envelope, those of v1.0 whether it was sealed or not.

        Raises InvalidBody for one that is malformed, forged or not for this agent, CannotOpen when
        a key or `cryptography` is missing here.
        """
        envelope = json_object(content)
        version = envelope.get("version")
        if version == SEALED:
            envelope = json_object(self._unseal(envelope))
            version = envelope.get("version")
        if version != CLEAR:
            raise InvalidBody(
                f"The envelope has the version {version!r}; this reads {CLEAR} and {SEALED}."
            )
        return envelope

    def _unseal(self, envelope: Mapping[str, Any]) -> bytes:
        try:
            from cryptography.exceptions import InvalidSignature, InvalidTag
            from cryptography.hazmat.primitives import hpke
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
            from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
        except ImportError as error:
            raise CannotOpen(f"A sealed envelope needs hermes-agent-sdk[sealed]: {error}") from None
        if self._private is None:
            raise CannotOpen("The envelope is sealed, and no private_key was given.")
        private = X25519PrivateKey.from_private_bytes(self._private)
        public = private.public_key().public_bytes_raw()
        if envelope.get("recipient") != key_name(public):
            raise CannotOpen("The envelope is sealed for another key than private_key.")
        sealed = _bytes(envelope, "enc") + _bytes(envelope, "ciphertext")
        context = b"hashee-envelope-v1.1\n" + self._agent_id.lower().encode() + b"\n" + public
        signer = self._signer(envelope.get("signer"))
        try:
            Ed25519PublicKey.from_public_bytes(signer).verify(
                _bytes(envelope, "signature"), context + sealed
            )
        except InvalidSignature:
            raise InvalidBody("The envelope's signature is not the gateway's.") from None
        suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
        try:
            return suite.decrypt(sealed, private, context)
        except (InvalidTag, ValueError):
            raise InvalidBody("The envelope is signed, but can't be opened.") from None

    def _signer(self, name: object) -> bytes:
        with self._lock:
            if name not in self._keys and self._fetch and self._may_ask():
                self._keys = _by_name(self._fetch())
            found = self._keys.get(name) if isinstance(name, str) else None
        if found is None:
            raise CannotOpen(f"The envelope is signed with a key that is not known: {name!r}.")
        return found

    def _may_ask(self) -> bool:
        now = time.monotonic()
        if now - self._asked_at < ASK_EVERY:
            return False
        self._asked_at = now
        return True


def generate_key_pair() -> tuple[str, str]:
    """Return a new X25519 key pair, private and public half, each in base64.

    Keep the first as ``private_key``, give the gateway the second (`Client.set_public_key`).
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    private = X25519PrivateKey.generate()
    halves = private.private_bytes_raw(), private.public_key().public_bytes_raw()
    first, second = (base64.b64encode(half).decode() for half in halves)
    return first, second


def key_name(public_key: bytes) -> str:
    """Return how a public key is named in envelopes: 16 hex characters of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def json_object(content: bytes | str) -> Mapping[str, Any]:
    """Return a JSON object; raise InvalidBody for anything else."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidBody(f"The body is not a delivery, as it is no JSON: {error!r}") from None
    if not isinstance(found, dict):
        raise InvalidBody("The body is not a delivery, as it is no JSON object.")
    return found


def _by_name(keys: Sequence[str]) -> Keys:
    found = [_key(key, "gateway_keys") for key in keys]
    return {key_name(key): key for key in found}


def _key(text: str, name: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        # Never the text itself: it may be the private one.
        raise ValueError(f"{name} must be {KEY_BYTES} bytes in base64.")
    return key


def _bytes(envelope: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(envelope[name], validate=True)
    except (KeyError, TypeError, ValueError):
        raise InvalidBody(f"The envelope's {name} is not base64.") from None
