"""What the demo sets up, and the events it posts: the example routes of spec 001."""

import hashlib
import hmac
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
from django.conf import settings
from django.contrib.auth import get_user_model

from agent_sdk.dispatcher import AGENT_ID, GATEWAY, SECRET, TOKEN
from agents.models import Agent
from agents.services import confirm_switch, issue_token, propose_switch
from platforms.models import Channel
from platforms.services import save_config
from routes.chats import chats
from routes.models import Route
from routes.presets import presets
from routes.samples import sample, signed_request
from vault.services import generate_secret, rotate

PAYLOADS = Path(__file__).parent / "payloads"
ADMIN_NAME = "admin"
AGENT_NAME = "demo"
CHAT_ID = "-1001234567890"

# Of the forms that the senders accept, and of no account.
TELEGRAM_TOKEN = "700000001:" + "demo" * 9
GITHUB_TOKEN = "demo-token"  # noqa: S105
SLACK_TOKEN = "xoxb-700000001-" + "demo" * 6

ROUTES: Mapping[str, Mapping[str, Any]] = {
    "github-pr": {
        "description": "Reviews pull requests",
        "events": ["pull_request"],
        "prompt": (
            "Review this pull request:\n"
            "Repository: {repository.full_name}\n"
            "PR #{number}: {pull_request.title}\n"
            "Author: {pull_request.user.login}\n"
            "URL: {pull_request.html_url}\n"
            "Diff URL: {pull_request.diff_url}\n"
            "Action: {action}\n"
        ),
        "skills": ["github-code-review"],
        "deliver": "github_comment",
        "deliver_extra": {"repo": "{repository.full_name}", "pr_number": "{number}"},
    },
    "gitlab-mr": {
        "description": "Reviews merge requests; the answer goes to the log",
        "events": ["merge_request"],
        "prompt": (
            "Review this merge request:\n"
            "Project: {project.path_with_namespace}\n"
            "MR !{object_attributes.iid}: {object_attributes.title}\n"
            "Author: {object_attributes.last_commit.author.name}\n"
            "URL: {object_attributes.url}\n"
            "Action: {object_attributes.action}\n"
        ),
        "deliver": "log",
    },
    "deploy-notify": {
        "description": "Tells Telegram of a push; no agent is asked",
        "events": ["push"],
        "prompt": "New push to {repository.full_name} branch {ref}: {head_commit.message}",
        "deliver": "telegram",
        "deliver_only": True,
    },
    "talk": {
        "description": "Lets people talk to the agent in Slack",
        **chats()["slack"].fields,
    },
}


@dataclass(frozen=True, slots=True)
class Setup:
    """What was set up: the admin's password, what the agent is given, the secrets of the routes."""

    password: str
    agent: Mapping[str, str]
    secrets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Post:
    """A request to the gateway, as its source would make it; ``id`` is the source's own."""

    route: str
    headers: Mapping[str, str]
    body: bytes
    id: str = ""


def set_up(agent_port: int, platforms_port: int) -> Setup:
    """Create or renew login, agent, channels and routes; running it again is fine."""
    agent = Agent.objects.filter(name=AGENT_NAME).first() or Agent(name=AGENT_NAME)
    agent.save()
    given = _connect(agent, agent_port)
    base = f"http://127.0.0.1:{platforms_port}"
    _channel(
        "telegram",
        {"bot_token": TELEGRAM_TOKEN, "api_base": f"{base}/telegram"},
        {"chat_id": CHAT_ID},
    )
    _channel("slack", {"bot_token": SLACK_TOKEN, "api_base": f"{base}/slack"}, {})
    _channel("github_comment", {"token": GITHUB_TOKEN, "api_base": f"{base}/github"}, {})
    return Setup(
        password=_renew_login(),
        agent=given,
        secrets={name: _route(name, fields, agent) for name, fields in ROUTES.items()},
    )


def pull_request(secret: str) -> Post:
    """Return what GitHub posts for a pull request."""
    return _from_github("github-pr", "pull_request", "github_pull_request.json", secret)


def push(secret: str) -> Post:
    """Return what GitHub posts for a push."""
    return _from_github("deploy-notify", "push", "github_push.json", secret)


def merge_request(secret: str) -> Post:
    """Return what GitLab posts for a merge request."""
    event_id = str(uuid.uuid4())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitLab/17.5.0",
        "X-Gitlab-Event": "Merge Request Hook",
        "X-Gitlab-Instance": "https://gitlab.example.com",
        "X-Gitlab-Event-UUID": event_id,
        "X-Gitlab-Webhook-UUID": str(uuid.uuid4()),
        "Idempotency-Key": event_id,
        "X-Gitlab-Token": secret,
    }
    return Post("gitlab-mr", headers, _payload("gitlab_merge_request.json"), event_id)


def question(secret: str) -> Post:
    """Return what Slack posts when somebody writes to the bot."""
    given = sample("slack", "message")
    url = f"{settings.PUBLIC_URL}/webhooks/talk"
    request = signed_request(presets()["slack"], secret, given, url, time.time())
    return Post("talk", request.headers, request.body, given.id)


def post(request: Post) -> tuple[int, Mapping[str, Any]]:
    """Post to the gateway of this sandbox; return status and JSON."""
    reply = requests.post(
        f"http://127.0.0.1:{settings.WEBHOOK_PORT}/webhooks/{request.route}",
        data=request.body,
        headers=dict(request.headers),
        timeout=30,
    )
    return reply.status_code, reply.json()


def _from_github(route: str, event: str, file: str, secret: str) -> Post:
    body = _payload(file)
    delivery_id = str(uuid.uuid4())
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery_id,
        "X-GitHub-Hook-ID": "434862173",
        "X-GitHub-Hook-Installation-Target-Type": "repository",
        "X-Hub-Signature-256": f"sha256={digest}",
    }
    return Post(route, headers, body, delivery_id)


def _payload(file: str) -> bytes:
    return (PAYLOADS / file).read_bytes()


def _connect(agent: Agent, port: int) -> dict[str, str]:
    """Switch the agent to the webhook of the demo's own process; return what that is given."""
    proposal = propose_switch(agent, Agent.Mode.WEBHOOK, url=f"http://127.0.0.1:{port}/webhook")
    secret = confirm_switch(proposal, by="demo")
    if secret is None:
        raise RuntimeError("a switch without a secret did not generate one")
    return {
        GATEWAY: f"http://127.0.0.1:{settings.WEBHOOK_PORT}",
        AGENT_ID: str(agent.pk),
        TOKEN: issue_token(agent),
        SECRET: secret,
    }


def _channel(kind: str, config: Mapping[str, Any], home: Mapping[str, Any]) -> None:
    channel = Channel.objects.filter(name=kind).first() or Channel(name=kind, kind=kind)
    save_config(channel, config, home)


def _route(name: str, fields: Mapping[str, Any], agent: Agent) -> str:
    """Create or renew a route with a new secret, and return that."""
    asked = None if fields.get("deliver_only") else agent
    route, _created = Route.objects.update_or_create(
        name=name, defaults={"preset": "auto", **fields, "agent": asked}
    )
    return rotate(route.secrets, generate_secret(), timedelta(0)).value


def _renew_login() -> str:
    password = secrets.token_urlsafe(9)
    admin = get_user_model().objects.get(username=ADMIN_NAME)
    admin.set_password(password)
    admin.save(update_fields=["password"])
    return password
