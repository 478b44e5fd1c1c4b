"""A copied hermes-agent home serves the same senders unchanged (spec 001)."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.process import Gateway, eventually

from .platforms import Platforms, serve
from .senders import MERGE_REQUEST, PULL_REQUEST, PUSH, github, gitlab

pytestmark = pytest.mark.processes

HOME_CHAT = "-1001234567890"
BOT_TOKEN = "700000001:" + "a" * 35

# The examples of spec 001: the full one, GitLab's, the forum topic under `webhooks`, a direct one.
CONFIG = """\
platforms:
  webhook:
    enabled: true
    extra:
      secret: "global-fallback-secret"
      rate_limit: 60
      routes:
        github-pr:
          events: ["pull_request"]
          secret: "github-webhook-secret"
          prompt: |
            Review this pull request:
            Repository: {repository.full_name}
            PR #{number}: {pull_request.title}
          skills: ["github-code-review"]
          deliver: "github_comment"
          deliver_extra:
            repo: "{repository.full_name}"
            pr_number: "{number}"
        gitlab-mr:
          events: ["merge_request"]
          secret: "your-gitlab-secret-token"
          prompt: "MR !{object_attributes.iid}: {object_attributes.title}"
          deliver: "log"
        deploy-notify:
          events: ["push"]
          secret: "${DEPLOY_SECRET}"
          prompt: "New push to {repository.full_name} branch {ref}"
          deliver: "telegram"
          deliver_only: true
        scripted:
          secret: "scripted-secret"
          script: "veto.py"
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

# As `hermes webhook subscribe` writes it.
SUBSCRIPTIONS: dict[str, dict[str, Any]] = {
    "github-issues": {
        "description": "Triage new GitHub issues",
        "events": ["issues"],
        "secret": "subscribed-secret",
        "prompt": "New issue #{issue.number}: {issue.title}",
        "skills": [],
        "deliver": "telegram",
        "deliver_extra": {"chat_id": "-100123456789"},
        "created_at": "2026-01-02T03:04:05Z",
    },
    "github-pr": {"secret": "does-not-count", "prompt": "static wins"},
    "bad:name/x": {"secret": "s", "prompt": "x"},
    "broken": 7,  # type: ignore[dict-item]
}

ENV = f"""\
# of the hermes-agent
WEBHOOK_ENABLED=true
WEBHOOK_PORT={{port}}
export DEPLOY_SECRET="deploy-secret"
TELEGRAM_BOT_TOKEN={BOT_TOKEN}
TELEGRAM_HOME_CHANNEL={HOME_CHAT}
"""

ISSUE = b'{"action": "opened", "issue": {"number": 7, "title": "Cart is empty"}}'
ALERT = b'{"event_type": "alert", "host": "db-1", "load": 9.5}'


@dataclass
class House:
    """A gateway on a copied home, and the platforms it speaks to."""

    gateway: Gateway
    platforms: Platforms
    home: Path

    def subscribe(self, routes: dict[str, Any]) -> None:
        """Write the subscriptions file anew, as hermes-agent does: a file put in its place."""
        new = self.home / "subscriptions.tmp"
        new.write_text(json.dumps(routes))
        new.replace(self.home / "webhook_subscriptions.json")


@pytest.fixture(scope="module")
def house(prepared: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("hermes-home")
    home = folder / ".hermes"
    home.mkdir()
    platforms = Platforms()
    server = serve(platforms)
    gateway = Gateway(
        folder / "data",
        prepared,
        HERMES_HOME=str(home),
        OUTBOUND_ALLOW_PRIVATE="true",
        CHANNEL_API_BASES=platforms.bases,
    )
    # What the home says is to count.
    for name in ("WEBHOOK_ENABLED", "WEBHOOK_PORT", "WEBHOOK_SECRET"):
        del gateway.settings[name]
    (home / "config.yaml").write_text(CONFIG)
    (home / "webhook_subscriptions.json").write_text(json.dumps(SUBSCRIPTIONS))
    (home / ".env").write_text(ENV.format(port=gateway.port))
    try:
        gateway.start().wait_healthy()
        yield House(gateway, platforms, home)
    finally:
        gateway.clean_up()
        server.shutdown()
        server.server_close()


def generic(body: bytes, secret: str, request_id: str) -> dict[str, str]:
    """Return the headers of a program that signs in the generic manner of spec 001."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Webhook-Signature": digest, "X-Request-ID": request_id}


def accepted(route: str, event: str, delivery_id: str) -> tuple[int, dict[str, Any]]:
    return 202, {
        "status": "accepted",
        "route": route,
        "event": event,
        "delivery_id": delivery_id,
    }


def test_github_is_answered_as_ever_and_its_repeat_is_a_duplicate(house: House) -> None:
    headers = github("pull_request", PULL_REQUEST, "github-webhook-secret")
    foreign_id = headers["X-GitHub-Delivery"]
    first = house.gateway.post("/webhooks/github-pr", PULL_REQUEST, headers)
    assert first == accepted("github-pr", "pull_request", foreign_id)
    again = house.gateway.post("/webhooks/github-pr", PULL_REQUEST, headers)
    assert again == (200, {"status": "duplicate", "delivery_id": foreign_id})


def test_an_event_that_is_not_asked_for_is_ignored(house: House) -> None:
    headers = github("push", PUSH, "github-webhook-secret")
    answer = house.gateway.post("/webhooks/github-pr", PUSH, headers)
    assert answer == (200, {"status": "ignored", "event": "push"})


def test_gitlab_is_let_in_by_its_token_and_its_documented_event_matches(house: House) -> None:
    headers = gitlab("Merge Request Hook", "your-gitlab-secret-token")
    status, said = house.gateway.post("/webhooks/gitlab-mr", MERGE_REQUEST, headers)
    assert (status, said["status"], said["event"]) == (202, "accepted", "merge_request")


def test_a_program_of_one_s_own_is_let_in_by_the_global_secret(house: House) -> None:
    headers = generic(ALERT, "global-fallback-secret", "alert-1")
    answer = house.gateway.post("/webhooks/alerts", ALERT, headers)
    assert answer == accepted("alerts", "alert", "alert-1")


def test_a_direct_delivery_reaches_the_home_chat_of_the_environment(house: House) -> None:
    headers = github("push", PUSH, "deploy-secret")
    status, said = house.gateway.post("/webhooks/deploy-notify", PUSH, headers)
    assert (status, said["status"], said["target"]) == (200, "delivered", "telegram")
    [message] = house.platforms.posts("/telegram/")
    assert message.path == f"/telegram/bot{BOT_TOKEN}/sendMessage"
    assert str(message.body["chat_id"]) == HOME_CHAT
    assert message.body["text"] == "New push to acme/storefront branch refs/heads/main"


def test_a_subscription_is_served_and_a_static_route_of_its_name_wins(house: House) -> None:
    headers = github("issues", ISSUE, "subscribed-secret")
    answer = house.gateway.post("/webhooks/github-issues", ISSUE, headers)
    assert answer == accepted("github-issues", "issues", headers["X-GitHub-Delivery"])
    wrong = github("pull_request", PULL_REQUEST, "does-not-count")
    assert house.gateway.post("/webhooks/github-pr", PULL_REQUEST, wrong)[0] == 401


@pytest.mark.parametrize(
    ("route", "secret", "answer"),
    [
        ("github-pr", "wrong", (401, {"error": "Invalid signature"})),
        ("nobody", "s", (404, {"error": "Unknown route: nobody"})),
        ("broken", "s", (404, {"error": "Unknown route: broken"})),
    ],
)
def test_what_is_turned_away_is_told_as_ever(
    house: House, route: str, secret: str, answer: tuple[int, dict[str, str]]
) -> None:
    headers = github("pull_request", PULL_REQUEST, secret)
    assert house.gateway.post(f"/webhooks/{route}", PULL_REQUEST, headers) == answer


def test_a_route_whose_script_might_veto_is_not_served_without_it(house: House) -> None:
    headers = github("push", PUSH, "scripted-secret")
    assert house.gateway.post("/webhooks/scripted", PUSH, headers)[0] == 404
    assert "route scripted: it has a script" in house.gateway.log


def test_what_is_left_out_is_named_in_the_log(house: House) -> None:
    for name in ("bad:name/x", "broken"):
        assert f"route {name}: " in house.gateway.log


def test_the_subscriptions_change_while_it_runs(house: House) -> None:
    headers = github("issues", ISSUE, "new-secret")
    entry = {**SUBSCRIPTIONS["github-issues"], "secret": "new-secret"}

    def status(route: str) -> int:
        signed = {**headers, "X-GitHub-Delivery": f"{route}-{len(house.gateway.log)}"}
        return house.gateway.post(f"/webhooks/{route}", ISSUE, signed)[0]

    house.subscribe({"added": entry})
    eventually(lambda: status("added") in (200, 202), 3, "the new subscription")
    assert status("github-issues") == 404
    (house.home / "webhook_subscriptions.json").write_text('{"added": ')
    eventually(
        lambda: status("added") in (200, 202) and "is not valid JSON" in house.gateway.log,
        5,
        "a word on the corrupt file, whose routes go on",
    )
    (house.home / "webhook_subscriptions.json").unlink()
    eventually(lambda: status("added") == 404, 3, "the end of the subscription")
    signed = github("pull_request", PULL_REQUEST, "github-webhook-secret")
    assert house.gateway.post("/webhooks/github-pr", PULL_REQUEST, signed)[0] == 202


def test_the_command_tests_a_route_of_the_home_and_tells_what_comes_of_it(house: House) -> None:
    said = house.gateway.manage("webhook", "test", "deploy-notify").stdout
    assert said.startswith("200 ")
    assert "Deliver to channel telegram: delivered" in said
    listed = house.gateway.manage("webhook", "list").stdout
    assert "deploy-notify (config.yaml)" in listed
    assert "deploy-secret" not in listed
