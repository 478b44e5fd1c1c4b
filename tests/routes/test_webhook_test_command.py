"""`manage.py webhook test`: a signed sample to the running gateway, and what comes of it."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from platforms.models import Channel
from routes.presets import presets
from routes.signatures import Verified, Verifier
from tests.admin.rows import a_delivery, an_event

pytestmark = pytest.mark.django_db


def webhook(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("webhook", *arguments)
    return capsys.readouterr().out


class Gateway(HTTPServer):
    """Something that answers on a port as a gateway would, and keeps what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 202
        self.path = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.answer = b'{"status": "accepted"}'


class _Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        self.server.path = self.path
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer)

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
        assert gateway.headers["x-github-event"] == "push"
        assert json.loads(gateway.body)["repository"]["full_name"]
        found = Verifier(presets()["github"], ["s"]).verify(
            gateway.headers, gateway.body, time.time()
        )
        assert isinstance(found, Verified)

    def test_it_signs_as_the_source_of_the_route_and_names_an_event_it_takes(
        self, gateway: Gateway, capsys: pytest.CaptureFixture[str]
    ) -> None:
        webhook(
            capsys,
            *("subscribe", "a", "--events", "merge_request", "--secret", "s"),
            *("--preset", "gitlab"),
        )
        webhook(capsys, "test", "a", "--payload", '{"object_kind": "merge_request"}')
        assert gateway.headers["x-gitlab-token"] == "s"
        assert gateway.headers["x-gitlab-event"] == "Merge Request Hook"
        assert json.loads(gateway.body) == {"object_kind": "merge_request"}

    @pytest.mark.parametrize(
        ("events", "flags", "event"),
        [
            ("issues.opened", [], "issues"),
            ("pull_request,push", [], "pull_request"),
            ("workflow_run", [], "workflow_run"),
            ("push", ["--event", "issues"], "issues"),
        ],
    )
    def test_the_event_is_one_that_the_route_takes_unless_it_is_said(
        self,
        gateway: Gateway,
        capsys: pytest.CaptureFixture[str],
        events: str,
        flags: list[str],
        event: str,
    ) -> None:
        webhook(capsys, "subscribe", "a", "--events", events)
        webhook(capsys, "test", "a", *flags)
        assert gateway.headers["x-github-event"] == event

    def test_a_route_of_a_file_is_tested_as_any_other(
        self,
        gateway: Gateway,
        capsys: pytest.CaptureFixture[str],
        settings: Settings,
        tmp_path: Path,
    ) -> None:
        settings.HERMES_HOME = str(tmp_path)
        (tmp_path / "config.yaml").write_text("webhooks: {routes: {a: {secret: s}}}")
        assert "202" in webhook(capsys, "test", "a")

    def test_a_source_that_alone_can_sign_is_an_error_with_the_way_out(
        self, gateway: Gateway
    ) -> None:
        call_command("webhook", "subscribe", "a", "--preset", "discord")
        with pytest.raises(CommandError, match="Let the sender send a test"):
            call_command("webhook", "test", "a")

    def test_what_comes_of_it_is_told_line_by_line(
        self, gateway: Gateway, capsys: pytest.CaptureFixture[str]
    ) -> None:
        event = an_event(route="a", dedupe_key="the-id")
        a_delivery(Channel.objects.get(name="log").lane_id, event=event)
        webhook(capsys, "subscribe", "a")
        gateway.answer = b'{"status": "accepted", "delivery_id": "the-id"}'
        _answer, first, second = webhook(capsys, "test", "a").splitlines()
        assert first.startswith("  Event   pull_request: http://")
        assert second.startswith("  Deliver to channel log: delivered, http://")
        assert len(webhook(capsys, "test", "a", "--wait", "0").splitlines()) == 1

    def test_a_refusal_is_an_error_with_the_answer(self, gateway: Gateway) -> None:
        gateway.status = 401
        call_command("webhook", "subscribe", "a")
        with pytest.raises(CommandError, match="answered 401"):
            call_command("webhook", "test", "a")

    def test_no_gateway_is_an_error_that_says_so(self, gateway: Gateway) -> None:
        gateway.server_close()
        call_command("webhook", "subscribe", "a")
        with pytest.raises(CommandError, match="Is the gateway running"):
            call_command("webhook", "test", "a")

    def test_an_unknown_route_and_a_bad_payload_are_errors(self) -> None:
        with pytest.raises(CommandError, match="no route"):
            call_command("webhook", "test", "a")
        call_command("webhook", "subscribe", "a")
        with pytest.raises(CommandError, match="not JSON"):
            call_command("webhook", "test", "a", "--payload", "{")
