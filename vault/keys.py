"""The key files outside the database: made once, kept private, replaced whole.

The settings import this module, so it reads none of them; `vault.keyring` does.
"""

import fcntl
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

logger = logging.getLogger(__name__)

SECRET_KEY_FILE = "django.key"  # noqa: S105  a name, not the key
VAULT_KEY_FILE = "vault.key"

# Django's own check calls a shorter key weak (security.W009).
SECRET_KEY_CHARACTERS = 50

FROM_BACKUP = "Restore it from your backup; without it the stored secrets can't be read."


class VaultKeyError(ImproperlyConfigured):
    """A key is missing, malformed or the wrong one; the text names it and the way out."""


def load_or_create_secret_key(folder: Path) -> str:
    """Return Django's SECRET_KEY from `<folder>/django.key`, making both on the first start.

    Processes that start at once agree on one key. Raises VaultKeyError when the file can't be
    read or written, or holds anything but one line of 50 characters or more.
    """
    path = folder / SECRET_KEY_FILE
    _create(path, lambda: secrets.token_urlsafe(64))
    key = _read(path).strip()
    if len(key) < SECRET_KEY_CHARACTERS or len(key.split()) != 1:
        raise VaultKeyError(
            f"{path} must hold one key of at least {SECRET_KEY_CHARACTERS} characters and no "
            "spaces. Restore it from your backup, or delete it to get a new one: everyone is "
            "then signed out."
        )
    return key


def create_vault_key(folder: Path) -> None:
    """Make `<folder>/vault.key` with one new key; leave a file that is there alone.

    Whether a new key is the right thing is for the caller to know: see `vault.canary`.
    Raises VaultKeyError when the file can't be written.
    """
    _create(folder / VAULT_KEY_FILE, generate_vault_key)


def has_vault_key(folder: Path) -> bool:
    """Whether `<folder>/vault.key` is there; raise VaultKeyError when that can't be seen."""
    return _exists(folder / VAULT_KEY_FILE)


def read_vault_keys(folder: Path) -> tuple[str, ...]:
    """Return the keys of `<folder>/vault.key`, newest first, never none.

    Raises VaultKeyError when the file is missing, unreadable, empty or malformed.
    """
    path = folder / VAULT_KEY_FILE
    if not has_vault_key(folder):
        raise VaultKeyError(
            f"{path} is missing. {FROM_BACKUP} On a first start, run `manage.py migrate`, "
            "which makes it."
        )
    return parse_vault_keys(read_key_file(path), source=str(path))


def write_vault_keys(folder: Path, keys: Iterable[str]) -> None:
    """Replace `<folder>/vault.key` by these keys, newest first; hold `locked(folder)` meanwhile.

    A crash leaves either the old file or the new one. Raises VaultKeyError when that fails.
    """
    replace_key_file(folder / VAULT_KEY_FILE, keys)


def create_key_file(path: Path, make: Callable[[], str]) -> None:
    """Make a key file of one key, and its folder; leave a file that is there alone.

    Processes that start at once agree on one. Raises VaultKeyError when it can't be written.
    """
    _create(path, make)


def read_key_file(path: Path) -> list[str]:
    """Return the lines of a key file, closed to others; raise VaultKeyError if it can't be read."""
    return _read(path).splitlines()


def replace_key_file(path: Path, lines: Iterable[str]) -> None:
    """Replace a key file whole; hold `locked` of its folder meanwhile.

    A crash leaves either the old file or the new one. Raises VaultKeyError when that fails.
    """
    with _explained(path, "written"):
        _replace(path, "\n".join(lines))


def parse_vault_keys(lines: Iterable[str], source: str) -> tuple[str, ...]:
    """Return the Fernet keys among the lines, blank ones skipped; `source` is for the error.

    Raises VaultKeyError when there is none, or a line is not 32 bytes in url-safe base64.
    """
    keys = tuple(line.strip() for line in lines if line.strip())
    if not keys:
        raise VaultKeyError(f"{source} is empty. {FROM_BACKUP}")
    for number, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            # `from None`: the original error may quote the key.
            raise VaultKeyError(
                f"Key {number} of {source} is not a Fernet key (32 bytes in url-safe base64). "
                f"{FROM_BACKUP}"
            ) from None
    return keys


def generate_vault_key() -> str:
    """Return a new Fernet key: 32 random bytes in url-safe base64, 44 characters."""
    return Fernet.generate_key().decode()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change the key files; others wait. A crash lets go of it.

    Raises VaultKeyError when the folder can't be written.
    """
    with _explained(folder, "written"):
        descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create(path: Path, make: Callable[[], str]) -> None:
    if _exists(path):
        return
    with _explained(path, "created"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(path.parent), _explained(path, "created"):
        if not _exists(path):
            _replace(path, make())
            logger.info("Made %s; keep a copy of it with your backups.", path)


def _exists(path: Path) -> bool:
    with _explained(path, "read"):
        return path.exists()  # raises where the folder is closed to us


def _replace(path: Path, content: str) -> None:
    """Write the file so that no reader, and no power cut, ever meets half of it."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # what a crash may have left; the lock says it is nobody's
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> str:
    with _explained(path, "read"):
        _tighten(path)
        return path.read_text(encoding="ascii")


def _tighten(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if not mode & 0o077:
        return
    try:
        path.chmod(mode & 0o700)
    except OSError as error:
        # Someone else's file, or a read-only mount of an orchestrator: theirs to decide.
        logger.warning("%s can be read by others, mode %o: %s", path, mode, error.strerror)
    else:
        logger.warning("%s could be read by others, mode %o; closed to its owner.", path, mode)


@contextmanager
def _explained(path: Path, act: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VaultKeyError(
            f"{path} can't be {act}: {error.strerror}. Give the file and its folder to the user "
            "Hermes runs as, or set KEYS_DIR to a folder of its own."
        ) from error
    except UnicodeDecodeError:
        raise VaultKeyError(f"{path} is not a key file: it holds other than ASCII text.") from None
