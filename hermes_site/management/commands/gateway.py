"""``manage.py gateway``: everything in one process group."""

import logging
import os
import sys
import traceback
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from deliveries.clockwork import install_schedules
from deliveries.tasks import ensure_runners
from hermes_site.gateway import lock, preflight
from hermes_site.gateway.supervisor import Supervisor
from hermes_site.logs import PROCESS, JsonFormatter
from routes.config_files import effective_settings, sync_if_changed
from vault.keys import VaultKeyError


class Command(BaseCommand):
    """Check, then supervise web server and workers until SIGTERM or Ctrl-C."""

    # They run in the preflight, with those that read the database.
    requires_system_checks = ()
    help = "Run the gateway: web server and workers, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--migrate", action="store_true", help="bring the database up to date first"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 0 after a stop, 1 when the gateway can't start."""
        with lock.exclusive(settings.HERMES_DATA_DIR):
            if not self._preflight_passed(migrate=options["migrate"]):
                sys.exit(1)
            _log_to_the_stream()
            code = Supervisor(settings.WEBHOOK_HOST, effective_settings().port).run()
        sys.exit(code)

    def _preflight_passed(self, *, migrate: bool) -> bool:
        """Run the preflight in a process of its own, which prints what is wrong.

        It imports every page of the site; the supervisor is smaller without for as long as it
        lives.
        """
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1] == 0
        code = 1
        try:
            self._preflight(migrate=migrate)
            code = 0
        except (CommandError, VaultKeyError) as error:
            self.stderr.write(str(error))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _preflight(self, *, migrate: bool) -> None:
        preflight.check_port(settings.WEBHOOK_HOST, effective_settings().port)
        preflight.check_database(migrate=migrate)
        sync_if_changed()  # so that the routes of config.yaml are checked, too
        self.check(databases=["default"])
        preflight.check_static_files()
        install_schedules()
        ensure_runners()
        connection.close()


def _log_to_the_stream() -> None:
    """Let the supervisor's own lines stand in the one stream, beside those of its children."""
    handler = logging.StreamHandler(sys.stdout)
    os.environ.setdefault(PROCESS, "gateway")
    handler.setFormatter(
        JsonFormatter()
        if settings.LOG_FORMAT == "json"
        else logging.Formatter("gateway | %(asctime)s %(levelname)s %(message)s")
    )
    ours = logging.getLogger("hermes_site.gateway")
    ours.addHandler(handler)
    ours.propagate = False
