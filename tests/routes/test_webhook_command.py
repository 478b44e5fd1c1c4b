"""`manage.py webhook`, as spec 001 shows it."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from agents.models import Agent
from platforms.models import Channel
from routes.models import Route
from routes.services import effective_secrets

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


class TestFlags:
    """Those that hermes-agent's command does not have, and those that it has and we have not."""

    @pytest.fixture(autouse=True)
    def _channels(self) -> None:
        Channel.objects.create(name="telegram", kind="telegram")
        Channel.objects.create(name="github_comment", kind="github_comment")

    def test_each_of_them_reaches_its_field(self) -> None:
        agent = Agent.objects.create(name="reviewer")
        call_command(
            "webhook",
            *("subscribe", "a", "--preset", "gitlab", "--agent", "reviewer"),
            *("--filter", '{"field": "action", "equals": "opened"}'),
            *("--filter", '[{"field": "draft", "not_equals": true}]'),
            *("--conversation-key", "{project.id}!{object_attributes.iid}"),
            *("--coalesce-key", "{project.id}", "--coalesce-window", "5"),
            *("--no-fence", "--answer-at-once"),
        )
        route = Route.objects.get()
        assert (route.preset, route.agent) == ("gitlab", agent)
        assert route.filters == [
            {"field": "action", "equals": "opened"},
            {"field": "draft", "not_equals": True},
        ]
        assert route.conversation_key == "{project.id}!{object_attributes.iid}"
        assert route.coalesce == {"key": "{project.id}", "window_seconds": 5}
        assert (route.fence, route.answer_at_once) == (False, True)

    def test_what_is_not_said_again_stays_and_an_empty_value_takes_it_away(self) -> None:
        call_command(
            "webhook",
            *("subscribe", "a", "--filter", '{"field": "x", "exists": true}'),
            *("--coalesce-key", "{n}", "--no-fence", "--preset", "github"),
        )
        call_command("webhook", "subscribe", "a", "--prompt", "new", "--coalesce-window", "9")
        route = Route.objects.get()
        assert route.filters == [{"field": "x", "exists": True}]
        assert route.coalesce == {"key": "{n}", "window_seconds": 9}
        assert (route.fence, route.preset) == (False, "github")
        call_command(
            "webhook",
            *("subscribe", "a", "--filter", "", "--coalesce-key", "", "--fence", "--preset", ""),
        )
        route.refresh_from_db()
        assert (route.filters, route.coalesce) == ([], {})
        assert (route.fence, route.preset) == (True, "auto")

    def test_with_one_target_the_order_of_the_flags_does_not_matter(self) -> None:
        call_command(
            "webhook",
            *("subscribe", "a", "--repo", "{repository.full_name}", "--deliver", "github_comment"),
            *("--pr-number", "{number}"),
        )
        route = Route.objects.get()
        assert route.deliver == "github_comment"
        assert route.deliver_extra == {"repo": "{repository.full_name}", "pr_number": "{number}"}

    def test_with_several_each_flag_is_the_target_s_before_it(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = webhook(
            capsys,
            *("subscribe", "a", "--deliver", "telegram", "--deliver-chat-id", "-1"),
            *("--thread-id", "42", "--deliver", "github_comment", "--repo", "a/b"),
            *("--pr-number", "{number}", "--deliver", "log"),
        )
        route = Route.objects.get()
        assert (route.deliver, route.deliver_extra) == (
            "telegram",
            {"chat_id": "-1", "thread_id": "42"},
        )
        assert route.fan_out == [
            {
                "deliver": "github_comment",
                "deliver_extra": {"repo": "a/b", "pr_number": "{number}"},
            },
            {"deliver": "log", "deliver_extra": {}},
        ]
        assert "Deliver: telegram -1 42, github_comment a/b {number}, log" in said

    @pytest.mark.parametrize(
        ("flags", "way_out"),
        [
            (["--script", "veto.py"], "--filter"),
            (["--cron-job", "nightly"], "--agent"),
            (["--route-profile", "work"], "--agent"),
            (["--mirror-to-session"], "ledger"),
            (["--retry-on-script-failure"], "no scripts"),
        ],
    )
    def test_what_is_not_supported_is_refused_by_name_with_the_way_out(
        self, flags: list[str], way_out: str
    ) -> None:
        with pytest.raises(CommandError, match=rf"{flags[0]} is not supported: .*{way_out}"):
            call_command("webhook", "subscribe", "a", *flags)
        assert not Route.objects.exists()

    @pytest.mark.parametrize(
        ("flags", "hint"),
        [
            (["--filter", "{"], "--filter is not JSON"),
            (["--filter", '{"field": "a", "regex": "("}'], r"filters\[0\]"),
            (["--coalesce-window", "5"], "coalesce: key"),
            (["--agent", "nobody"], "no agent named"),
            (["--preset", "myspace"], "is no source"),
            (["--deliver", "telegram", "--deliver", "telegrm"], "telegrm"),
        ],
    )
    def test_a_mistake_is_one_clear_line(self, flags: list[str], hint: str) -> None:
        with pytest.raises(CommandError, match=hint):
            call_command("webhook", "subscribe", "a", *flags)
        assert not Route.objects.exists()


class TestListAndRemove:
    def test_the_list_shows_every_route_and_no_secret(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        webhook(capsys, "subscribe", "mine", "--secret", "hidden", "--description", "Mine")
        Route.objects.create(name="theirs", origin=Route.Origin.FILE, enabled=False)
        said = webhook(capsys, "list")
        assert "mine (subscription)" in said
        assert "theirs (file, disabled)" in said
        assert "Mine" in said
        assert "hidden" not in said

    def test_a_route_of_a_file_is_listed_with_the_file(
        self, capsys: pytest.CaptureFixture[str], settings: Settings, tmp_path: Path
    ) -> None:
        settings.HERMES_HOME = str(tmp_path)
        (tmp_path / "webhook_subscriptions.json").write_text('{"theirs": {"secret": "hidden"}}')
        said = webhook(capsys, "list")
        assert "theirs (webhook_subscriptions.json)" in said
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
