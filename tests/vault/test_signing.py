"""The gateway's signing keys: made once, private, rotated without a stop."""

import base64
import stat
import threading
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from vault.keys import VaultKeyError
from vault.signing import key_file, rotate_signing_key, signing_keys


@pytest.fixture(autouse=True)
def _folder(settings: Settings, tmp_path: Path) -> None:
    settings.KEYS_DIR = tmp_path / "keys"


def test_the_first_use_makes_one_key_that_only_its_owner_can_read() -> None:
    [key] = signing_keys()
    assert base64.b64decode(key_file().read_text()) == key.seed
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert signing_keys() == (key,)


def test_all_who_start_at_once_agree_on_one_key() -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(signing_keys()[0].id)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_rotated_key_signs_at_once_and_the_old_one_is_still_published() -> None:
    [old] = signing_keys()
    new = rotate_signing_key(retire_old=False)
    assert [key.id for key in signing_keys()] == [new.id, old.id]


def test_old_keys_can_be_retired() -> None:
    signing_keys()
    new = rotate_signing_key(retire_old=True)
    assert [key.id for key in signing_keys()] == [new.id]


def test_a_broken_file_is_named_and_never_quoted() -> None:
    signing_keys()
    key_file().write_text("not-a-key-but-perhaps-a-secret\n")
    with pytest.raises(VaultKeyError, match=r"Key 1 of .*signing\.key") as caught:
        signing_keys()
    assert "perhaps-a-secret" not in str(caught.value)


def test_an_empty_file_is_not_replaced_in_silence() -> None:
    signing_keys()
    key_file().write_text("\n")
    with pytest.raises(VaultKeyError, match="empty"):
        signing_keys()


def test_keys_of_the_settings_are_not_rotated_here(settings: Settings) -> None:
    settings.SIGNING_KEYS = [base64.b64encode(bytes(range(32))).decode()]
    assert len(signing_keys()) == 1
    with pytest.raises(VaultKeyError, match="SIGNING_KEYS"):
        rotate_signing_key(retire_old=False)
    assert not key_file().exists()


def test_a_key_is_not_in_its_own_description() -> None:
    [key] = signing_keys()
    assert base64.b64encode(key.seed).decode() not in repr(key)
    assert repr(key.seed) not in repr(key)


def test_the_command_tells_the_new_keys_name() -> None:
    signing_keys()
    out = StringIO()
    call_command("rotate_signing_key", stdout=out)
    assert signing_keys()[0].id in out.getvalue()
    assert len(signing_keys()) == 2


def test_the_command_explains_what_it_cannot_do(settings: Settings) -> None:
    settings.SIGNING_KEYS = [base64.b64encode(bytes(range(32))).decode()]
    with pytest.raises(CommandError, match="SIGNING_KEYS"):
        call_command("rotate_signing_key")
