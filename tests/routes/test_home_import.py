"""`manage.py import_hermes`: a home into the database, after which it can be switched off."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from platforms.home_channels import is_from_environment
from platforms.models import Channel
from routes.config_files import sync_if_changed
from routes.models import Route
from routes.services import effective_secrets

from .homes import EXAMPLE, Home, as_a_new_process, make_home, names

pytestmark = pytest.mark.django_db

TOKEN = "700000001:" + "a" * 35


@pytest.fixture
def home(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = make_home(tmp_path, settings, monkeypatch)
    made.write(EXAMPLE)
    made.subscriptions(
        alerts={"secret": "alerts-secret", "prompt": "x", "cron_job": "nightly"},
        vetoed={"secret": "s", "script": "veto.py"},
    )
    made.env(f"TELEGRAM_BOT_TOKEN={TOKEN}\nWEBHOOK_PORT=9000\nWEBHOOK_RATE_LIMIT=7\n")
    settings.HERMES_HOME = ""
    return made


def moved(home: Home, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    call_command("import_hermes", str(home.folder), *flags)
    return capsys.readouterr().out


def test_routes_become_those_of_the_admin_and_subscriptions_subscriptions(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    said = moved(home, capsys)
    origins = dict(Route.objects.values_list("name", "origin"))
    assert origins == {"github-pr": "admin", "deploy-notify": "admin", "alerts": "dynamic"}
    assert effective_secrets(Route.objects.get(name="github-pr")) == ["github-webhook-secret"]
    assert "routes    github-pr, deploy-notify, alerts" in said
    assert "set HERMES_HOME= (empty)" in said


def test_what_differs_is_named_with_the_way_out(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    said = moved(home, capsys)
    assert "webhook_subscriptions.json: route alerts: cron_job is not supported" in said
    assert "route vetoed: it has a script" in said
    assert "route github-pr: payload text in its prompt is marked as data" in said
    assert "put WEBHOOK_PORT=9000 into .env" in said
    assert TOKEN not in said
    assert "alerts-secret" not in said


def test_the_channels_of_its_env_become_the_operator_s(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "channels  github_comment, telegram" in moved(home, capsys)
    channel = Channel.objects.get(name="telegram")
    assert channel.config == {"bot_token": TOKEN}
    assert not is_from_environment(channel)


def test_what_routes_had_of_the_home_becomes_their_own(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.write("webhooks: {secret: the-home-s, routes: {a: {prompt: x}, b: {rate_limit: 3}}}")
    said = moved(home, capsys)
    assert effective_secrets(Route.objects.get(name="a")) == ["the-home-s"]
    assert Route.objects.get(name="a").rate_limit == 7
    assert Route.objects.get(name="b").rate_limit == 3
    assert "the-home-s" not in said


def test_a_dry_run_says_the_same_and_changes_nothing(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    said = moved(home, capsys, "--dry-run")
    assert "Would move" in said
    assert "routes    github-pr, deploy-notify, alerts" in said
    assert names() == set()
    assert not Channel.objects.exclude(name="log").exists()


def test_a_second_time_it_changes_nothing_and_says_why(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    moved(home, capsys)
    Route.objects.filter(name="alerts").update(prompt="edited since")
    said = moved(home, capsys)
    assert Route.objects.get(name="alerts").prompt == "edited since"
    assert "routes    none" in said
    assert "there is a route of this name already (subscription); left out" in said


def test_of_a_home_that_was_live_the_routes_stay_when_it_is_switched_off(
    home: Home,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.HERMES_HOME = str(home.folder)
    sync_if_changed()
    assert set(Route.objects.values_list("origin", flat=True)) == {"file"}
    moved(home, capsys)
    settings.HERMES_HOME = ""
    as_a_new_process(monkeypatch)
    sync_if_changed()
    assert names() == {"github-pr", "deploy-notify", "alerts"}


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is not a folder"):
        call_command("import_hermes", str(tmp_path / "nowhere"))
