"""Sources that tell their secret when they are set up: Notion and Asana."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from routes import config_files
from routes.checks import check_routes
from routes.home_import import import_home
from routes.inbound import Answer
from routes.models import Refusal, Route
from routes.services import (
    SHOWN_FOR,
    await_secret,
    effective_secrets,
    rotate_secret,
    secret_to_copy,
    subscribe,
)

from .test_hostile import ask, make_route
from .test_receive import signature

pytestmark = pytest.mark.django_db

TOKEN = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce"
OTHER = "secret_of-somebody-else-0123456789"
GLOBAL = "the-global-secret"


@pytest.fixture(autouse=True)
def _a_global_secret(settings: Settings) -> None:
    settings.WEBHOOK_SECRET = GLOBAL


def tell(token: str = TOKEN, preset: str = "notion") -> Answer:
    if preset == "asana":
        return ask(b"", {"x-hook-secret": token})
    return ask(json.dumps({"verification_token": token}).encode(), {})


def event(secret: str) -> Answer:
    body = b'{"id": "1", "type": "page.created"}'
    return ask(body, {"x-notion-signature": signature(body, secret)})


def kept(route: Route) -> list[str]:
    return [one.value for one in route.secrets.live()]


@pytest.mark.parametrize("preset", ["notion", "asana"])
class TestTheFirstRequest:
    def test_it_tells_the_secret_of_a_route_that_has_none(self, preset: str) -> None:
        route = make_route(preset=preset, secret="")
        answer = tell(preset=preset)
        assert answer.status == 200
        assert kept(route) == [TOKEN]
        if preset == "asana":
            assert answer.headers["X-Hook-Secret"] == TOKEN

    def test_the_global_secret_is_not_meant(self, preset: str) -> None:
        route = make_route(preset=preset, secret="")
        assert effective_secrets(route) == []
        assert event(GLOBAL).status == 403
        assert make_route("auto", secret="", preset="auto")
        assert effective_secrets(Route.objects.get(name="auto")) == [GLOBAL]

    def test_nobody_tells_another_one(self, preset: str) -> None:
        route = make_route(preset=preset, secret="")
        tell(preset=preset)
        assert tell(OTHER, preset).status == 401
        assert tell(preset=preset).status == 200  # it is asked again
        assert kept(route) == [TOKEN]
        refusal = Refusal.objects.get()
        assert refusal.reason == "has_secret"
        assert OTHER not in json.dumps(refusal.headers) + bytes(refusal.body).decode()

    def test_after_a_while_of_waiting_it_may(self, preset: str) -> None:
        route = make_route(preset=preset, secret="")
        tell(preset=preset)
        await_secret(route)
        assert event(TOKEN).status == 403
        assert tell(OTHER, preset).status == 200
        assert kept(route) == [OTHER]

    def test_a_disabled_route_takes_none(self, preset: str) -> None:
        route = make_route(preset=preset, secret="", enabled=False)
        assert tell(preset=preset).status == 403
        assert kept(route) == []


def test_what_was_told_is_what_verifies() -> None:
    make_route(preset="notion", secret="")
    tell()
    assert (event(TOKEN).status, event(OTHER).status) == (202, 401)


class TestToCopy:
    def test_notions_can_be_seen_for_an_hour(self) -> None:
        route = make_route(preset="notion", secret="")
        assert secret_to_copy(route) is None
        with time_machine.travel(timezone.now(), tick=False) as clock:
            tell()
            found = secret_to_copy(route)
            assert found is not None
            assert found.value == TOKEN
            clock.shift(SHOWN_FOR + timedelta(seconds=1))
            assert secret_to_copy(route) is None

    def test_asanas_need_not_be_and_any_others_neither(self) -> None:
        asana = make_route(preset="asana", secret="")
        tell(preset="asana")
        assert kept(asana)
        assert secret_to_copy(asana) is None
        github = make_route("github", preset="github", secret="")
        rotate_secret(github, timedelta(0))
        assert secret_to_copy(github) is None


class TestWhatStopsAStart:
    def test_such_a_route_without_a_secret_is_a_warning_with_the_way_out(self) -> None:
        make_route("notes", preset="notion", secret="")
        make_route("tasks", preset="asana", secret="given")
        [found] = check_routes(databases=["default"])
        assert (found.id, found.obj) == ("routes.W004", "notes")
        assert "Notion tells it" in found.msg
        assert "/webhooks/notes" in str(found.hint)

    def test_the_word_that_opens_every_route_does_not_open_it(self, settings: Settings) -> None:
        settings.WEBHOOK_SECRET = "INSECURE_NO_AUTH"
        settings.WEBHOOK_HOST = "127.0.0.1"
        make_route(preset="notion", secret="")
        assert ask(b'{"id": "1"}', {}).status == 403
        settings.WEBHOOK_HOST = "0.0.0.0"
        assert [one.id for one in check_routes(databases=["default"])] == ["routes.W004"]


class TestSubscriptions:
    def test_no_secret_is_made_up_for_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("webhook", "subscribe", "notes", "--preset", "notion")
        route = Route.objects.get()
        assert kept(route) == []
        assert "none yet; notion tells it" in capsys.readouterr().out

    def test_one_that_is_given_is_taken(self) -> None:
        done = subscribe("notes", secret=TOKEN, changes={"preset": "notion"})
        assert (done.secret, kept(done.route)) == (TOKEN, [TOKEN])


class TestAHome:
    @pytest.fixture
    def home(self, tmp_path: Path, settings: Settings) -> Path:
        settings.HERMES_HOME = str(tmp_path)
        self.write(tmp_path, "Read {id}")
        return tmp_path

    def write(self, home: Path, prompt: str) -> None:
        (home / "config.yaml").write_text(
            "platforms: {webhook: {enabled: true, extra: {secret: of-the-home, routes: "
            f"{{r: {{preset: notion, prompt: '{prompt}'}}}}}}}}}}"
        )

    def test_a_route_of_a_file_keeps_what_it_was_told(self, home: Path) -> None:
        config_files.sync_if_changed()
        assert tell().status == 200
        self.write(home, "Look at {id}")
        config_files.sync_if_changed()
        route = Route.objects.get(name="r")
        assert route.prompt == "Look at {id}"
        assert kept(route) == [TOKEN]

    def test_and_so_it_does_when_it_moves_in(self, home: Path) -> None:
        config_files.sync_if_changed()
        tell()
        import_home(home)
        route = Route.objects.get(name="r")
        assert route.origin == Route.Origin.ADMIN
        assert kept(route) == [TOKEN]

    def test_the_homes_own_secret_does_not_become_its(self, home: Path) -> None:
        import_home(home)
        assert kept(Route.objects.get(name="r")) == []
