"""config.yaml of a Hermes home: settings and static routes."""

from pathlib import Path

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from agents.models import Agent
from routes.config_files import (
    effective_settings,
    sync_if_changed,
)
from routes.models import Route, RouteSecret
from routes.services import effective_secrets, subscribe

from .homes import EXAMPLE, Home, as_a_new_process, make_home, names

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Home:
    return make_home(tmp_path, settings, monkeypatch)


class TestRoutes:
    def test_the_example_of_the_specification_becomes_routes(self, home: Home) -> None:
        home.write(EXAMPLE)
        assert sync_if_changed()
        assert home.problems() == []
        route = Route.objects.get(name="github-pr")
        assert route.origin == Route.Origin.FILE
        assert route.events == ["pull_request"]
        assert route.prompt.startswith("Review this pull request:\nRepository:")
        assert route.skills == ["github-code-review"]
        assert route.deliver == "github_comment"
        assert route.deliver_extra == {"repo": "{repository.full_name}", "pr_number": "{number}"}
        assert effective_secrets(route) == ["github-webhook-secret"]
        assert names() == {"github-pr", "deploy-notify"}

    def test_routes_stand_in_any_of_the_three_places_and_extra_wins(self, home: Home) -> None:
        home.write(
            "webhooks: {routes: {alerts: {prompt: A}, both: {prompt: A}}}\n"
            "platforms: {webhook: {routes: {direct: {prompt: B}, both: {prompt: B}},\n"
            "  extra: {routes: {inner: {prompt: C}, both: {prompt: C}}}}}\n"
        )
        sync_if_changed()
        assert names() == {"alerts", "direct", "inner", "both"}
        assert Route.objects.get(name="both").prompt == "C"

    def test_nothing_is_done_until_the_file_changes(
        self, home: Home, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        home.routes("a: {prompt: one}")
        assert sync_if_changed()
        with django_assert_num_queries(0):
            assert not sync_if_changed()
        home.routes("a: {prompt: two}")
        assert sync_if_changed()
        assert Route.objects.get().prompt == "two"

    def test_a_second_process_that_reads_the_same_file_changes_nothing(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home.routes("a: {secret: s, prompt: one}")
        sync_if_changed()
        row = Route.objects.get()
        secret = RouteSecret.objects.get()
        as_a_new_process(monkeypatch)
        assert sync_if_changed()
        assert Route.objects.get().updated_at == row.updated_at
        assert RouteSecret.objects.get() == secret

    def test_a_property_that_is_gone_is_back_at_its_default(self, home: Home) -> None:
        home.routes("a: {prompt: one, enabled: false, rate_limit: 5, skills: [x]}")
        sync_if_changed()
        home.routes("a: {prompt: one}")
        sync_if_changed()
        route = Route.objects.get()
        assert (route.enabled, route.rate_limit, route.skills) == (True, None, [])

    def test_a_route_the_file_no_longer_names_is_gone(self, home: Home) -> None:
        home.routes("a: {prompt: x}\nb: {prompt: y}")
        sync_if_changed()
        home.routes("b: {prompt: y}")
        sync_if_changed()
        assert names() == {"b"}

    def test_without_the_file_its_routes_are_gone_and_the_others_stay(self, home: Home) -> None:
        subscribe("mine")
        home.routes("a: {prompt: x}")
        sync_if_changed()
        home.path.unlink()
        assert sync_if_changed()
        assert names() == {"mine"}

    def test_the_file_takes_the_place_of_a_subscription_of_its_name(
        self, home: Home, caplog: pytest.LogCaptureFixture
    ) -> None:
        subscribe("a", prompt="mine", secret="mine")
        home.routes("a: {prompt: theirs, secret: theirs}")
        sync_if_changed()
        route = Route.objects.get()
        assert (route.origin, route.prompt) == (Route.Origin.FILE, "theirs")
        assert effective_secrets(route) == ["theirs"]
        assert "takes the place" in caplog.text

    def test_a_changed_secret_counts_at_once_and_alone(self, home: Home) -> None:
        home.routes("a: {secret: old}")
        sync_if_changed()
        home.routes("a: {secret: new}")
        sync_if_changed()
        assert effective_secrets(Route.objects.get()) == ["new"]
        home.routes("a: {prompt: none of its own}")
        sync_if_changed()
        assert effective_secrets(Route.objects.get()) == []

    def test_insecure_no_auth_is_no_secret_but_a_permission(self, home: Home) -> None:
        home.routes("a: {secret: INSECURE_NO_AUTH}")
        sync_if_changed()
        assert Route.objects.get().insecure_no_auth
        assert not RouteSecret.objects.exists()

    def test_one_event_without_brackets_is_one_event(self, home: Home) -> None:
        home.routes("a: {events: push, deliver_extra: }")
        sync_if_changed()
        route = Route.objects.get()
        assert route.events == ["push"]
        assert route.deliver_extra == {}


class TestNewerProperties:
    def test_they_are_stored_as_they_are_written(self, home: Home) -> None:
        agent = Agent.objects.create(name="reviewer")
        home.routes(
            "a:\n"
            "  filters: [{field: action, equals: opened}]\n"
            "  fence: false\n"
            "  conversation_key: '{repository.full_name}#{number}'\n"
            "  coalesce: {key: number, window_seconds: 5}\n"
            "  answer_at_once: true\n"
            "  agent: reviewer\n"
        )
        sync_if_changed()
        route = Route.objects.get()
        assert route.filters == [{"field": "action", "equals": "opened"}]
        assert (route.fence, route.answer_at_once) == (False, True)
        assert route.conversation_key == "{repository.full_name}#{number}"
        assert route.coalesce == {"key": "number", "window_seconds": 5}
        assert route.agent == agent
        assert home.problems() == []

    def test_of_a_list_of_targets_the_first_is_the_routes_own(self, home: Home) -> None:
        home.routes(
            "a:\n"
            "  deliver: [telegram, {deliver: slack, deliver_extra: {chat_id: C1}}, log]\n"
            "  deliver_extra: {chat_id: '1'}\n"
        )
        sync_if_changed()
        route = Route.objects.get()
        assert (route.deliver, route.deliver_extra) == ("telegram", {"chat_id": "1"})
        assert route.fan_out == [
            {"deliver": "slack", "deliver_extra": {"chat_id": "C1"}},
            {"deliver": "log", "deliver_extra": {}},
        ]

    def test_a_route_waits_for_the_agent_it_names(
        self, home: Home, caplog: pytest.LogCaptureFixture
    ) -> None:
        home.routes("a: {agent: reviewer}\nb: {prompt: x}")
        sync_if_changed()
        assert names() == {"b"}
        assert "no agent named “reviewer”" in caplog.text
        assert not sync_if_changed()
        Agent.objects.create(name="reviewer")
        assert sync_if_changed()
        assert names() == {"a", "b"}


class TestBrokenEntries:
    @pytest.mark.parametrize(
        ("entry", "fault"),
        [
            ("bad: 7", "mapping of properties"),
            ("bad:", "mapping of properties"),
            ("bad: {prompt: [a]}", "prompt must be text"),
            ("bad: {events: [on]}", "events must be a list"),
            ("bad: {events: {a: b}}", "events must be a list"),
            ("bad: {deliver_only: maybe}", "deliver_only must be true or false"),
            ("bad: {deliver_extra: [a]}", "deliver_extra must be a mapping"),
            ("bad: {rate_limit: -1}", "rate_limit must be a whole number"),
            ("bad: {rate_limit: true}", "rate_limit must be a whole number"),
            ("bad: {secret: 12345}", "its secret must be text"),
            ("bad: {secret: ''}", "its secret is empty"),
            ("bad: {secret: }", "its secret is empty"),
            ("Bad/Name: {prompt: x}", "name:"),
            ("7: {prompt: x}", "its name must be text"),
            (f"bad: {{deliver: {'x' * 65}}}", "deliver:"),
        ],
    )
    def test_one_is_skipped_and_named_and_the_rest_lives(
        self, home: Home, entry: str, fault: str
    ) -> None:
        home.routes(f"{entry}\ngood: {{prompt: x}}")
        sync_if_changed()
        assert names() == {"good"}
        assert len(home.problems()) == 1
        assert home.problems()[0].startswith(f"route {entry.partition(':')[0]}: ")
        assert fault in home.problems()[0]

    def test_what_was_good_before_stays_as_it_was(self, home: Home) -> None:
        home.routes("a: {prompt: good}")
        sync_if_changed()
        home.routes("a: {prompt: [bad]}")
        sync_if_changed()
        assert Route.objects.get().prompt == "good"

    def test_properties_without_effect_are_named(self, home: Home) -> None:
        home.routes("a: {prompt: x, filter: [], created_at: 2024-01-01T00:00:00Z}")
        sync_if_changed()
        assert home.problems() == ["route a: has no effect here: filter"]
        assert names() == {"a"}

    @pytest.mark.parametrize("key", ["toolsets", "cron_job", "mirror_to_session", "profile"])
    def test_what_is_not_supported_is_named_once_and_the_route_lives(
        self, home: Home, key: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        home.routes(f"a: {{prompt: x, {key}: something}}")
        sync_if_changed()
        home.routes(f"a: {{prompt: y, {key}: something}}")
        sync_if_changed()
        assert caplog.text.count(f"{key} is not supported") == 1
        assert Route.objects.get().prompt == "y"

    def test_a_route_with_a_script_is_not_run_without_it(self, home: Home) -> None:
        home.routes("a: {prompt: x}")
        sync_if_changed()
        home.routes("a: {prompt: x, script: veto.py}\nb: {prompt: y}")
        sync_if_changed()
        assert names() == {"b"}
        assert "script, which Hermes does not run" in home.problems()[0]

    @pytest.mark.parametrize(
        ("entry", "fault"),
        [
            ("filters: [{field: a, regex: '('}]", "filters[0]"),
            ("filters: {field: a, in_file: x}", "in_file"),
            ("filters: 7", "filters must be"),
            ("coalesce: {window_seconds: 5}", "coalesce: key"),
            ("coalesce: {key: '{a}'}\n  deliver_only: true", "coalesce: "),
            ("coalesce: [a]", "coalesce must be a mapping"),
            ("deliver: []", "deliver is an empty list"),
            ("deliver: [log, 7]", "deliver[1] must be a name"),
            ("deliver: [{deliver_extra: {}}]", "deliver[0] must be a name"),
            ("deliver: [{deliver: log, deliver_extra: 7}]", "deliver[0].deliver_extra"),
            ("fence: maybe", "fence must be true or false"),
            ("conversation_key: 7", "conversation_key must be text"),
            ("agent: 7", "agent must be text"),
            ("answer_at_once: 1", "answer_at_once must be true or false"),
            ("custom_scheme: hmac", "custom_scheme must be a mapping"),
            ("deliver_extra: &loop {a: *loop}", "deliver_extra holds something"),
        ],
    )
    def test_a_fault_in_a_newer_property_is_named_by_its_path(
        self, home: Home, entry: str, fault: str
    ) -> None:
        home.routes(f"bad:\n  {entry}\ngood: {{prompt: x}}")
        sync_if_changed()
        assert names() == {"good"}
        [problem] = home.problems()
        assert problem.startswith("route bad: ")
        assert fault in problem

    @pytest.mark.parametrize("text", ["a: [", "- list", "{secret: hidden-value: x", "\0", "text"])
    def test_a_file_that_is_no_config_leaves_everything_as_it_was(
        self, home: Home, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        home.routes("a: {prompt: x}")
        sync_if_changed()
        home.write(text)
        sync_if_changed()
        assert names() == {"a"}
        assert str(home.path) in caplog.text
        assert "hidden-value" not in caplog.text

    @pytest.mark.parametrize("text", ["", "other: {}", "platforms: ", "platforms: {webhook: 7}"])
    def test_a_file_without_routes_is_fine(self, home: Home, text: str) -> None:
        home.write(text)
        sync_if_changed()
        assert home.problems() == []
        assert names() == set()

    def test_what_can_not_be_read_any_more_goes_on_counting(self, home: Home) -> None:
        home.write("webhooks: {rate_limit: 7, routes: {a: {prompt: x}}}")
        sync_if_changed()
        home.write("a: [")
        sync_if_changed()
        assert effective_settings().rate_limit == 7
        assert names() == {"a"}
        home.subscriptions(b={"prompt": "y"})
        sync_if_changed()
        assert names() == {"a", "b"}
