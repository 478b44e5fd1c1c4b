"""The examples of spec 001, and senders as it describes them."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from pytest_django import Settings

from deliveries.models import Delivery, Payload
from platforms.models import Channel
from platforms.services import save_config
from routes import direct
from routes.models import Route
from tests.end_to_end.platforms import Platforms, serve

from .homes import Home, make_home

ANSWER = dict[str, Any]
MEGABYTE = 1_048_576
CHAT = "-1001234567890"
TARGETS = (
    "log", "github_comment", "telegram", "discord", "slack", "signal", "sms", "whatsapp", "matrix",
    "mattermost", "homeassistant", "email", "dingtalk", "feishu", "wecom", "weixin", "bluebubbles",
    "qqbot",
)  # fmt: skip
# No one can write to a person there who has not just written: docs/migration.md has the way out.
NOT_THERE = {"weixin"}

FULL_EXAMPLE = """\
platforms:
  webhook:
    enabled: true
    extra:
      port: 8644
      secret: "global-fallback-secret"
      routes:
        github-pr:
          events: ["pull_request"]
          secret: "github-webhook-secret"
          prompt: |
            Review this pull request:
            Repository: {repository.full_name}
            PR #{number}: {pull_request.title}
            Author: {pull_request.user.login}
            URL: {pull_request.html_url}
            Diff URL: {pull_request.diff_url}
            Action: {action}
          skills: ["github-code-review"]
          deliver: "github_comment"
          deliver_extra:
            repo: "{repository.full_name}"
            pr_number: "{number}"
        deploy-notify:
          events: ["push"]
          secret: "deploy-secret"
          prompt: "New push to {repository.full_name} branch {ref}: {head_commit.message}"
          deliver: "telegram"
"""
FORUM_TOPIC = """\
webhooks:
  routes:
    alerts:
      events: ["alert"]
      prompt: "Alert: {__raw__}"
      deliver: "telegram"
      deliver_extra:
        chat_id: "-1001234567890"
        message_thread_id: "42"
"""
GITLAB = """\
platforms:
  webhook:
    enabled: true
    extra:
      routes:
        gitlab-mr:
          events: ["merge_request"]
          secret: "your-gitlab-secret-token"
          fence: false
          prompt: |
            Review this merge request:
            Project: {project.path_with_namespace}
            MR !{object_attributes.iid}: {object_attributes.title}
            Author: {object_attributes.last_commit.author.name}
            URL: {object_attributes.url}
            Action: {object_attributes.action}
          deliver: "log"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The Hermes home of the test; the secret of a route that has none is ``s``."""
    made = make_home(tmp_path, settings, monkeypatch)
    settings.WEBHOOK_SECRET = "s"
    settings.WEBHOOK_HOST = "127.0.0.1"
    return made


@pytest.fixture
def telegram(settings: Settings) -> Iterator[Platforms]:
    """A channel ``telegram`` whose home is CHAT, and the platform behind it."""
    platforms = Platforms()
    server = serve(platforms)
    settings.CHANNEL_API_BASES = dict(base.split("=", 1) for base in platforms.bases.split(","))
    settings.OUTBOUND_ALLOW_PRIVATE = True
    channel = Channel(name="telegram", kind="telegram")
    save_config(channel, {"bot_token": "700000001:" + "a" * 35}, {"chat_id": CHAT})
    yield platforms
    server.shutdown()
    server.server_close()
    _let_go_of_the_database()


def _let_go_of_the_database() -> None:
    """Close the connections of the threads that deliver directly: the test's database goes."""
    together = threading.Barrier(max(1, len(direct._threads._threads)))

    def close() -> None:
        together.wait()
        connections.close_all()

    for closed in [direct._threads.submit(close) for _ in range(together.parties)]:
        closed.result()


def hexed(body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github(body: bytes, secret: str, event: str, delivery: str = "d-1") -> dict[str, str]:
    return {
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": f"sha256={hexed(body, secret)}",
    }


def generic(body: bytes, secret: str = "s", **headers: str) -> dict[str, str]:
    return {"X-Webhook-Signature": hexed(body, secret), **headers}


def post(
    route: str, body: bytes, headers: dict[str, str], content_type: str = "application/json"
) -> tuple[int, ANSWER]:
    answer = Client().post(f"/webhooks/{route}", body, content_type=content_type, headers=headers)
    return answer.status_code, answer.json()


def send(route: str, payload: object, request_id: str = "r-1") -> tuple[int, ANSWER]:
    """Post as a program of one's own, under the global secret."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return post(route, body, generic(body, **{"X-Request-ID": request_id}))


def made(**fields: Any) -> Route:
    return Route.objects.create(name="r", **{"fence": False, **fields})


def said(delivery: Delivery | None = None) -> str:
    """Return the text of a delivery, of the newest one unless it is named."""
    pk = (delivery or Delivery.objects.latest("pk")).pk
    return str(json.loads(bytes(Payload.objects.get(pk=pk).body))["text"])


def rendered(prompt: str, payload: object) -> str:
    made(prompt=prompt)
    assert send("r", payload)[0] == 202
    return said()
