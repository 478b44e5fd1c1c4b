"""Settings of the test suite: the product's own, on a data folder of its own."""

import os
import tempfile
from pathlib import Path

_data = Path(os.environ.get("HERMES_TEST_DATA_DIR") or tempfile.mkdtemp(prefix="hermes-test-"))
os.environ["HERMES_DATA_DIR"] = str(_data)
os.environ["HERMES_ENV_FILE"] = os.devnull
os.environ.setdefault("WEBHOOK_ENABLED", "true")
os.environ["HERMES_HOME"] = ""  # whoever runs the tests may have one
for _name in ("WEBHOOK_SECRET", "SECRET_KEY", "VAULT_KEYS", "KEYS_DIR"):
    os.environ.pop(_name, None)

from hermes_site.settings import *  # noqa: E402, F403

STORAGES["staticfiles"]["BACKEND"] = (  # noqa: F405
    "django.contrib.staticfiles.storage.StaticFilesStorage"
)
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":  # noqa: F405
    # A file, as in production: threads and processes of a test share it.
    DATABASES["default"]["TEST"] = {"NAME": str(_data / "test.sqlite3")}  # noqa: F405

# In the thread of the test, which is the one that sees its transaction.
INTAKE_WRITERS = 0
