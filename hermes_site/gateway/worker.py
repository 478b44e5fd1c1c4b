"""The workers' process: the django-q2 cluster, started by the supervisor.

``python -m hermes_site.gateway.worker <supervisor's pid>``
"""

import gc
import os
import sys

import django
from django.core.management import call_command

from .orphans import follow


def main() -> None:
    """Run the cluster until SIGTERM; tasks under way are finished first."""
    follow(int(sys.argv[1]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
    django.setup()
    # What is loaded by now is shared by the cluster's processes for as long as nobody writes to it.
    gc.collect()
    gc.freeze()
    call_command("qcluster")


if __name__ == "__main__":
    main()
