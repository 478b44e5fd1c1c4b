import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.vault.conftest import REPOSITORY
from vault.keys import (
    VaultKeyError,
    create_vault_key,
    generate_vault_key,
    load_or_create_secret_key,
    read_vault_keys,
    write_vault_keys,
)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var" / "keys"


def test_the_first_start_makes_a_secret_key(folder: Path) -> None:
    assert len(load_or_create_secret_key(folder)) >= 50


def test_the_second_start_reads_the_same_secret_key(folder: Path) -> None:
    assert load_or_create_secret_key(folder) == load_or_create_secret_key(folder)


def test_the_folder_and_the_files_are_private(folder: Path) -> None:
    load_or_create_secret_key(folder)
    create_vault_key(folder)
    assert mode(folder) == 0o700
    assert {file.name: mode(file) for file in folder.iterdir()} == {
        ".lock": 0o600,
        "django.key": 0o600,
        "vault.key": 0o600,
    }


@pytest.mark.parametrize(
    "call",
    [
        "print(keys.load_or_create_secret_key(folder))",
        "keys.create_vault_key(folder); print(*keys.read_vault_keys(folder))",
    ],
)
def test_processes_that_start_at_once_agree_on_one_key(folder: Path, call: str) -> None:
    script = (
        "import sys, pathlib; from vault import keys; folder = pathlib.Path(sys.argv[1]); "
        f"print('ready', flush=True); sys.stdin.readline(); {call}"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(folder)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=30)[0] for process in processes}
    assert len(answers) == 1
    assert len(answers.pop().strip()) >= 44


@pytest.mark.parametrize("name", ["django.key", "vault.key"])
def test_a_file_that_others_can_read_is_closed_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    load_or_create_secret_key(folder)
    create_vault_key(folder)
    (folder / name).chmod(0o644)
    with caplog.at_level(logging.WARNING):
        load_or_create_secret_key(folder)
        read_vault_keys(folder)
    assert mode(folder / name) == 0o600
    assert str(folder / name) in caplog.text


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"two words" * 20, b"\xff" * 60])
def test_a_malformed_secret_key_is_refused_by_name(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "django.key").write_bytes(content)
    with pytest.raises(VaultKeyError, match=r"django\.key"):
        load_or_create_secret_key(folder)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"no key", b"\xff" * 44])
def test_a_malformed_vault_key_is_refused_by_name(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "vault.key").write_bytes(content)
    with pytest.raises(VaultKeyError, match=r"vault\.key"):
        read_vault_keys(folder)


def test_the_error_about_a_malformed_key_does_not_quote_it(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "vault.key").write_text(f"{generate_vault_key()}\nnearly-a-key\n")
    with pytest.raises(VaultKeyError, match="Key 2 of") as caught:
        read_vault_keys(folder)
    assert "nearly" not in str(caught.value)


def test_a_path_that_is_no_file_is_refused_with_a_way_out(folder: Path) -> None:
    (folder / "vault.key").mkdir(parents=True)
    with pytest.raises(VaultKeyError, match=r"vault\.key can't be read.*KEYS_DIR"):
        read_vault_keys(folder)


def test_a_folder_that_cannot_be_made_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file in the way")
    with pytest.raises(VaultKeyError, match="KEYS_DIR"):
        load_or_create_secret_key(tmp_path / "keys")


def test_a_path_that_cannot_be_looked_at_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(VaultKeyError, match="KEYS_DIR"):
        load_or_create_secret_key(tmp_path / ("too long a name" * 50))


def test_a_missing_vault_key_asks_for_the_backup(folder: Path) -> None:
    with pytest.raises(VaultKeyError, match="Restore it from your backup"):
        read_vault_keys(folder)


def test_keys_are_read_newest_first(folder: Path) -> None:
    create_vault_key(folder)
    new, old = generate_vault_key(), generate_vault_key()
    write_vault_keys(folder, [new, old])
    assert read_vault_keys(folder) == (new, old)


def test_what_a_crash_left_half_written_is_no_hindrance(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "vault.key.new").write_text("half a k")
    create_vault_key(folder)
    assert [Fernet(key) for key in read_vault_keys(folder)]
    assert not (folder / "vault.key.new").exists()


@pytest.mark.parametrize("command", ["check", "gateway"])
def test_a_command_says_what_is_wrong_with_a_key_in_one_line(folder: Path, command: str) -> None:
    folder.mkdir(parents=True)
    (folder / "django.key").write_text("short")
    (folder / "django.key").chmod(0o600)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "manage.py"), command],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "hermes_site.settings",
            "HERMES_DATA_DIR": str(folder.parent),
            "HERMES_ENV_FILE": os.devnull,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(folder / "django.key") in done.stderr
