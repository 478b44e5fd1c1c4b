"""Settings of the processes that the vault's tests start: the vault, and rows to put in it."""

import os
from pathlib import Path

_folder = Path(os.environ["VAULT_TEST_FOLDER"])

SECRET_KEY = "only for processes of the tests, which sign nothing with it"
KEYS_DIR = _folder / "keys"
VAULT_KEYS = os.environ.get("VAULT_TEST_KEYS", "").split()
INSTALLED_APPS = ["vault", "tests.vault.safe"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _folder / "vault.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}
USE_TZ = True
