"""Subscriptions, secrets and signed samples."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.utils import timezone
from pytest_django import Settings

from agents.models import Agent
from platforms.models import Channel
from routes.models import Route, RouteSecret
from routes.services import (
    LOG,
    Target,
    effective_secrets,
    remove,
    rotate_secret,
    subscribe,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def telegram() -> Channel:
    return Channel.objects.create(name="ops-chat", kind="telegram")


def to(deliver: str, **extra: str) -> list[Target]:
    return [Target(deliver, extra)]


def refused(**kwargs: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        subscribe(**kwargs)
    assert not Route.objects.exists()
    return caught.value.message_dict


class TestSubscribe:
    def test_a_new_one_gets_a_secret_that_is_shown_once(self) -> None:
        route, created, secret = subscribe("github-issues", events=["issues", " push ", ""])
        assert created
        assert secret is not None
        assert len(secret) >= 43
        assert effective_secrets(route) == [secret]
        assert route.origin == Route.Origin.DYNAMIC
        assert route.events == ["issues", "push"]
        assert route.description == "Agent-created subscription: github-issues"
        assert route.deliver == "log"
        assert subscribe("github-issues").secret is None

    @pytest.mark.parametrize(
        ("given", "name"), [("  GitHub Issues ", "github-issues"), ("a_b-1", "a_b-1"), ("0", "0")]
    )
    def test_the_name_is_made_fit(self, given: str, name: str) -> None:
        assert subscribe(given).route.name == name

    @pytest.mark.parametrize("name", ["", " ", "-a", "_a", "a/b", "a:b", "a.b", "名", "a" * 65])
    def test_a_name_that_can_not_be_made_fit_is_refused(self, name: str) -> None:
        assert "name" in refused(name=name)

    def test_the_target_is_a_channel_or_the_only_one_of_its_platform(
        self, telegram: Channel
    ) -> None:
        for deliver in ("ops-chat", "telegram"):
            route = subscribe(deliver, targets=to(deliver, chat_id="-100123")).route
            assert route.deliver == deliver
            assert route.deliver_extra == {"chat_id": "-100123"}

    def test_an_unknown_target_is_refused(self) -> None:
        assert "telegrm" in refused(name="a", targets=to("telegrm"))["deliver"][0]

    @pytest.mark.parametrize("deliver", ["log", "", " "])
    def test_a_direct_delivery_needs_a_real_target(self, deliver: str) -> None:
        assert "deliver" in refused(name="a", targets=to(deliver), deliver_only=True)

    def test_again_it_is_described_anew_and_keeps_its_secret(self, telegram: Channel) -> None:
        first = subscribe("a", events=["push"], prompt="old", targets=to("telegram"), skills=["x"])
        again = subscribe("a", prompt="new")
        route = Route.objects.get()
        assert not again.created
        assert again.secret is None
        assert effective_secrets(route) == [first.secret]
        assert (route.prompt, route.events, route.skills) == ("new", [], [])
        assert route.deliver == "log"

    def test_again_it_keeps_what_a_subscription_does_not_describe(self, telegram: Channel) -> None:
        subscribe("a", targets=to("telegram", chat_id="1"))
        route = Route.objects.get()
        route.enabled, route.rate_limit = False, 5
        route.deliver_extra["message_thread_id"] = "42"
        route.save()
        subscribe("a", targets=to("telegram", chat_id="2"))
        route.refresh_from_db()
        assert (route.enabled, route.rate_limit) == (False, 5)
        assert route.deliver_extra == {"chat_id": "2", "message_thread_id": "42"}

    def test_another_target_takes_nothing_of_the_old_one(self, telegram: Channel) -> None:
        subscribe("a", targets=to("telegram", chat_id="1"))
        assert subscribe("a").route.deliver_extra == {}

    def test_a_thread_that_is_named_is_the_one_that_counts(self, telegram: Channel) -> None:
        subscribe("a", targets=to("telegram"))
        Route.objects.update(deliver_extra={"message_thread_id": "42", "parse": "x"})
        route = subscribe("a", targets=to("telegram", thread_id="7")).route
        assert route.deliver_extra == {"thread_id": "7", "parse": "x"}

    def test_further_targets_are_kept_in_order(self, telegram: Channel) -> None:
        route = subscribe("a", targets=[*to("telegram"), *to(LOG), *to("ops-chat", x="y")]).route
        assert route.fan_out == [
            {"deliver": "log", "deliver_extra": {}},
            {"deliver": "ops-chat", "deliver_extra": {"x": "y"}},
        ]
        assert subscribe("a", targets=to("telegram")).route.fan_out == []

    @pytest.mark.parametrize("more", ["telegrm", "log"])
    def test_every_target_of_a_direct_delivery_is_a_real_one(
        self, telegram: Channel, more: str
    ) -> None:
        targets = [*to("telegram"), *to(more)]
        assert "deliver" in refused(name="a", targets=targets, deliver_only=True)

    def test_what_is_said_is_changed_and_the_rest_stays(self) -> None:
        agent = Agent.objects.create(name="reviewer")
        changes = {"filters": [{"field": "a", "exists": True}], "agent": "reviewer", "fence": False}
        subscribe("a", changes=changes)
        route = subscribe("a", changes={"conversation_key": "{n}"}).route
        assert route.filters == changes["filters"]
        assert (route.agent, route.fence, route.conversation_key) == (agent, False, "{n}")
        assert subscribe("a", changes={"agent": "", "filters": []}).route.agent is None

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"filters": [{"field": "a", "regex": "("}]}, "filters"),
            ({"filters": [{"in_file": "x"}]}, "filters"),
            ({"coalesce": {"window_seconds": 5}}, "coalesce"),
            ({"agent": "nobody"}, "agent"),
            ({"preset": "myspace"}, "preset"),
            ({"conversation_key": "x" * 256}, "conversation_key"),
        ],
    )
    def test_what_can_not_be_used_is_refused(self, changes: dict[str, Any], field: str) -> None:
        assert field in refused(name="a", changes=changes)

    def test_a_given_secret_ends_the_others_at_once(self) -> None:
        subscribe("a")
        assert subscribe("a", secret="from-github").secret == "from-github"
        assert effective_secrets(Route.objects.get()) == ["from-github"]

    def test_an_empty_secret_is_refused(self) -> None:
        assert "secret" in refused(name="a", secret=" ")

    def test_unsigned_requests_are_for_loopback_only(self, settings: Settings) -> None:
        settings.WEBHOOK_HOST = "0.0.0.0"
        assert "loopback" in refused(name="a", secret="INSECURE_NO_AUTH")["secret"][0]
        settings.WEBHOOK_HOST = " LOCALHOST "
        route, _created, secret = subscribe("a", secret="INSECURE_NO_AUTH")
        assert route.insecure_no_auth
        assert secret is None
        assert not RouteSecret.objects.exists()

    @pytest.mark.parametrize("origin", [Route.Origin.FILE, Route.Origin.ADMIN])
    def test_routes_made_elsewhere_are_left_alone(self, origin: str) -> None:
        Route.objects.create(name="a", origin=origin, prompt="theirs")
        for act in (subscribe, remove):
            with pytest.raises(ValidationError, match="there"):
                act("a")
        assert Route.objects.get().prompt == "theirs"


class TestRemove:
    def test_a_subscription_goes_with_its_secrets(self) -> None:
        subscribe("a")
        remove(" A ")
        assert not Route.objects.exists()
        assert not RouteSecret.objects.exists()

    def test_one_that_is_not_there_is_an_error(self) -> None:
        with pytest.raises(ValidationError, match="no subscription"):
            remove("a")


class TestSecrets:
    def test_after_a_rotation_both_count_until_the_overlap_ends(self) -> None:
        route, _created, old = subscribe("a")
        new = rotate_secret(route, timedelta(hours=1))
        assert effective_secrets(route) == [new, old]
        with time_machine.travel(timezone.now() + timedelta(hours=1, seconds=1)):
            assert effective_secrets(route) == [new]

    def test_a_secret_that_the_sender_dictates_is_taken_and_ends_unsigned_requests(self) -> None:
        route = Route.objects.create(name="a", insecure_no_auth=True)
        assert rotate_secret(route, timedelta(hours=1), "from-the-sender") == "from-the-sender"
        assert effective_secrets(route) == ["from-the-sender"]
        route.refresh_from_db()
        assert not route.insecure_no_auth

    def test_the_secret_of_a_file_route_is_changed_in_the_file(self) -> None:
        route = Route.objects.create(name="a", origin=Route.Origin.FILE)
        with pytest.raises(ValidationError, match=r"config\.yaml"):
            rotate_secret(route, timedelta(0))

    def test_a_route_without_its_own_has_the_global_one(self, settings: Settings) -> None:
        route = Route.objects.create(name="a")
        assert effective_secrets(route) == []
        settings.WEBHOOK_SECRET = "global"
        assert effective_secrets(route) == ["global"]
