#!/usr/bin/env python
"""Run Hermes' management commands."""

import os
import secrets
import sys

from django.core.management import execute_from_command_line

from vault.keys import VaultKeyError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
    if sys.argv[1:2] == ["demo"] and "HERMES_DEMO" not in os.environ:
        # The demo begins anew in its sandbox; the settings read until then must make no key file.
        os.environ["SECRET_KEY"] = secrets.token_urlsafe(64)
    try:
        execute_from_command_line(sys.argv)
    except VaultKeyError as error:
        sys.exit(f"manage.py: {error}")
