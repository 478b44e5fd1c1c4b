"""`manage.py rotate_signing_key`: a new key for the signatures around sealed envelopes."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vault import signing
from vault.keys import VaultKeyError


class Command(BaseCommand):
    help = (
        "Sign sealed envelopes with a new key from now on. Hermes may go on running. Old keys stay "
        "in the file, and their public halves are published, unless retired."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--retire-old",
            action="store_true",
            help="Remove the old keys: what they signed and was not opened yet is refused then.",
        )

    def handle(self, *, retire_old: bool, **options: Any) -> None:
        try:
            new = signing.rotate_signing_key(retire_old=retire_old)
        except VaultKeyError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"The gateway signs with the key {new.id} from now on.")
        self.stdout.write(f"Copy {signing.key_file()} to your backups now.")
