import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.vault.safe.models import Box, BoxSecret

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def safe_tables(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    models = (Box, BoxSecret)
    with django_db_blocker.unblock():
        with connection.schema_editor() as editor:
            for model in models:
                editor.create_model(model)
        yield
        with connection.schema_editor() as editor:
            for model in reversed(models):
                editor.delete_model(model)


@pytest.fixture
def safe(safe_tables: None, db: None) -> Iterator[None]:
    """The test-only app, installed, its tables made."""
    with override_settings(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, "tests.vault.safe"]):
        yield


@pytest.fixture
def box(safe: None) -> Box:
    return Box.objects.create(label="a box")


@dataclass(frozen=True)
class Site:
    """A small installation of its own: a database file, a folder of keys, real processes."""

    folder: Path

    @property
    def key_file(self) -> Path:
        return self.folder / "keys" / "vault.key"

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": "tests.vault.child_settings",
                "VAULT_TEST_FOLDER": str(self.folder),
            }
            | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start("-m", "django", *arguments, **environment)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def put(self, label: str, note: str) -> None:
        script = f"Box.objects.create(label={label!r}, note={note!r})"
        done = self.manage("shell", "-c", f"from tests.vault.safe.models import Box; {script}")
        assert done.returncode == 0, done.stderr

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.folder / "vault.sqlite3") as database:
            return database.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        with sqlite3.connect(self.folder / "vault.sqlite3") as database:
            database.execute(sql)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    done = site.manage("migrate", "--run-syncdb", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return site
