"""`manage.py rotate_vault_key`: a new key for the secrets at rest."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vault import keyring, services
from vault.keys import VaultKeyError


class Command(BaseCommand):
    help = (
        "Put a new key on top of the vault's key file and encrypt every stored secret with it. "
        "Hermes may go on running. Old keys stay in the file unless retired."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument(
            "--retire-old",
            action="store_true",
            help="Remove the old keys once nothing needs them. Older backups of the database "
            "can then be read only with the key file of their time.",
        )
        mode.add_argument(
            "--reencrypt-only",
            action="store_true",
            help="Make no key: encrypt with the newest of VAULT_KEYS or the file, as after a "
            "rotation that broke off.",
        )

    def handle(self, *, retire_old: bool, reencrypt_only: bool, **options: Any) -> None:
        try:
            if reencrypt_only:
                changed = services.reencrypt_all()
            else:
                changed = services.rotate_vault_key(retire_old=retire_old)
        except VaultKeyError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Encrypted with the newest key: {changed} values.")
        if not reencrypt_only:
            self.stdout.write(f"Copy {keyring.key_file()} to your backups now.")
