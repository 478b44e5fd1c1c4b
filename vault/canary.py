"""The first start, and the proof that the keys are this database's own.

1. Before the tables are made, a missing key file is made, unless the canary says that there are
   values which need the lost one.
2. Once they are made, the canary is stored, encrypted like everything else.
3. From then on, a check at each `migrate` and `check --database` opens it.
"""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connections, router

from vault import keyring, keys
from vault.models import KeyCheck

CANARY = "canary"


def before_migrate(using: str, **kwargs: Any) -> None:
    """Make the vault key on a first start; raise VaultKeyError where it would hide a lost one."""
    if not _lives_in(using) or _has_keys():
        return
    if _has_table(using) and KeyCheck.objects.using(using).values("pk").exists():
        keyring.current()  # raises, naming the file and the way out
    keys.create_vault_key(keyring.key_file().parent)


def after_migrate(using: str, **kwargs: Any) -> None:
    """Store the canary where there is none; raise VaultKeyError where it can't be opened."""
    if _lives_in(using) and _has_table(using):
        KeyCheck.objects.using(using).get_or_create(pk=KeyCheck.ONLY, defaults={"value": CANARY})


def check_keys(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """vault.E001: the keys are malformed, lost, or not those the database was filled with."""
    errors: list[checks.CheckMessage] = []
    for alias in databases or ():
        try:
            _open_canary(alias)
        except keys.VaultKeyError as error:
            errors.append(checks.Error(str(error), id="vault.E001"))
    return errors


def _open_canary(using: str) -> None:
    if not _lives_in(using):
        return
    if _has_keys():
        keyring.current()
    if _has_table(using):
        KeyCheck.objects.using(using).first()


def _has_keys() -> bool:
    return keyring.come_from_settings() or keys.has_vault_key(keyring.key_file().parent)


def _lives_in(using: str) -> bool:
    return router.allow_migrate_model(using, KeyCheck)


def _has_table(using: str) -> bool:
    return KeyCheck._meta.db_table in connections[using].introspection.table_names()
