"""``manage.py import_hermes``: a hermes-agent home into the database."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from routes.config_files import DEFAULT_HOME
from routes.home_import import import_home


class Command(BaseCommand):
    """Move routes, subscriptions and channels; say what is different."""

    help = "Move a hermes-agent home (config.yaml, subscriptions, .env) into the database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "home",
            nargs="?",
            type=Path,
            help=f"the folder (default: HERMES_HOME, else {DEFAULT_HOME})",
        )
        parser.add_argument("--dry-run", action="store_true", help="change nothing, only say")

    def handle(self, *args: Any, **options: Any) -> None:
        """Move, print what was moved, what differs and what to do next."""
        home: Path = options["home"] or Path(settings.HERMES_HOME or DEFAULT_HOME)
        home = home.expanduser()
        if not home.is_dir():
            raise CommandError(f"{home} is not a folder.")
        done = import_home(home, dry_run=options["dry_run"])
        verb = "Would move" if options["dry_run"] else "Moved"
        self.stdout.write(f"{verb} of {home}:")
        self.stdout.write(f"  routes    {', '.join(done.routes) or 'none'}")
        self.stdout.write(f"  channels  {', '.join(done.channels) or 'none'}")
        if done.differences:
            self.stdout.write("What is different, or was left out:")
        for text in done.differences:
            self.stdout.write(f"  - {text}")
        if not options["dry_run"]:
            self.stdout.write(
                "Next: set HERMES_HOME= (empty) in .env, so that the home is read no more, and "
                "start the gateway again."
            )
