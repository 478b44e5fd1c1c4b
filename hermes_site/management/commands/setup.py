"""``manage.py setup``: everything a gateway needs before its first start."""

import os
import re
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from hermes_site.gateway import preflight
from vault.services import generate_secret

ADMIN_NAME = "admin"
PASSWORD_BYTES = 15  # 20 characters


class Command(BaseCommand):
    """Prepare the installation; what is there already is left alone."""

    requires_system_checks = ()  # what they would complain about is made here
    help = "Prepare settings file, keys, database, static files and the first admin login."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, step by step, then say where to click."""
        env_file = Path(os.environ.get("HERMES_ENV_FILE") or settings.BASE_DIR / ".env")
        env_made = _write_env_file(env_file)
        settings.HERMES_DATA_DIR.mkdir(parents=True, exist_ok=True)
        preflight.check_database(migrate=True)
        call_command("collectstatic", interactive=False, verbosity=0)
        password = _create_first_admin()
        if password:
            # The first run. Afterwards who may look into the folder is its owner's business.
            settings.HERMES_DATA_DIR.chmod(0o700)

        self._line("Settings", f"{env_file} (new: with a webhook secret)" if env_made else env_file)
        self._line("Data", settings.HERMES_DATA_DIR)
        self._line("Webhooks", f"{settings.PUBLIC_URL}/webhooks/<route>")
        self._line("Admin", self.style.SUCCESS(f"{settings.PUBLIC_URL}/admin/"))
        if password:
            self._line("Login", self.style.SUCCESS(ADMIN_NAME))
            self._line("Password", self.style.SUCCESS(password) + "  (shown this once)")
        else:
            self._line("Login", "as before; `manage.py changepassword <login>` sets a new password")

    def _line(self, name: str, value: object) -> None:
        self.stdout.write(f"  {name:<9} {value}")


def _write_env_file(path: Path) -> bool:
    """Write the settings file from the example, webhooks enabled; return False if there is one."""
    example = settings.BASE_DIR / ".env.example"
    try:
        text = example.read_text()
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}.") from error
    for name, value in {"WEBHOOK_ENABLED": "true", "WEBHOOK_SECRET": generate_secret()}.items():
        # The value is url-safe base64: nothing in it means anything to re.sub.
        text = re.sub(rf"^#{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return True


def _create_first_admin() -> str | None:
    """Create the first superuser and return its password; None when there is one already."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    users.create_superuser(ADMIN_NAME, password=password)
    return password
