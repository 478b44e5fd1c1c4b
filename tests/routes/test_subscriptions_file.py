"""webhook_subscriptions.json of a Hermes home, as an agent or `hermes webhook` writes it."""

import os
import shutil
from pathlib import Path

import pytest
from pytest_django import Settings

from platforms.models import Channel
from routes.checks import check_routes
from routes.config_files import file_of, sync_if_changed
from routes.models import Route
from routes.services import effective_secrets, remove, subscribe

from .homes import Home, as_a_new_process, make_home, names

pytestmark = pytest.mark.django_db

# What `hermes webhook subscribe` of hermes-agent writes (facts/hermes-agent.md §13).
ENTRY = {
    "description": "Triage new GitHub issues",
    "events": ["issues"],
    "secret": "subscribed-secret",
    "prompt": "New issue #{issue.number}",
    "skills": [],
    "deliver": "log",
    "created_at": "2026-01-02T03:04:05Z",
}


@pytest.fixture
def home(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Home:
    return make_home(tmp_path, settings, monkeypatch)


def test_an_entry_becomes_a_route_that_is_known_to_be_the_file_s(home: Home) -> None:
    home.subscriptions(**{"github-issues": ENTRY})
    assert sync_if_changed()
    route = Route.objects.get()
    assert route.origin == Route.Origin.FILE
    assert file_of("github-issues") == "webhook_subscriptions.json"
    assert (route.events, route.prompt) == (["issues"], "New issue #{issue.number}")
    assert effective_secrets(route) == ["subscribed-secret"]
    assert home.problems() == []


def test_an_empty_secret_skips_the_entry_and_an_absent_one_is_the_global(
    home: Home, settings: Settings
) -> None:
    settings.WEBHOOK_SECRET = "global"
    home.subscriptions(empty={"secret": ""}, absent={"prompt": "x"})
    sync_if_changed()
    assert names() == {"absent"}
    assert effective_secrets(Route.objects.get()) == ["global"]


@pytest.mark.parametrize("name", ["d:y/n", "Deploy", "-a", "", "a" * 65, "名"])
def test_a_name_that_no_route_has_is_skipped_and_named(home: Home, name: str) -> None:
    home.subscriptions(**{name: ENTRY, "good": ENTRY})
    sync_if_changed()
    assert names() == {"good"}
    assert len(home.problems()) == 1


def test_a_broken_entry_leaves_the_others(home: Home) -> None:
    home.subscriptions(bad=7, good=ENTRY)
    sync_if_changed()
    assert names() == {"good"}
    assert home.problems() == ["route bad: it must be a mapping of properties; skipped"]


@pytest.mark.parametrize("text", ["{", "[]", "7", "", "null", '{"a": ' + "[" * 100_000])
def test_a_corrupt_file_leaves_the_table_as_it_was_and_says_so_once(
    home: Home, text: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.subscriptions(a=ENTRY)
    sync_if_changed()
    home.write(text, "webhook_subscriptions.json")
    sync_if_changed()
    home.routes("b: {prompt: x}")
    sync_if_changed()
    assert names() == {"a", "b"}
    assert caplog.text.count("what it said before goes on") == 1
    as_a_new_process(monkeypatch)
    sync_if_changed()
    assert names() == {"a", "b"}


def test_a_file_that_is_gone_takes_its_routes_and_no_others(home: Home) -> None:
    subscribe("mine")
    home.routes("static: {prompt: x}")
    home.subscriptions(a=ENTRY)
    sync_if_changed()
    (home.folder / "webhook_subscriptions.json").unlink()
    assert sync_if_changed()
    assert names() == {"mine", "static"}


def test_a_restored_older_file_is_noticed(home: Home) -> None:
    file = home.folder / "webhook_subscriptions.json"
    home.subscriptions(a=ENTRY)
    shutil.copy2(file, home.folder / "backup")
    sync_if_changed()
    home.subscriptions(b=ENTRY)
    sync_if_changed()
    os.replace(home.folder / "backup", file)
    assert sync_if_changed()
    assert names() == {"a"}


def test_the_same_time_and_size_in_another_file_is_a_change(home: Home) -> None:
    file = home.folder / "webhook_subscriptions.json"
    home.subscriptions(a=ENTRY)
    sync_if_changed()
    before = file.stat()
    other = home.folder / "new"
    other.write_text(file.read_text().replace('"a"', '"b"'))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, file)
    assert file.stat().st_size == before.st_size
    sync_if_changed()
    assert names() == {"b"}


def test_a_static_route_wins_until_config_yaml_no_longer_names_it(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.routes("a: {prompt: static}")
    home.subscriptions(a={**ENTRY, "prompt": "dynamic"})
    sync_if_changed()
    assert Route.objects.get().prompt == "static"
    assert "config.yaml has a route of this name" in caplog.text
    home.routes("b: {prompt: x}")
    sync_if_changed()
    assert Route.objects.get(name="a").prompt == "dynamic"


def test_a_route_that_a_person_made_wins_and_the_entry_is_named(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    Route.objects.create(name="a", prompt="a person's")
    subscribe("b", prompt="a command's", secret="s")
    home.subscriptions(a=ENTRY, b=ENTRY)
    sync_if_changed()
    assert set(Route.objects.values_list("prompt", flat=True)) == {"a person's", "a command's"}
    assert caplog.text.count("there is a route of this name") == 2


def test_the_command_leaves_what_is_the_file_s(home: Home) -> None:
    home.subscriptions(a=ENTRY)
    sync_if_changed()
    for act in (subscribe, remove):
        with pytest.raises(Exception, match=r"webhook_subscriptions\.json"):
            act("a")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"deliver_only": True, "deliver": "log"}, "to the log"),
        ({"deliver_only": True}, "to the log"),
        ({"deliver_only": True, "deliver": ["telegram", "log"]}, "to the log"),
        ({"secret": "INSECURE_NO_AUTH"}, "loopback"),
        ({"filters": [{"field": "a", "regex": "("}]}, "filters[0]"),
        ({"script": "veto.py"}, "script"),
        ({"agent": "nobody"}, "no agent named"),
    ],
)
def test_nothing_in_it_stops_a_start(
    home: Home,
    settings: Settings,
    entry: dict[str, object],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.WEBHOOK_HOST = "0.0.0.0"
    home.subscriptions(bad={"secret": "s", **entry}, good=ENTRY)
    sync_if_changed()
    assert names() == {"good"}
    assert reason in caplog.text
    [message] = check_routes(databases=["default"])
    assert (message.id, message.obj) == ("routes.W002", "bad")


def test_an_unknown_target_is_a_warning_and_counts_as_soon_as_it_is_there(home: Home) -> None:
    home.subscriptions(a={**ENTRY, "deliver": "telegrm"})
    sync_if_changed()
    assert [message.id for message in check_routes(databases=["default"])] == ["routes.W003"]
    Channel.objects.create(name="telegrm", kind="telegram")
    assert check_routes(databases=["default"]) == []
