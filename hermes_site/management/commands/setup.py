"""``manage.py setup``: everything a gateway needs before its first start."""

import os
import re
import secrets
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from hermes_site.gateway import preflight
from hermes_site.management import wizard
from hermes_site.management.terminal import Terminal
from routes.config_files import effective_settings, home_has_secret, sync_if_changed
from vault.services import generate_secret

ADMIN_NAME = "admin"
PASSWORD_BYTES = 15  # 20 characters


class Command(BaseCommand):
    """Prepare the installation; what is there already is left alone."""

    requires_system_checks = ()  # what they would complain about is made here
    help = (
        "Prepare settings file, keys, database, static files and the first admin login. The first "
        "time, at a terminal, ask for settings, channel, agent and route."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        asking = parser.add_mutually_exclusive_group()
        asking.add_argument("--no-input", action="store_true", help="ask nothing")
        asking.add_argument("--ask", action="store_true", help="ask again, after the first time")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, step by step, then say where to click."""
        env_file = Path(os.environ.get("HERMES_ENV_FILE") or settings.BASE_DIR / ".env")
        terminal = self._terminal(options, first=not env_file.exists())
        news, port = self._write_settings(env_file, terminal)
        settings.HERMES_DATA_DIR.mkdir(parents=True, exist_ok=True)
        preflight.check_database(migrate=True)
        call_command("collectstatic", interactive=False, verbosity=0)
        password = _create_first_admin()
        if password:
            # The first run. Afterwards who may look into the folder is its owner's business.
            settings.HERMES_DATA_DIR.chmod(0o700)
        route = self._ask_for_rows(terminal) if terminal else ""

        url = _public_url(port)
        self._line("Settings", f"{env_file}{news}")
        self._line("Data", settings.HERMES_DATA_DIR)
        self._line("Webhooks", f"{url}/webhooks/{route or '<route>'}")
        self._line("Admin", self.style.SUCCESS(f"{url}/admin/"))
        if password:
            self._line("Login", self.style.SUCCESS(ADMIN_NAME))
            self._line("Password", self.style.SUCCESS(password) + "  (shown this once)")
        else:
            self._line("Login", "as before; `manage.py changepassword <login>` sets a new password")
        if terminal:
            self._line("Next", "`make serve`, or `manage.py gateway`, starts it")
            if route:
                self._line("", f"`manage.py webhook test {route}` then posts a signed event")

    def _terminal(self, options: Mapping[str, Any], *, first: bool) -> Terminal | None:
        """Return where to ask; None when nothing is to be asked, or nobody is there."""
        if options["no_input"] or not (first or options["ask"]):
            return None
        there = sys.stdin.isatty() and sys.stdout.isatty()
        if options["ask"] and not there:
            raise CommandError("--ask needs a terminal.")
        return Terminal(sys.stdout) if there else None

    def _write_settings(self, path: Path, terminal: Terminal | None) -> tuple[str, int]:
        """Write the settings file; return what is new about it, and the port."""
        now = effective_settings()
        if terminal is not None:
            values = wizard.ask_settings(terminal, now, secret_known=bool(now.secret.strip()))
        else:
            values = {"WEBHOOK_ENABLED": "true"}
            if "WEBHOOK_PORT" in os.environ:  # `make serve PORT=9000`: other commands need it, too
                values["WEBHOOK_PORT"] = str(now.port)
            # The environment would win over the home, whose senders know the home's.
            if not home_has_secret():
                values["WEBHOOK_SECRET"] = generate_secret()
        news = ""
        if _write_env_file(path, values):
            news = " (new: with a webhook secret)" if "WEBHOOK_SECRET" in values else " (new)"
        elif terminal is not None:
            _change_env_file(path, values)
        return news, int(values.get("WEBHOOK_PORT", now.port))

    def _ask_for_rows(self, terminal: Terminal) -> str:
        sync_if_changed()  # a home may have brought channels and routes
        channel = wizard.ask_channel(terminal)
        wizard.ask_agent(terminal)
        route = wizard.ask_route(terminal, channel)
        terminal.say()
        return route

    def _line(self, name: str, value: object) -> None:
        self.stdout.write(f"  {name:<9} {value}")


def _write_env_file(path: Path, values: Mapping[str, str]) -> bool:
    """Write the settings file from the example with these values; return False if there is one."""
    example = settings.BASE_DIR / ".env.example"
    try:
        text = example.read_text()
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}.") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(_with(text, values))
    return True


def _change_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Put the values into the settings file that is there, and leave the rest of it."""
    changed = path.with_name(f"{path.name}.new")
    try:
        text = _with(path.read_text(), values)
        with os.fdopen(os.open(changed, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
        changed.replace(path)
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}.") from error


def _with(text: str, values: Mapping[str, str]) -> str:
    """Return a settings file's text with each value in its line, in use or not, or at the end."""
    for name, value in values.items():
        line = re.compile(rf"^#?{name}=.*$", re.MULTILINE)
        setting = f"{name}={value}"
        if line.search(text):
            text = line.sub(lambda _line, setting=setting: setting, text, count=1)  # type: ignore[misc]
        else:
            text = f"{text.rstrip()}\n{setting}\n"
    return text


def _public_url(port: int) -> str:
    """Return the address of the gateway; a port that was just chosen is not in the settings yet."""
    if port != settings.WEBHOOK_PORT and not os.environ.get("PUBLIC_URL"):
        return f"http://localhost:{port}"
    return str(settings.PUBLIC_URL)


def _create_first_admin() -> str | None:
    """Create the first superuser and return its password; None when there is one already."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    users.create_superuser(ADMIN_NAME, password=password)
    return password
