"""Writes the tables of docs/sources.md from the records of the sources."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from routes.management.sources_page import page

PAGE = Path(settings.BASE_DIR) / "docs" / "sources.md"


class Command(BaseCommand):
    """Write the page, or say whether it is up to date."""

    help = "Write the tables of docs/sources.md anew."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only say whether it is stale")

    def handle(self, *args: Any, **options: Any) -> None:
        old = PAGE.read_text(encoding="utf-8")
        new = page(old)
        if options["check"]:
            if new != old:
                raise CommandError("docs/sources.md is stale; run `manage.py sources_table`.")
            return
        PAGE.write_text(new, encoding="utf-8")
        self.stdout.write(f"{PAGE.name}: {'unchanged' if new == old else 'written'}")
