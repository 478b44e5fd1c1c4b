"""`manage.py setup`: everything is there after it, and a second run changes nothing."""

import os
import pty
import select
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.process import ROOT, Gateway, free_port

pytestmark = pytest.mark.processes


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / "env"


@pytest.fixture
def installation(tmp_path: Path, env_file: Path) -> Gateway:
    return Gateway(tmp_path / "data", HERMES_ENV_FILE=str(env_file))


def test_it_makes_settings_keys_database_and_login_once(
    installation: Gateway, env_file: Path
) -> None:
    try:
        first = installation.manage("setup").stdout
        settings = env_file.read_text()
        second = installation.manage("setup").stdout

        lines = [line for line in settings.splitlines() if line and not line.startswith("#")]
        assert lines[0] == "WEBHOOK_ENABLED=true"
        # Of the environment, as with `make serve PORT=…`: other commands need it, too.
        assert lines[1] == f"WEBHOOK_PORT={installation.port}"
        name, _, secret = lines[2].partition("=")
        assert (name, len(lines)) == ("WEBHOOK_SECRET", 3)
        assert len(secret) >= 43
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(installation.data.stat().st_mode) == 0o700
        assert secret not in first
        assert "Password" in first
        assert f"{installation.url}/admin/" in first

        assert "Password" not in second
        assert env_file.read_text() == settings
        assert installation.python(
            "from django.contrib.auth import get_user_model\n"
            "result = list(get_user_model().objects.values_list('username', 'is_superuser'))"
        ) == [["admin", True]]
    finally:
        installation.clean_up()


def test_at_a_terminal_it_asks_the_first_time_and_not_again(
    installation: Gateway, env_file: Path
) -> None:
    port = free_port()
    del installation.settings["WEBHOOK_PORT"], installation.settings["WEBHOOK_SECRET"]
    try:
        first = at_a_terminal(installation, "\n", f"{port}\n", "\n", "\n", "\n", "\n", "\n", "\n")
        settings = env_file.read_text()
        second = at_a_terminal(installation)

        assert f"WEBHOOK_PORT={port}\n" in settings
        assert "WEBHOOK_SECRET=" in settings.replace("#WEBHOOK_SECRET", "")
        assert "Token     hsk_" in first
        assert "/webhooks/github" in first
        assert "webhook test github" in first
        assert "[" not in second.partition("Settings")[0]
        assert env_file.read_text() == settings
    finally:
        installation.clean_up()


@pytest.mark.parametrize("flags", [["--no-input"], []])
def test_without_a_person_it_asks_nothing(
    installation: Gateway, env_file: Path, flags: list[str]
) -> None:
    try:
        assert "Enter takes" not in installation.manage("setup", *flags).stdout
        assert env_file.exists()
        refused = installation.manage("setup", "--ask", check=False)
        assert "needs a terminal" in refused.stderr
    finally:
        installation.clean_up()


def test_the_secret_of_a_home_stays_the_global_one(
    installation: Gateway, env_file: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".env").write_text("WEBHOOK_SECRET=the-senders-know-it\n")
    del installation.settings["WEBHOOK_SECRET"]
    installation.settings["HERMES_HOME"] = str(home)
    try:
        installation.manage("setup")
        assert "\nWEBHOOK_SECRET=" not in env_file.read_text()
    finally:
        installation.clean_up()


def at_a_terminal(installation: Gateway, *answers: str) -> str:
    """Run `setup` as a person would who answers each question; return what was on the screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "setup"],
        env=installation.env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    left, shown = list(answers), ""
    try:
        while select.select([ours], [], [], 60)[0]:
            shown += os.read(ours, 4096).decode(errors="replace")
            if shown.endswith(": "):
                # One that is asked too much is answered by leaving.
                os.write(ours, left.pop(0).encode() if left else b"\x04")
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0, shown
    return shown
