"""A stream's process: one app's messages, started by the supervisor.

``python -m hermes_site.gateway.stream <supervisor's pid> <channel>``
"""

import os
import sys

import django
from django.core.management import call_command
from django.core.management.base import CommandError

from .orphans import follow


def main() -> None:
    """Receive until SIGTERM; what has come is stored first."""
    supervisor, channel = sys.argv[1:]
    follow(int(supervisor))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
    django.setup()
    try:
        call_command("dingtalk_stream", channel)
    except CommandError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
