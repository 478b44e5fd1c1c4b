import subprocess
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet, InvalidToken
from pytest_django import Settings

from tests.vault.conftest import Site
from tests.vault.safe.models import Box
from vault import keyring, services
from vault.keys import VaultKeyError, generate_vault_key, locked

# Reads or writes a box for each line it is given, as a running gateway would.
LIVE = """
import django, sys
django.setup()
from tests.vault.safe.models import Box
for line in sys.stdin:
    act, value = line.split()
    if act == "write":
        Box.objects.create(label=value, note="written live")
    print(Box.objects.get(label=value).note, flush=True)
"""


@pytest.fixture
def live(site: Site) -> Iterator[subprocess.Popen[str]]:
    with site.start("-c", LIVE) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


def ask(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def keys(site: Site) -> list[str]:
    return site.key_file.read_text().split()


def opens(key: str, token: object) -> bool:
    try:
        Fernet(key).decrypt(str(token))
    except InvalidToken:
        return False
    return True


def tokens(site: Site) -> list[object]:
    rows = site.rows("SELECT note FROM safe_box UNION ALL SELECT value FROM vault_keycheck")
    return [token for (token,) in rows]


def test_a_new_key_goes_on_top_and_the_old_one_stays(site: Site) -> None:
    [old] = keys(site)
    assert site.manage("rotate_vault_key").returncode == 0
    new, kept = keys(site)
    assert kept == old
    assert new != old
    assert site.key_file.stat().st_mode & 0o777 == 0o600


def test_everything_is_encrypted_with_the_new_key(site: Site) -> None:
    site.put("a", "hush")
    site.put("b", "quiet")
    done = site.manage("rotate_vault_key")
    assert "3 values" in done.stdout
    assert all(opens(keys(site)[0], token) for token in tokens(site))


def test_the_old_key_can_be_retired(site: Site) -> None:
    site.put("a", "hush")
    done = site.manage("rotate_vault_key", "--retire-old")
    assert done.returncode == 0, done.stderr
    [new] = keys(site)
    assert all(opens(new, token) for token in tokens(site))
    assert site.manage("check", "--database", "default").returncode == 0


def test_a_running_process_follows_a_rotation(site: Site, live: subprocess.Popen[str]) -> None:
    site.put("a", "hush")
    assert ask(live, "read a") == "hush"
    site.manage("rotate_vault_key", "--retire-old")
    assert ask(live, "read a") == "hush"


def test_a_running_process_writes_with_the_new_key(site: Site, live: subprocess.Popen[str]) -> None:
    assert ask(live, "write a") == "written live"
    site.manage("rotate_vault_key")
    assert ask(live, "write b") == "written live"
    assert all(opens(keys(site)[0], token) for token in tokens(site))


def test_a_value_that_no_key_opens_keeps_the_old_key_and_is_named(site: Site) -> None:
    site.put("a", "hush")
    site.put("b", "quiet")
    [old] = keys(site)
    site.execute("UPDATE safe_box SET note = 'gAAAAbroken' WHERE label = 'b'")
    done = site.manage("rotate_vault_key", "--retire-old")
    assert done.returncode != 0
    assert "safe.Box.note of 2" in done.stderr
    assert "gAAAA" not in done.stderr
    assert old in keys(site)


def test_a_rotation_that_broke_off_is_finished_without_another_key(site: Site) -> None:
    site.put("a", "hush")
    [old] = keys(site)
    site.key_file.write_text(f"{generate_vault_key()}\n{old}\n")  # as after a crash in step 2
    done = site.manage("rotate_vault_key", "--reencrypt-only")
    assert "2 values" in done.stdout
    assert len(keys(site)) == 2
    assert all(opens(keys(site)[0], token) for token in tokens(site))


def test_a_wrong_key_file_is_left_as_it_is(site: Site) -> None:
    wrong = generate_vault_key()
    site.key_file.write_text(wrong)
    done = site.manage("rotate_vault_key")
    assert done.returncode != 0
    assert "Restore it from your backup" in done.stderr
    assert keys(site) == [wrong]


def test_keys_from_the_settings_are_not_rotated(site: Site) -> None:
    before = keys(site)
    done = site.manage("rotate_vault_key", VAULT_TEST_KEYS=before[0])
    assert done.returncode != 0
    assert "VAULT_KEYS" in done.stderr
    assert "--reencrypt-only" in done.stderr
    assert keys(site) == before


def test_keys_from_the_settings_can_be_put_to_use(site: Site) -> None:
    site.put("a", "hush")
    new, old = generate_vault_key(), keys(site)[0]
    done = site.manage("rotate_vault_key", "--reencrypt-only", VAULT_TEST_KEYS=f"{new} {old}")
    assert "2 values" in done.stdout
    assert all(opens(new, token) for token in tokens(site))


def test_two_rotations_at_once_lose_nothing(site: Site) -> None:
    site.put("a", "hush")
    before = keys(site)
    with locked(site.key_file.parent):
        rotations = [site.start("-m", "django", "rotate_vault_key") for _ in range(2)]
        with pytest.raises(subprocess.TimeoutExpired):
            rotations[0].wait(timeout=2)
        assert keys(site) == before
    for rotation in rotations:
        rotation.communicate(timeout=60)
    assert len(keys(site)) == 3
    assert all(opens(keys(site)[0], token) for token in tokens(site))


def test_more_rows_than_a_batch_are_all_encrypted_again(safe: None, settings: Settings) -> None:
    count = 2 * services.BATCH + 1
    Box.objects.bulk_create(Box(note=f"note {number}", config=[number]) for number in range(count))
    settings.VAULT_KEYS = [generate_vault_key(), *keyring.current().keys]
    assert services.reencrypt_all() >= 2 * count
    assert services.reencrypt_all() == 0
    assert set(Box.objects.values_list("note", flat=True)) == {f"note {n}" for n in range(count)}


def test_what_is_encrypted_with_the_newest_key_is_left_alone(safe: None) -> None:
    Box.objects.create(note="hush", config={"a": 1})
    assert services.reencrypt_all() == 0


def test_the_old_key_alone_does_not_open_what_was_encrypted_again(
    box: Box, settings: Settings
) -> None:
    Box.objects.update(note="hush")
    old = keyring.current().keys
    settings.VAULT_KEYS = [generate_vault_key(), *old]
    services.reencrypt_all()
    settings.VAULT_KEYS = list(old)
    with pytest.raises(VaultKeyError):
        Box.objects.get()
