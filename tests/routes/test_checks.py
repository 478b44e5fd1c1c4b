"""The checks that stop a start."""

from pathlib import Path

import pytest
from django.core.checks import CheckMessage
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from pytest_django import DjangoAssertNumQueries, Settings

from platforms.models import Channel
from routes.checks import check_routes
from routes.models import Route, RouteSecret

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _on_loopback(settings: Settings) -> None:
    settings.WEBHOOK_HOST = "127.0.0.1"


def route(name: str = "a", *, secret: str = "s", **fields: object) -> Route:
    made = Route.objects.create(name=name, **fields)
    if secret:
        RouteSecret.objects.create(route=made, value=secret)
    return made


def found() -> list[CheckMessage]:
    return check_routes(databases=["default"])


def ids() -> list[str | None]:
    return [message.id for message in found()]


def test_good_routes_pass() -> None:
    Channel.objects.create(name="ops", kind="telegram")
    route("a")
    route("b", deliver="ops", deliver_only=True)
    route("c", secret="", insecure_no_auth=True)
    assert found() == []


class TestSecrets:
    def test_every_route_without_one_is_named(self) -> None:
        route("first", secret="")
        route("second", secret="")
        assert [message.obj for message in found()] == ["first", "second"]
        assert "Route first has no secret." in found()[0].msg
        assert set(ids()) == {"routes.E001"}

    def test_the_global_secret_is_enough(self, settings: Settings) -> None:
        settings.WEBHOOK_SECRET = "global"
        route(secret="")
        assert found() == []

    def test_a_disabled_route_needs_none(self) -> None:
        route(secret="", enabled=False)
        assert found() == []

    def test_an_empty_one_in_the_file_is_not_covered_by_the_global_one(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        settings.WEBHOOK_SECRET = "global"
        settings.HERMES_HOME = str(tmp_path)
        (tmp_path / "config.yaml").write_text(
            "platforms: {webhook: {routes: {empty: {secret: ''}, broken: 7}}}"
        )
        assert [(message.id, message.obj) for message in found()] == [
            ("routes.E001", "empty"),
            ("routes.W002", "broken"),
        ]

    def test_one_that_the_source_can_not_have_issued_is_an_error(self) -> None:
        route(preset="gitlab_signed", secret="whsec_not base64 at all")
        assert ids() == ["routes.E005"]
        assert "not base64 at all" not in str(found()[0])

    def test_the_start_is_refused_by_name(self) -> None:
        route("github-pr", secret="")
        with pytest.raises(SystemCheckError, match="Route github-pr has no secret"):
            call_command("check", databases=["default"])


class TestUnsigned:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "", "example.org"])
    def test_on_a_public_address_it_is_an_error(self, settings: Settings, host: str) -> None:
        settings.WEBHOOK_HOST = host
        route(secret="", insecure_no_auth=True)
        assert ids() == ["routes.E002"]

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "::1", "ip6-localhost", "ip6-loopback", " LocalHost "]
    )
    def test_on_loopback_it_is_allowed(self, settings: Settings, host: str) -> None:
        settings.WEBHOOK_HOST = host
        route(secret="", insecure_no_auth=True)
        assert found() == []

    def test_as_the_global_secret_it_opens_every_route_without_its_own(
        self, settings: Settings
    ) -> None:
        settings.WEBHOOK_HOST = "0.0.0.0"
        settings.WEBHOOK_SECRET = "INSECURE_NO_AUTH"
        route("own")
        route("open", secret="")
        assert [(message.id, message.obj) for message in found()] == [("routes.E002", "open")]


@pytest.mark.parametrize("deliver", ["log", ""])
def test_a_direct_delivery_to_nowhere_is_an_error(deliver: str) -> None:
    route(deliver=deliver, deliver_only=True)
    assert ids() == ["routes.E003"]


def test_an_unknown_target_is_an_error() -> None:
    route(deliver="telegrm")
    assert ids() == ["routes.E004"]


@pytest.mark.parametrize(
    ("fan_out", "wrong"),
    [
        ([{"deliver": "log"}], "routes.E003"),
        ([{"deliver": "telegrm", "deliver_extra": {}}], "routes.E004"),
        ([{"deliver": ""}], "routes.E006"),
        (["ops"], "routes.E006"),
        ([{"deliver": "ops", "deliver_extra": []}], "routes.E006"),
        ({"deliver": "ops"}, "routes.E006"),
    ],
)
def test_every_further_target_is_checked_too(fan_out: object, wrong: str) -> None:
    Channel.objects.create(name="ops", kind="telegram")
    route(deliver="ops", deliver_only=True, fan_out=fan_out)
    assert ids() == [wrong]


def test_filters_that_can_not_be_used_are_an_error_with_their_path() -> None:
    route(filters=[{"all": [{"field": "a", "regex": "("}]}])
    [message] = found()
    assert message.id == "routes.E006"
    assert "filters[0].all[0].regex" in message.msg


def test_coalescing_that_can_not_be_is_an_error() -> None:
    route(coalesce={"window_seconds": 5})
    assert ids() == ["routes.E006"]


def test_filters_that_config_yaml_has_wrong_stop_the_start(
    settings: Settings, tmp_path: Path
) -> None:
    settings.HERMES_HOME = str(tmp_path)
    (tmp_path / "config.yaml").write_text(
        "webhooks: {routes: {a: {secret: s, filters: {field: x, regex: '('}}}}"
    )
    with pytest.raises(SystemCheckError, match=r"Route a can't be used: filters"):
        call_command("check", databases=["default"])


def test_an_unknown_source_is_a_warning() -> None:
    route(preset="myspace")
    assert ids() == ["routes.W001"]


def test_only_checks_of_the_database_ask_it(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    route(secret="")
    with django_assert_num_queries(0):
        assert check_routes() == []
        call_command("check")


def test_a_webhook_command_can_mend_what_the_checks_refuse() -> None:
    route("github-pr", secret="", origin=Route.Origin.DYNAMIC)
    call_command("webhook", "subscribe", "github-pr", "--secret", "s")
    assert found() == []
    with pytest.raises(CommandError):
        call_command("webhook", "remove", "other")
