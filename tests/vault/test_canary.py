from pathlib import Path

import pytest
from django.core import checks
from django.core.management import call_command
from pytest_django import Settings

from tests.vault.conftest import Site
from tests.vault.safe.models import Box
from vault import keyring
from vault.keys import VaultKeyError, create_vault_key, generate_vault_key
from vault.models import KeyCheck


def errors() -> list[str]:
    found = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
    return [error.msg for error in found if error.id == "vault.E001"]


@pytest.mark.django_db
def test_the_right_key_passes_the_check() -> None:
    assert errors() == []


@pytest.mark.django_db
def test_a_lost_key_is_an_error_that_names_the_file(settings: Settings, tmp_path: Path) -> None:
    settings.KEYS_DIR = tmp_path
    [error] = errors()
    assert str(tmp_path / "vault.key") in error
    assert "Restore it from your backup" in error


@pytest.mark.django_db
def test_a_wrong_key_is_an_error_that_names_the_file(settings: Settings, tmp_path: Path) -> None:
    settings.KEYS_DIR = tmp_path
    create_vault_key(tmp_path)
    [error] = errors()
    assert str(tmp_path / "vault.key") in error
    assert "Restore it from your backup" in error


@pytest.mark.django_db
def test_a_wrong_key_in_the_settings_is_an_error_that_names_the_setting(
    settings: Settings,
) -> None:
    settings.VAULT_KEYS = [generate_vault_key()]
    [error] = errors()
    assert "VAULT_KEYS" in error


@pytest.mark.django_db
def test_a_malformed_key_is_an_error(settings: Settings) -> None:
    settings.VAULT_KEYS = ["not a key"]
    [error] = errors()
    assert "Key 1 of the setting VAULT_KEYS" in error


@pytest.mark.django_db
def test_keys_in_the_settings_stand_in_for_the_file(settings: Settings, tmp_path: Path) -> None:
    settings.VAULT_KEYS = list(keyring.current().keys)
    settings.KEYS_DIR = tmp_path
    assert errors() == []


def test_reading_with_the_wrong_key_is_an_error_without_the_ciphertext(
    box: Box, settings: Settings, tmp_path: Path
) -> None:
    Box.objects.update(note="hush")
    settings.KEYS_DIR = tmp_path
    create_vault_key(tmp_path)
    with pytest.raises(VaultKeyError, match=r"vault\.key") as caught:
        Box.objects.get()
    assert "gAAAA" not in str(caught.value)


def test_reading_with_a_lost_key_is_an_error(box: Box, settings: Settings, tmp_path: Path) -> None:
    Box.objects.update(note="hush")
    settings.KEYS_DIR = tmp_path
    with pytest.raises(VaultKeyError, match="Restore it from your backup"):
        Box.objects.get()


def test_writing_with_a_lost_key_is_an_error_and_makes_no_key(
    box: Box, settings: Settings, tmp_path: Path
) -> None:
    settings.KEYS_DIR = tmp_path
    with pytest.raises(VaultKeyError):
        Box.objects.update(note="hush")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db
def test_flushing_the_database_leaves_a_canary() -> None:
    KeyCheck.objects.all().delete()
    call_command("migrate", verbosity=0)
    assert KeyCheck.objects.get().value == "canary"


def test_the_first_migrate_makes_the_key(site: Site) -> None:
    assert site.key_file.stat().st_mode & 0o777 == 0o600


def test_migrate_stops_at_a_lost_key_and_makes_no_new_one(site: Site) -> None:
    site.key_file.unlink()
    done = site.manage("migrate")
    assert done.returncode != 0
    assert "vault.E001" in done.stderr
    assert not site.key_file.exists()


def test_migrate_without_checks_makes_no_new_key_either(site: Site) -> None:
    site.key_file.unlink()
    done = site.manage("migrate", "--skip-checks")
    assert done.returncode != 0
    assert "Restore it from your backup" in done.stderr
    assert not site.key_file.exists()


def test_a_restored_key_is_taken_as_it_is(site: Site) -> None:
    kept = site.key_file.read_text()
    site.key_file.unlink()
    site.key_file.write_text(kept)
    assert site.manage("check", "--database", "default").returncode == 0
