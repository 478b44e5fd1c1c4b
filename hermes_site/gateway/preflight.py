"""What must be true before a gateway starts; each failure names the thing and the way out."""

import errno
import socket

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import Error as DatabaseError


def check_port(host: str, port: int) -> None:
    """Raise CommandError when nobody could listen there.

    Tried without SO_REUSEPORT, with which granian would share the port with whoever has it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CommandError(
                    f"Port {port} is in use by another program. Stop that one, or set "
                    "WEBHOOK_PORT to a free port."
                ) from error
            raise CommandError(
                f"Can't listen on {host} port {port}: {error.strerror}. See WEBHOOK_HOST and "
                "WEBHOOK_PORT."
            ) from error


def check_database(*, migrate: bool) -> None:
    """Raise CommandError when the database is away or behind; ``migrate`` brings it up to date."""
    try:
        connection.ensure_connection()
        executor = MigrationExecutor(connection)
        behind = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise CommandError(
            f"The database can't be reached: {str(error).strip()}. See DATABASE_URL."
        ) from error
    if behind and not migrate:
        names = ", ".join(f"{step.app_label}.{step.name}" for step, _ in behind[:3])
        more = f" and {len(behind) - 3} more" if len(behind) > 3 else ""
        raise CommandError(
            f"The database is behind: {names}{more}. Run `manage.py migrate`, or start with "
            "`manage.py gateway --migrate`."
        )
    if behind:
        call_command("migrate", interactive=False, verbosity=0)


def check_static_files() -> None:
    """Raise CommandError when the admin's style sheets have not been collected."""
    manifest = getattr(staticfiles_storage, "manifest_name", None)
    if manifest and not staticfiles_storage.exists(manifest):
        raise CommandError(
            f"There are no static files in {settings.STATIC_ROOT}. Run `manage.py setup`, or "
            "`manage.py collectstatic`."
        )
