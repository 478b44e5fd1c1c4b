"""The keys in use: encrypt with the newest, decrypt with any."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from vault.keys import (
    FROM_BACKUP,
    VAULT_KEY_FILE,
    VaultKeyError,
    parse_vault_keys,
    read_vault_keys,
)


@dataclass(frozen=True)
class Keyring:
    """Keys, newest first, and where they came from (a path or a setting, for errors)."""

    keys: tuple[str, ...] = field(repr=False)
    source: str
    _newest: Fernet = field(init=False, repr=False, compare=False)
    _any: MultiFernet = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fernets = [Fernet(key) for key in self.keys]
        object.__setattr__(self, "_newest", fernets[0])
        object.__setattr__(self, "_any", MultiFernet(fernets))

    def encrypt(self, text: str) -> str:
        """Return the text as a Fernet token: url-safe base64, about 4/3 longer plus 100."""
        return self._newest.encrypt(text.encode()).decode()

    def decrypt(self, token: str) -> str:
        """Return the text of a token; raise VaultKeyError when no key opens it."""
        try:
            return self._any.decrypt(token.encode()).decode()
        except InvalidToken:
            # `from None`, and no word of the token: errors end up in logs.
            raise VaultKeyError(
                f"A stored secret can't be opened with the keys of {self.source}: the key it was "
                f"stored with is missing there. {FROM_BACKUP}"
            ) from None

    def is_current(self, token: str) -> bool:
        """Whether the token was made with the newest key."""
        try:
            self._newest.decrypt(token.encode())
        except InvalidToken:
            return False
        return True


# What the keys were read from, and the keys. Replaced whole, so threads need no lock.
_cached: tuple[object, Keyring] | None = None


def current() -> Keyring:
    """Return the keys of VAULT_KEYS, else of the key file; read again when either changed.

    The look at the file is one `stat`, so a running process follows a rotation at once.
    Raises VaultKeyError when the keys are missing or malformed.
    """
    global _cached
    stamp = _stamp()
    if _cached is None or _cached[0] != stamp:
        _cached = (stamp, _load())
    return _cached[1]


def come_from_settings() -> bool:
    """Whether VAULT_KEYS gives the keys, so that the file is not read."""
    return bool(settings.VAULT_KEYS)


def key_file() -> Path:
    """Return the path of the key file, which may not be there yet."""
    return Path(settings.KEYS_DIR) / VAULT_KEY_FILE


def _stamp() -> object:
    if come_from_settings():
        keys: Sequence[str] = settings.VAULT_KEYS
        return tuple(keys)
    path = key_file()
    try:
        found = os.stat(path)
    except OSError:
        return None  # `_load` says what is wrong; it never returns keys for this stamp
    return (path, found.st_mtime_ns, found.st_ino, found.st_size)


def _load() -> Keyring:
    if come_from_settings():
        source = "the setting VAULT_KEYS"
        return Keyring(parse_vault_keys(settings.VAULT_KEYS, source=source), source)
    path = key_file()
    return Keyring(read_vault_keys(path.parent), str(path))
