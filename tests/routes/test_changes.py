"""Routes, secrets, files and agents that change while requests come in, and what stops a start."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agents.models import Agent
from deliveries.models import Event
from platforms.models import Channel
from routes import config_files, table, versions
from routes.checks import check_routes
from routes.models import Refusal, Route, RouteSecret

from .test_hostile import OTHER_PROCESS, SECRET, ask, make_route
from .test_receive import signature

pytestmark = pytest.mark.django_db


def test_an_edit_in_this_process_counts_for_the_next_request() -> None:
    route = make_route(events=["push"])
    assert ask().body["status"] == "ignored"
    route.events = []
    route.save()
    assert ask().status == 202
    route.enabled = False
    route.save()
    assert ask().status == 403
    route.delete()
    assert ask().status == 404


def test_an_edit_by_another_process_counts_within_a_second() -> None:
    route = make_route()
    assert ask().status == 202
    # Past this process' own count of changes, as another process would.
    Route.objects.filter(pk=route.pk).update(enabled=False)
    bump_version_elsewhere()
    time.sleep(OTHER_PROCESS)
    assert ask(b'{"n": 2}').status == 403


def bump_version_elsewhere() -> None:
    before = versions._changes
    versions.bump_version()
    versions._changes = before


def test_a_new_secret_counts_at_once_and_an_ended_one_no_more() -> None:
    route = make_route(secret="old")
    assert ask().status == 401
    RouteSecret.objects.create(route=route, value=SECRET)
    assert ask().status == 202
    now = timezone.now()
    for one in route.secrets.all():
        one.not_after = now + timedelta(minutes=5)
        one.save()
    with time_machine.travel(now + timedelta(minutes=4, seconds=59)):
        assert ask(b'{"n": 2}').status == 202
    with time_machine.travel(now + timedelta(minutes=5, seconds=1)):
        if table._table:
            table._table.checked = 0
        assert ask(b'{"n": 3}').status in (401, 403)


def test_a_route_that_lost_its_channel_says_so_and_keeps_its_ids() -> None:
    channel = Channel.objects.create(name="place", kind="webhook")
    make_route(deliver="place", deliver_only=True)
    channel.delete()
    answer = ask()
    assert (answer.status, answer.body) == (503, {"error": "Route has no destination"})
    assert answer.headers["Retry-After"]
    assert "place" in Refusal.objects.get().explanation
    assert not Event.objects.exists()


def test_without_a_default_agent_the_routes_that_name_none_say_so() -> None:
    agent = Agent.objects.create(name="named")
    make_route()
    make_route("named", agent=agent)
    make_route("direct", deliver="log", deliver_only=True)
    default = Agent.objects.get(is_default=True)
    default.is_default = False
    default.save()
    answer = ask()
    assert (answer.status, answer.body) == (503, {"error": "Route has no destination"})
    assert "agent" in Refusal.objects.get().explanation
    assert ask(route="named").status == 202


def test_a_secret_that_no_key_opens_takes_down_no_more_than_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_route()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routes_routesecret SET value = 'no ciphertext'")
    versions.bump_version()
    answer = ask()
    assert answer.status == 503
    assert "no ciphertext" not in caplog.text


# -- config.yaml ---------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, settings: Settings) -> Path:
    settings.HERMES_HOME = str(tmp_path)
    return tmp_path


def write_config(home: Path, text: str) -> None:
    (home / "config.yaml").write_text(text)
    config_files._read = (config_files._UNREAD, config_files.ConfigFile())
    if table._table:
        table._table.checked = 0


def test_a_change_of_the_file_counts_within_a_second(home: Path) -> None:
    text = "webhooks: {routes: {r: {secret: %s}}}"
    write_config(home, text % SECRET)
    assert ask().status == 202
    (home / "config.yaml").write_text(text % "another-one")
    time.sleep(OTHER_PROCESS)
    assert ask(b'{"n": 2}').status == 401
    (home / "config.yaml").write_text("{}")
    time.sleep(OTHER_PROCESS)
    assert ask(b'{"n": 3}').status == 404


@pytest.mark.parametrize(
    "entry",
    [
        "deliver_extra: {chat_id: .nan}",
        "deliver_extra: {chat_id: .inf}",
        'deliver_extra: {chat_id: ["a\\0b"]}',
        'deliver_extra: {chat_id: ["\\ud800"]}',
        "deliver_extra: {chat_id: 99999999999999999999999}",
        "deliver_extra: {since: 2024-01-01}",
        'prompt: "\\ud800"',
        'prompt: "a\\0b"',
        'events: ["a\\0b"]',
        'skills: ["\\ud800"]',
        'description: "\\0"',
        'secret: "a\\0b\\ud800"',
        "rate_limit: 99999999999999999999999",
        "rate_limit: -1",
        "events: {a: b}",
        "prompt: [1]",
    ],
)
def test_an_entry_that_no_database_takes_is_left_out_and_the_others_go_on(
    home: Path, entry: str
) -> None:
    write_config(
        home,
        f"webhooks:\n  routes:\n    bad:\n      {entry}\n    r:\n      secret: {SECRET}\n",
    )
    assert ask().status == 202
    assert ask(route="bad").status in (401, 403, 404)


@pytest.mark.parametrize("text", ["a: [", "\0", "- 1", "webhooks: 7", "webhooks: {routes: [1]}"])
def test_a_file_that_is_broken_changes_nothing(home: Path, text: str) -> None:
    make_route()
    write_config(home, text)
    assert ask().status == 202


# -- What stops the start ------------------------------------------------------------------


def start_refused() -> str:
    with pytest.raises(CommandError) as refused:
        call_command("check", databases=["default"])
    return str(refused.value)


def test_a_route_without_a_secret_stops_the_start_by_name() -> None:
    make_route("forgotten", secret="")
    assert "forgotten" in start_refused()


@pytest.mark.parametrize("blank", [" ", "\t\n"])
def test_a_secret_of_white_space_is_none(blank: str, settings: Settings) -> None:
    settings.WEBHOOK_SECRET = blank
    make_route("forgotten", secret="")
    assert "forgotten" in start_refused()


def test_unsigned_requests_on_a_public_address_stop_the_start_by_name(settings: Settings) -> None:
    settings.WEBHOOK_HOST = "0.0.0.0"
    make_route("open-door", secret="", insecure_no_auth=True)
    assert "open-door" in start_refused()


def test_unsigned_requests_on_a_public_address_are_refused_while_it_runs(
    settings: Settings,
) -> None:
    settings.WEBHOOK_HOST = "0.0.0.0"
    settings.WEBHOOK_SECRET = "INSECURE_NO_AUTH"
    make_route(secret="", insecure_no_auth=True)
    assert ask(b"{}", {}).status == 403
    assert ask(b"{}", {"x-gitlab-token": "INSECURE_NO_AUTH"}).status == 403


def test_a_direct_delivery_to_the_log_stops_the_start_by_name() -> None:
    make_route("to-nowhere", deliver_only=True)
    assert "to-nowhere" in start_refused()


def test_a_disabled_route_stops_nothing() -> None:
    make_route("forgotten", secret="", enabled=False)
    call_command("check", databases=["default"])


# -- Django's own way in -------------------------------------------------------------------


def test_under_another_server_the_same_answers_are_given() -> None:
    """`runserver` and WSGI come through Django's request, not through the lean one."""
    make_route()
    body = b'{"a": 1}'
    headers = {"X-Hub-Signature-256": signature(body, SECRET), "X-GitHub-Delivery": "é"}
    answer = Client().post("/webhooks/r", body, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["delivery_id"]) == (202, "é")


def test_a_name_that_is_no_text_is_404() -> None:
    assert Client().post("/webhooks/%ff%00").status_code == 404


def test_a_route_that_can_not_be_used_is_left_out_and_named_and_the_others_live(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Saved past every check, say by an older version; its filters must hold back all the same."""
    broken = make_route("broken")
    make_route()
    Route.objects.filter(pk=broken.pk).update(filters=[{"field": "a", "regex": "("}])
    versions.bump_version()
    assert (ask(route="broken").status, ask().status) == (404, 202)
    assert "route broken can't be used and is left out" in caplog.text
    [found] = check_routes(databases=["default"])
    assert (found.id, found.obj) == ("routes.E006", "broken")
    assert "filters[0].regex" in found.msg
