"""config.yaml of a Hermes home: settings and static routes."""

import os
from pathlib import Path

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from routes import config_files
from routes.config_files import Effective, config_file, effective_settings, sync_if_changed
from routes.models import Route, RouteSecret, RouteVersion
from routes.services import effective_secrets, subscribe

pytestmark = pytest.mark.django_db

# The example of spec 001, whole.
EXAMPLE = """\
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


class Home:
    """A Hermes home on disk; every `write` is a change that a stat can see."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.yaml"
        self._tick = 1_700_000_000

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self._tick += 1
        os.utime(self.path, (self._tick, self._tick))

    def routes(self, text: str) -> None:
        """Write a file with these routes, given as the inside of the mapping."""
        lines = "".join(f"    {line}\n" for line in text.splitlines())
        self.write(f"platforms:\n  webhook:\n   routes:\n{lines}")

    def problems(self) -> list[str]:
        return [str(problem) for problem in config_file().problems]


@pytest.fixture
def home(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Home:
    settings.HERMES_HOME = str(tmp_path)
    for name in ("ENABLED", "PORT", "SECRET", "RATE_LIMIT", "MAX_BODY_BYTES"):
        monkeypatch.delenv(f"WEBHOOK_{name}", raising=False)
    monkeypatch.setattr(config_files, "_synced", (("", -1, -1, -1), None))  # a new process
    return Home(tmp_path)


def names() -> set[str]:
    return set(Route.objects.values_list("name", flat=True))


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
        monkeypatch.setattr(config_files, "_synced", (("", -1, -1, -1), None))
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
        home.routes("a: {prompt: x, filters: [], script: y}")
        sync_if_changed()
        assert home.problems() == ["route a: has no effect here: filters, script"]
        assert names() == {"a"}

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


class TestSettings:
    def test_without_a_file_they_are_those_of_the_environment(self, home: Home) -> None:
        assert effective_settings() == Effective(True, 8644, "", 30, 1_048_576)

    def test_the_file_gives_what_the_environment_does_not(
        self, home: Home, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        monkeypatch.setenv("WEBHOOK_PORT", "9000")
        monkeypatch.setenv("WEBHOOK_SECRET", "")
        settings.WEBHOOK_PORT = 9000
        home.write(
            "platforms: {webhook: {enabled: false, port: 1, rate_limit: 10,\n"
            "  extra: {rate_limit: 60, secret: from-file, max_body_bytes: 2097152}}}"
        )
        assert effective_settings() == Effective(False, 9000, "from-file", 60, 2_097_152)

    def test_a_value_of_the_wrong_type_is_left_out_and_named(self, home: Home) -> None:
        home.write("platforms: {webhook: {port: abc, secret: 7, enabled: 1, rate_limit: -1}}")
        assert effective_settings() == Effective(True, 8644, "", 30, 1_048_576)
        assert len(home.problems()) == 4
        assert home.problems()[0].startswith("config.yaml: ")

    def test_a_change_of_a_setting_reaches_the_receive_path(self, home: Home) -> None:
        home.write("platforms: {webhook: {rate_limit: 10}}")
        sync_if_changed()
        before = RouteVersion.objects.get().version
        home.write("platforms: {webhook: {rate_limit: 20}}")
        effective_settings()  # somebody else in this process looked first
        sync_if_changed()
        assert RouteVersion.objects.get().version > before
