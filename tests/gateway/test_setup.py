"""`manage.py setup`: everything is there after it, and a second run changes nothing."""

import stat
from pathlib import Path

import pytest

from tests.gateway.process import Gateway

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
        name, _, secret = lines[1].partition("=")
        assert (name, len(lines)) == ("WEBHOOK_SECRET", 2)
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
