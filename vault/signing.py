"""The gateway's own Ed25519 keys, with which it signs what it seals: sign with the newest, publish
all of them. They are in a file beside the vault key, or in the setting SIGNING_KEYS; never in the
database."""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from vault import keys
from vault.keys import VaultKeyError

SIGNING_KEY_FILE = "signing.key"
KEY_BYTES = 32
KEY_ID_CHARACTERS = 16

FROM_BACKUP = (
    "Restore it from your backup, or delete it to get a new one: agents that pinned the old public "
    "key have to be told the new one."
)


def key_id(public_key: bytes) -> str:
    """Return how a public key is named on the wire: 16 hex characters of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:KEY_ID_CHARACTERS]


@dataclass(frozen=True)
class SigningKey:
    """One Ed25519 key pair; ``seed`` is the private half, 32 bytes."""

    seed: bytes = field(repr=False)

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def public(self) -> bytes:
        """The public half, 32 bytes."""
        return self._private.public_key().public_bytes_raw()

    @cached_property
    def id(self) -> str:
        """The name of the public half on the wire."""
        return key_id(self.public)

    def sign(self, content: bytes) -> bytes:
        """Return the signature, 64 bytes; the same for the same content."""
        return self._private.sign(content)


# What the keys were read from, and the keys. Replaced whole, so threads need no lock.
_cached: tuple[object, tuple[SigningKey, ...]] | None = None


def signing_keys() -> tuple[SigningKey, ...]:
    """Return the keys of SIGNING_KEYS, else of the file, newest first; never none.

    The file is made on the first use, and read again when it has changed, so a running process
    follows a rotation at once. Raises VaultKeyError when the keys can't be read or are malformed.
    """
    global _cached
    stamp = _stamp()
    if _cached is None or stamp is None or _cached[0] != stamp:
        found = _load()
        _cached = (_stamp(), found)
        return found
    return _cached[1]


def come_from_settings() -> bool:
    """Whether SIGNING_KEYS gives the keys, so that the file is not read."""
    return bool(settings.SIGNING_KEYS)


def key_file() -> Path:
    """Return the path of the key file, which may not be there yet."""
    return Path(settings.KEYS_DIR) / SIGNING_KEY_FILE


def rotate_signing_key(*, retire_old: bool) -> SigningKey:
    """Sign with a new key from now on, and return it; every process follows at its next envelope.

    The old keys stay in the file, and are published, for what was signed with them and is still
    on its way. ``retire_old`` keeps the new one only. Raises VaultKeyError when the keys come
    from SIGNING_KEYS, which Hermes can't write.
    """
    if come_from_settings():
        raise VaultKeyError(
            "The keys come from the setting SIGNING_KEYS, which Hermes can't write. Put a new key "
            "in front there (`openssl rand -base64 32`) and restart every process."
        )
    path = key_file()
    keys.create_key_file(path, _new_key)  # takes the lock itself, where there is no file yet
    new = SigningKey(os.urandom(KEY_BYTES))
    with keys.locked(path.parent):
        old = () if retire_old else _parse(keys.read_key_file(path), str(path))
        keys.replace_key_file(path, [_text(key.seed) for key in (new, *old)])
    return new


def _stamp() -> object:
    if come_from_settings():
        return tuple(settings.SIGNING_KEYS)
    path = key_file()
    try:
        found = os.stat(path)
    except OSError:
        return None  # `_load` makes it or says what is wrong
    return (path, found.st_mtime_ns, found.st_ino, found.st_size)


def _load() -> tuple[SigningKey, ...]:
    if come_from_settings():
        return _parse(settings.SIGNING_KEYS, "the setting SIGNING_KEYS")
    path = key_file()
    keys.create_key_file(path, _new_key)
    return _parse(keys.read_key_file(path), str(path))


def _parse(lines: Iterable[str], source: str) -> tuple[SigningKey, ...]:
    found = []
    for number, line in enumerate((line for line in lines if line.strip()), start=1):
        try:
            seed = base64.b64decode(line.strip(), validate=True)
        except (binascii.Error, ValueError):
            seed = b""
        if len(seed) != KEY_BYTES:
            raise VaultKeyError(
                f"Key {number} of {source} is not 32 bytes in base64. {FROM_BACKUP}"
            )
        found.append(SigningKey(seed))
    if not found:
        raise VaultKeyError(f"{source} is empty. {FROM_BACKUP}")
    return tuple(found)


def _new_key() -> str:
    return _text(os.urandom(KEY_BYTES))


def _text(seed: bytes) -> str:
    return base64.b64encode(seed).decode()
