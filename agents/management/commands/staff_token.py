"""``manage.py staff_token <user>``: a token with which a program acts for a member of staff."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from agents.services.staff_tokens import LIFE, issue_staff_token


class Command(BaseCommand):
    """Print a token."""

    help = (
        "Prints a token for the REST interface with which a program may do what this user may: "
        "relations, events, the system agent. Nothing is stored: it ends by itself, and sooner "
        "when the user's password is changed or the user is no longer active or staff."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the user and how long the token lives."""
        parser.add_argument("username")
        parser.add_argument("--days", type=int, default=LIFE.days, help="how long it lives")

    def handle(self, *args: Any, **options: Any) -> None:
        """Issue it."""
        users = get_user_model()._default_manager
        user: Any = users.filter(username=options["username"], is_active=True).first()
        if user is None or not user.is_staff:
            raise CommandError("There is no active member of staff of this name.")
        if not 1 <= options["days"] <= 3650:
            raise CommandError("A token lives for 1 to 3650 days.")
        self.stdout.write(issue_staff_token(user, timedelta(days=options["days"])))
