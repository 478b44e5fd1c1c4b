"""What a Hermes home sets: the gateway's settings, secrets by reference, and which home it is."""

from pathlib import Path

import pytest
from pytest_django import Settings

from platforms.models import Channel
from routes.config_files import (
    Effective,
    effective_settings,
    home_changed,
    sync_if_changed,
)
from routes.models import Route, RouteVersion
from routes.services import effective_secrets

from .homes import Home, make_home, names

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Home:
    return make_home(tmp_path, settings, monkeypatch)


class TestSecretsByReference:
    def test_they_come_from_the_home_s_env_and_the_environment_wins(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home.env("ONE=from-env-file\nTWO=from-env-file\n")
        monkeypatch.setenv("TWO", "from-environment")
        home.routes("a: {secret: '${ONE}'}\nb: {secret: 'x-${TWO}'}")
        sync_if_changed()
        secrets = {route.name: effective_secrets(route) for route in Route.objects.all()}
        assert secrets == {"a": ["from-env-file"], "b": ["x-from-environment"]}

    def test_one_that_leads_nowhere_is_no_secret(self, home: Home) -> None:
        home.routes("a: {secret: '${NOWHERE_TO_BE_FOUND}'}")
        sync_if_changed()
        assert names() == set()
        assert "NOWHERE_TO_BE_FOUND, which is not set" in home.problems()[0]

    def test_a_new_value_counts_when_env_has_changed(self, home: Home) -> None:
        home.routes("a: {secret: '${ONE}'}")
        home.env("ONE=old")
        sync_if_changed()
        home.env("ONE=new")
        assert home_changed()
        sync_if_changed()
        assert not home_changed()
        assert effective_secrets(Route.objects.get()) == ["new"]

    def test_the_global_one_may_be_a_reference_too(self, home: Home) -> None:
        home.env("G=global")
        home.write("webhooks: {secret: '${G}'}")
        assert effective_settings().secret == "global"
        home.write("webhooks: {secret: '${H}'}")
        assert effective_settings().secret == ""
        assert "config.yaml: secret refers to H, which is not set" in home.problems()


class TestDefaultHome:
    @pytest.fixture(autouse=True)
    def _nobody_said_which(
        self, home: Home, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home.path = home.folder / ".hermes" / "config.yaml"
        home.folder = home.path.parent
        home.folder.mkdir()
        monkeypatch.setenv("HOME", str(home.folder.parent))
        settings.HERMES_HOME = None

    @pytest.mark.parametrize(
        "enabled",
        [
            ("config.yaml", "platforms: {webhook: {enabled: true, routes: {a: {prompt: x}}}}", ""),
            ("config.yaml", "webhooks: {routes: {a: {prompt: x}}}", "WEBHOOK_ENABLED=true"),
        ],
    )
    def test_it_is_read_where_it_receives_webhooks(
        self, home: Home, enabled: tuple[str, str, str]
    ) -> None:
        _file, config, env = enabled
        home.write(config)
        home.env(env)
        sync_if_changed()
        assert names() == {"a"}

    @pytest.mark.parametrize(
        ("config", "env"),
        [
            ("webhooks: {routes: {a: {prompt: x}}}", ""),
            ("webhooks: {enabled: true, routes: {a: {prompt: x}}}", "WEBHOOK_ENABLED=false"),
        ],
    )
    def test_it_is_left_alone_where_it_does_not(self, home: Home, config: str, env: str) -> None:
        home.write(config)
        home.env(env)
        sync_if_changed()
        assert names() == set()
        assert effective_settings().enabled

    def test_an_empty_setting_reads_none(self, home: Home, settings: Settings) -> None:
        settings.HERMES_HOME = ""
        home.write("platforms: {webhook: {enabled: true, routes: {a: {prompt: x}}}}")
        sync_if_changed()
        assert names() == set()


class TestSettings:
    def test_the_home_s_env_comes_between_the_environment_and_config_yaml(
        self, home: Home, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        home.write("webhooks: {enabled: false, port: 1, secret: yaml, rate_limit: 5}")
        home.env("WEBHOOK_ENABLED=yes\nWEBHOOK_PORT=2\nWEBHOOK_SECRET='env file' # of the team\n")
        monkeypatch.setenv("WEBHOOK_PORT", "3")
        settings.WEBHOOK_PORT = 3
        assert effective_settings() == Effective(True, 3, "env file", 5, 1_048_576)

    def test_a_variable_of_the_wrong_kind_is_left_out_and_named(self, home: Home) -> None:
        home.env("WEBHOOK_PORT=abc\nWEBHOOK_ENABLED=perhaps")
        assert effective_settings() == Effective(True, 8644, "", 30, 1_048_576)
        assert home.problems() == [
            ".env: WEBHOOK_ENABLED must be true or false; left out",
            ".env: WEBHOOK_PORT must be a whole number; left out",
        ]

    def test_an_env_that_is_no_text_goes_on_as_it_was(self, home: Home) -> None:
        home.env("WEBHOOK_RATE_LIMIT=7")
        assert effective_settings().rate_limit == 7
        (home.folder / ".env").write_bytes(b"WEBHOOK_RATE_LIMIT=\xff\xfe")
        assert effective_settings().rate_limit == 7
        assert "not text in UTF-8" in home.problems()[0]

    def test_a_host_in_the_file_is_named_with_the_way_out(self, home: Home) -> None:
        home.write("platforms: {webhook: {extra: {host: 127.0.0.1}}}")
        assert home.problems() == ["config.yaml: host has no effect here; set WEBHOOK_HOST"]

    def test_a_channel_of_its_env_is_there_before_the_routes_are_checked(self, home: Home) -> None:
        home.env("TELEGRAM_BOT_TOKEN=700000001:" + "a" * 35)
        sync_if_changed()
        assert Channel.objects.filter(name="telegram").exists()

    def test_without_a_file_they_are_those_of_the_environment(self, home: Home) -> None:
        assert effective_settings() == Effective(True, 8644, "", 30, 1_048_576)

    def test_the_file_gives_what_the_environment_does_not(
        self, home: Home, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        monkeypatch.setenv("WEBHOOK_PORT", "9000")
        monkeypatch.setenv("WEBHOOK_SECRET", "")
        settings.WEBHOOK_PORT = 9000
        home.write(
            "platforms: {webhook: {enabled: false, port: 1, rate_limit: 10,\n"
            "  extra: {rate_limit: 60, secret: from-file, max_body_bytes: 2097152}}}"
        )
        assert effective_settings() == Effective(False, 9000, "from-file", 60, 2_097_152)

    def test_a_value_of_the_wrong_type_is_left_out_and_named(self, home: Home) -> None:
        home.write("platforms: {webhook: {port: abc, secret: 7, enabled: 1, rate_limit: -1}}")
        assert effective_settings() == Effective(True, 8644, "", 30, 1_048_576)
        assert len(home.problems()) == 4
        assert home.problems()[0].startswith("config.yaml: ")

    def test_a_change_of_a_setting_reaches_the_receive_path(self, home: Home) -> None:
        home.write("platforms: {webhook: {rate_limit: 10}}")
        sync_if_changed()
        before = RouteVersion.objects.get().version
        home.write("platforms: {webhook: {rate_limit: 20}}")
        effective_settings()  # somebody else in this process looked first
        sync_if_changed()
        assert RouteVersion.objects.get().version > before
