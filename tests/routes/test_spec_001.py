"""Spec 001, line by line, up to GitLab; each class is a section, each test a line or a row.

What is deliberately otherwise is told in docs/migration.md. The rest is in test_spec_001_rest.py.
"""

import json

import pytest
from django.core.management import get_commands
from django.test import Client
from pytest_django import Settings

from agents.models import Conversation
from deliveries.models import Delivery
from platforms.models import Channel
from routes.config_files import effective_settings
from tests.end_to_end.platforms import Platforms
from tests.end_to_end.senders import MERGE_REQUEST, PULL_REQUEST, PUSH

from .homes import Home
from .spec_001 import (
    ANSWER,
    CHAT,
    FORUM_TOPIC,
    FULL_EXAMPLE,
    GITLAB,
    generic,
    github,
    home,
    made,
    post,
    rendered,
    said,
    send,
    telegram,
)

__all__ = ["home", "telegram"]
pytestmark = pytest.mark.django_db


class TestSetup:
    def test_there_is_a_wizard_and_a_gateway(self) -> None:
        """`hermes gateway setup`; what it asks is in tests/gateway/test_wizard.py."""
        assert {"setup", "gateway"} <= get_commands().keys()

    def test_the_three_variables_of_the_homes_env(self, home: Home, settings: Settings) -> None:
        home.env("WEBHOOK_ENABLED=true\nWEBHOOK_PORT=9000\nWEBHOOK_SECRET=your-global-secret\n")
        found = effective_settings()
        assert (found.enabled, found.port, found.secret) == (True, 9000, "your-global-secret")

    def test_health(self) -> None:
        assert Client().get("/health").json() == {"status": "ok", "platform": "webhook"}


class TestConfiguringRoutes:
    @pytest.mark.parametrize("place", ["platforms.webhook.extra", "platforms.webhook", "webhooks"])
    def test_each_route_is_a_named_entry(self, home: Home, place: str) -> None:
        config: ANSWER = {"routes": {"one": {}, "two": {}}}
        for key in reversed(place.split(".")):
            config = {key: config}
        home.write(json.dumps(config))
        assert [send(name, {})[0] for name in ("one", "two", "three")] == [202, 202, 404]


class TestRouteProperties:
    def test_events_are_those_that_are_accepted(self) -> None:
        made(events=["a", "b"])
        assert send("r", {"event_type": "b"})[0] == 202
        assert send("r", {"event_type": "c"}) == (200, {"status": "ignored", "event": "c"})

    def test_without_events_all_are(self) -> None:
        made()
        assert send("r", {"event_type": "whatever"})[0] == 202

    def test_a_route_s_own_secret_counts_and_else_the_global_one(self, home: Home) -> None:
        home.routes("own: {secret: mine}\nglobal: {}")
        statuses = {
            (name, secret): post(name, b"{}", generic(b"{}", secret))[0]
            for name in ("own", "global")
            for secret in ("mine", "s")
        }
        assert statuses == {
            ("own", "mine"): 202, ("own", "s"): 401, ("global", "s"): 202, ("global", "mine"): 401,
        }  # fmt: skip

    def test_insecure_no_auth_skips_the_check(self, home: Home) -> None:
        home.routes("open: {secret: INSECURE_NO_AUTH}")
        assert post("open", b"{}", {})[0] == 202

    def test_the_prompt_is_a_template(self) -> None:
        assert rendered("PR: {pull_request.title}", {"pull_request": {"title": "T"}}) == "PR: T"

    def test_skills_are_named_to_the_agent(self) -> None:
        made(skills=["github-code-review"])
        send("r", {})
        assert Delivery.objects.get().metadata["skills"] == ["github-code-review"]

    def test_deliver_extra_is_a_template_as_well(self) -> None:
        made(deliver_extra={"repo": "{repository.full_name}", "pr_number": "{n}", "chat_id": "7"})
        send("r", {"repository": {"full_name": "acme/shop"}, "n": 5})
        target = {"repo": "acme/shop", "pr_number": "5", "chat_id": "7"}
        assert Conversation.objects.get().target == target

    def test_deliver_only_skips_the_agent(self) -> None:
        Channel.objects.create(name="ops", kind="log")
        made(deliver="ops", deliver_only=True, answer_at_once=True, prompt="Up: {up}")
        send("r", {"up": True})
        assert (Delivery.objects.get().lane.kind, said()) == ("channel", "Up: true")
        assert not Conversation.objects.exists()


class TestFullExample:
    def test_github_pr(self, home: Home) -> None:
        Channel.objects.create(name="github_comment", kind="github_comment")
        home.write(
            FULL_EXAMPLE.replace("          skills", "          fence: false\n          skills")
        )
        headers = github(PULL_REQUEST, "github-webhook-secret", "pull_request")
        status, answer = post("github-pr", PULL_REQUEST, headers)
        assert (status, answer) == (
            202,
            {
                "status": "accepted",
                "route": "github-pr",
                "event": "pull_request",
                "delivery_id": "d-1",
            },
        )
        payload = json.loads(PULL_REQUEST)
        pull, repository = payload["pull_request"], payload["repository"]["full_name"]
        assert said() == (
            f"Review this pull request:\nRepository: {repository}\n"
            f"PR #{payload['number']}: {pull['title']}\nAuthor: {pull['user']['login']}\n"
            f"URL: {pull['html_url']}\nDiff URL: {pull['diff_url']}\nAction: {payload['action']}\n"
        )
        conversation = Conversation.objects.get()
        assert conversation.channel is not None
        assert conversation.channel.kind == "github_comment"
        assert conversation.target == {"repo": repository, "pr_number": str(payload["number"])}
        assert Delivery.objects.get().metadata["skills"] == ["github-code-review"]

    def test_deploy_notify(self, home: Home, telegram: Platforms) -> None:
        home.write(FULL_EXAMPLE)
        assert post("deploy-notify", PUSH, github(PUSH, "deploy-secret", "push"))[0] == 202
        conversation = Conversation.objects.get()
        assert conversation.channel is not None
        assert (conversation.channel.kind, conversation.target) == ("telegram", {})

    def test_port_and_global_secret(self, home: Home, settings: Settings) -> None:
        home.write(FULL_EXAMPLE)
        found = effective_settings()
        assert (found.enabled, found.port, found.secret) == (True, 8644, "global-fallback-secret")


class TestPromptTemplates:
    PAYLOAD = {  # noqa: RUF012
        "pull_request": {"title": "Fix the cart", "labels": ["bug"]},
        "repository": {"full_name": "acme/shop"},
    }

    @pytest.mark.parametrize(
        ("template", "text"),
        [
            ("{pull_request.title}", "Fix the cart"),
            ("{repository.full_name}", "acme/shop"),
            ("{missing.field} and {nothing}", "{missing.field} and {nothing}"),
            ("{pull_request}", json.dumps(PAYLOAD["pull_request"], indent=2)),
            ("{pull_request.labels}", '[\n  "bug"\n]'),
            ("{__raw__}", json.dumps(PAYLOAD, indent=2)),
        ],
    )
    def test_each_rule(self, template: str, text: str) -> None:
        assert rendered(template, self.PAYLOAD) == text

    @pytest.mark.parametrize(("template", "limit"), [("{__raw__}", 4000), ("{long}", 2000)])
    def test_what_is_long_is_cut(self, template: str, limit: int) -> None:
        assert len(rendered(template, {"long": ["x" * 100] * 100})) == limit

    def test_without_a_prompt_it_is_the_whole_payload_indented(self) -> None:
        text = rendered("", self.PAYLOAD)
        assert text.startswith("Webhook event 'unknown' on route 'r':")
        assert json.dumps(self.PAYLOAD, indent=2) in text


@pytest.mark.django_db(transaction=True)
class TestForumTopics:
    def direct(self, telegram: Platforms, **extra: str) -> ANSWER:
        made(deliver="telegram", deliver_only=True, deliver_extra=extra, prompt="Up")
        assert send("r", {})[0] == 200
        [call] = telegram.posts("/telegram/")
        return dict(call.body)

    def test_the_example(self, home: Home, telegram: Platforms) -> None:
        home.write(FORUM_TOPIC)
        assert send("alerts", {"event_type": "alert"})[0] == 202
        assert Conversation.objects.get().target == {"chat_id": CHAT, "message_thread_id": "42"}

    @pytest.mark.parametrize("name", ["message_thread_id", "thread_id"])
    def test_a_topic_has_two_names(self, telegram: Platforms, name: str) -> None:
        body = self.direct(telegram, chat_id="-100777", **{name: "42"})
        assert (str(body["chat_id"]), body["message_thread_id"]) == ("-100777", 42)

    @pytest.mark.parametrize("extra", [{}, {"chat_id": ""}, {"chat_id": "{missing}"}])
    def test_without_a_chat_it_is_the_home_channel(
        self, telegram: Platforms, extra: dict[str, str]
    ) -> None:
        assert str(self.direct(telegram, **extra)["chat_id"]) == CHAT


class TestGitHub:
    @pytest.mark.parametrize("form", [False, True])
    def test_it_posts_json_or_a_form_signed_with_the_secret(self, home: Home, form: bool) -> None:
        home.write(FULL_EXAMPLE)
        body, kind = PULL_REQUEST, "application/json"
        if form:
            body = b"payload=" + "".join(f"%{byte:02x}" for byte in PULL_REQUEST).encode()
            kind = "application/x-www-form-urlencoded"
        headers = github(body, "github-webhook-secret", "pull_request")
        assert post("github-pr", body, headers, kind)[0] == 202

    def test_its_ping_wakes_nobody(self) -> None:
        made()
        assert post("r", b"{}", github(b"{}", "s", "ping"))[1]["status"] == "ignored"


class TestGitLab:
    def gitlab(self, token: str) -> tuple[int, ANSWER]:
        headers = {"X-Gitlab-Token": token, "X-Gitlab-Event": "Merge Request Hook"}
        return post("gitlab-mr", MERGE_REQUEST, headers)

    def test_the_example_is_let_in_by_its_token_in_clear(self, home: Home) -> None:
        home.write(GITLAB)
        assert self.gitlab("your-gitlab-secret-token")[0] == 202
        payload = json.loads(MERGE_REQUEST)
        merge = payload["object_attributes"]
        assert said() == (
            f"Review this merge request:\nProject: {payload['project']['path_with_namespace']}\n"
            f"MR !{merge['iid']}: {merge['title']}\n"
            f"Author: {merge['last_commit']['author']['name']}\n"
            f"URL: {merge['url']}\nAction: {merge['action']}\n"
        )

    def test_another_token_is_refused(self, home: Home) -> None:
        home.write(GITLAB)
        assert self.gitlab("another-token") == (401, {"error": "Invalid signature"})
