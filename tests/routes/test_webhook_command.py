"""`manage.py webhook`, as spec 001 shows it."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from platforms.models import Channel
from routes.models import Route
from routes.presets import presets
from routes.services import effective_secrets
from routes.signatures import Verified, Verifier

pytestmark = pytest.mark.django_db

PROMPT = r"New issue #{issue.number}: {issue.title}\nBy: {issue.user.login}"


def webhook(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("webhook", *arguments)
    return capsys.readouterr().out


class TestSubscribe:
    def test_the_example_of_the_specification(self, capsys: pytest.CaptureFixture[str]) -> None:
        Channel.objects.create(name="ops", kind="telegram")
        said = webhook(
            capsys,
            *("subscribe", "github-issues", "--events", "issues", "--prompt", PROMPT),
            *("--deliver", "telegram", "--deliver-chat-id", "-100123456789"),
            *("--description", "Triage new GitHub issues"),
        )
        route = Route.objects.get(name="github-issues")
        assert route.events == ["issues"]
        assert route.prompt == PROMPT
        assert route.deliver_extra == {"chat_id": "-100123456789"}
        assert route.description == "Triage new GitHub issues"
        assert "Created github-issues" in said
        assert "http://localhost:8644/webhooks/github-issues" in said
        assert f"Secret:  {effective_secrets(route)[0]}" in said
        assert "Events:  issues" in said
        assert "Deliver: telegram -100123456789" in said
        assert "Mode:    agent" in said

    def test_again_it_says_that_the_secret_stays(self, capsys: pytest.CaptureFixture[str]) -> None:
        webhook(capsys, "subscribe", "a", "--secret", "given")
        said = webhook(capsys, "add", "a", "--events", "push, issues", "--skills", "x,y")
        assert "Updated a" in said
        assert "Secret:  unchanged" in said
        assert "given" not in said
        route = Route.objects.get()
        assert (route.events, route.skills) == (["push", "issues"], ["x", "y"])

    def test_without_events_it_takes_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "Events:  (all)" in webhook(capsys, "subscribe", "a")

    @pytest.mark.parametrize(
        ("arguments", "hint"),
        [
            (["a/b"], "letters, digits"),
            (["a", "--deliver", "telegrm"], "telegrm"),
            (["a", "--deliver-only"], "target other than the log"),
        ],
    )
    def test_a_mistake_is_one_clear_line(self, arguments: list[str], hint: str) -> None:
        with pytest.raises(CommandError, match=hint):
            call_command("webhook", "subscribe", *arguments)
        assert not Route.objects.exists()


class TestListAndRemove:
    def test_the_list_shows_every_route_and_no_secret(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        webhook(capsys, "subscribe", "mine", "--secret", "hidden", "--description", "Mine")
        Route.objects.create(name="theirs", origin=Route.Origin.FILE, enabled=False)
        said = webhook(capsys, "list")
        assert "mine (subscription)" in said
        assert "theirs (config.yaml, disabled)" in said
        assert "Mine" in said
        assert "hidden" not in said

    def test_an_empty_list_says_how_to_fill_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "webhook subscribe NAME" in webhook(capsys, "ls")

    def test_a_subscription_is_removed(self, capsys: pytest.CaptureFixture[str]) -> None:
        webhook(capsys, "subscribe", "a")
        assert "Removed a." in webhook(capsys, "rm", "a")
        assert not Route.objects.exists()

    def test_a_static_route_is_not_removed_here(self) -> None:
        Route.objects.create(name="a", origin=Route.Origin.FILE)
        with pytest.raises(CommandError, match=r"config\.yaml"):
            call_command("webhook", "remove", "a")


def test_while_webhooks_are_off_it_says_how_to_switch_them_on(
    settings: Settings,
) -> None:
    settings.WEBHOOK_ENABLED = False
    with pytest.raises(CommandError, match="WEBHOOK_ENABLED=true"):
        call_command("webhook", "subscribe", "a")
    assert not Route.objects.exists()


class Gateway(HTTPServer):
    """Something that answers on a port as a gateway would, and keeps what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 202
        self.path = ""
        self.headers: dict[str, str] = {}
        self.body = b""


class _Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        self.server.path = self.path
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b'{"status": "accepted"}')

    def log_message(self, *_args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def gateway(settings: Settings) -> Iterator[Gateway]:
    server = Gateway()
    settings.WEBHOOK_PORT = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class TestTest:
    def test_it_posts_a_signed_sample_and_prints_the_answer(
        self, gateway: Gateway, capsys: pytest.CaptureFixture[str]
    ) -> None:
        webhook(capsys, "subscribe", "a", "--secret", "s")
        assert webhook(capsys, "test", "a") == '202 {"status": "accepted"}\n'
        assert gateway.path == "/webhooks/a"
        assert gateway.headers["x-github-event"] == "test"
        payload = json.loads(gateway.body)
        assert payload["test"] is True
        assert payload["event_type"] == "test"
        github = presets()["github"]
        found = Verifier(github, ["s"]).verify(gateway.headers, gateway.body, time.time())
        assert found == Verified(github)

    def test_it_signs_as_the_source_of_the_route_and_names_an_event_it_takes(
        self, gateway: Gateway, capsys: pytest.CaptureFixture[str]
    ) -> None:
        webhook(capsys, "subscribe", "a", "--events", "merge_request", "--secret", "s")
        Route.objects.update(preset="gitlab")
        webhook(capsys, "test", "a", "--payload", '{"object_kind": "merge_request"}')
        assert gateway.headers["x-gitlab-token"] == "s"
        assert gateway.headers["x-gitlab-event"] == "Merge Request Hook"
        assert json.loads(gateway.body) == {"object_kind": "merge_request"}

    def test_a_refusal_is_an_error_with_the_answer(self, gateway: Gateway) -> None:
        gateway.status = 401
        call_command("webhook", "subscribe", "a")
        with pytest.raises(CommandError, match="answered 401"):
            call_command("webhook", "test", "a")

    def test_no_gateway_is_an_error_that_says_so(self, gateway: Gateway) -> None:
        gateway.server_close()
        call_command("webhook", "subscribe", "a")
        with pytest.raises(CommandError, match=r"Is `manage\.py gateway` running"):
            call_command("webhook", "test", "a")

    def test_an_unknown_route_and_a_bad_payload_are_errors(self) -> None:
        with pytest.raises(CommandError, match="no route"):
            call_command("webhook", "test", "a")
        call_command("webhook", "subscribe", "a")
        with pytest.raises(CommandError, match="not JSON"):
            call_command("webhook", "test", "a", "--payload", "{")
