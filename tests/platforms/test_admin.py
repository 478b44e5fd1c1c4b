import socket
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from django.urls import reverse

from deliveries.models import Lane
from platforms.models import Channel

from .fake import Answer, FakePlatform
from .test_telegram import TOKEN, no
from .test_webhook import SECRET

pytestmark = pytest.mark.django_db

ADD = "/admin/platforms/channel/add/"
ME = Answer.json(200, {"ok": True, "result": {"username": "hermes_bot"}})


@pytest.fixture
def ops() -> Channel:
    return Channel.objects.create(
        name="ops", kind="telegram", config={"bot_token": TOKEN}, home={"chat_id": "-5"}
    )


def page(channel: Channel, name: str = "change") -> str:
    return reverse(f"admin:platforms_channel_{name}", args=[channel.pk])


def form(**values: Any) -> dict[str, Any]:
    return {"name": "ops", "enabled": "on", "home-chat_id": "-5", **values}


def somebody(client: Client, *permissions: str) -> Client:
    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def test_adding_begins_with_a_platform(admin_client: Client) -> None:
    text = admin_client.get(ADD).content.decode()
    for kind in ("log", "webhook", "telegram", "github_comment"):
        assert f'href="?kind={kind}"' in text
    assert "Posts signed JSON" in text


def test_an_unknown_platform_cannot_be_added(admin_client: Client) -> None:
    assert "?kind=telegram" in admin_client.get(ADD, {"kind": "pigeon"}).content.decode()
    admin_client.post(f"{ADD}?kind=pigeon", form())
    assert not Channel.objects.filter(name="ops").exists()


def test_a_channel_is_added_by_its_platforms_form(admin_client: Client) -> None:
    text = admin_client.get(ADD, {"kind": "telegram"}).content.decode()
    assert "config-bot_token" in text
    response = admin_client.post(f"{ADD}?kind=telegram", form(**{"config-bot_token": TOKEN}))
    assert response.status_code == 302
    ops = Channel.objects.get(name="ops")
    assert (ops.kind, ops.config, ops.home) == (
        "telegram",
        {"bot_token": TOKEN},
        {"chat_id": "-5"},
    )
    assert Lane.objects.get(pk=ops.lane_id).label == "ops"


def test_a_wrong_field_says_what_is_wrong_once(admin_client: Client) -> None:
    response = admin_client.post(
        f"{ADD}?kind=telegram", form(**{"config-bot_token": "nonsense", "home-chat_id": "x y"})
    )
    text = response.content.decode()
    assert response.status_code == 200
    assert text.count("A bot token looks like") == 1
    assert text.count("groups begin with -") == 1
    assert "nonsense" not in text


def test_a_secret_is_required_the_first_time(admin_client: Client) -> None:
    response = admin_client.post(f"{ADD}?kind=telegram", form())
    assert "config-bot_token" in response.context["errors"].as_data() or b"required" in (
        response.content
    )
    assert not Channel.objects.filter(name="ops").exists()


def test_a_stored_secret_is_never_shown_and_stays_when_left_empty(
    admin_client: Client, ops: Channel
) -> None:
    text = admin_client.get(page(ops)).content.decode()
    assert TOKEN not in text
    assert "One is stored" in text
    assert 'value="-5"' in text
    response = admin_client.post(page(ops), form(**{"home-chat_id": "-6"}))
    assert response.status_code == 302
    ops.refresh_from_db()
    assert (ops.config, ops.home) == ({"bot_token": TOKEN}, {"chat_id": "-6"})


def test_a_secret_is_not_shown_again_after_a_mistake(admin_client: Client, ops: Channel) -> None:
    other = TOKEN[:-2] + "zz"
    response = admin_client.post(
        page(ops), form(**{"config-bot_token": other, "home-chat_id": "x y"})
    )
    text = response.content.decode()
    assert response.status_code == 200
    assert TOKEN not in text
    assert other not in text


def test_the_history_tells_the_field_and_not_the_secret(admin_client: Client, ops: Channel) -> None:
    other = TOKEN[:-2] + "zz"
    admin_client.post(page(ops), form(**{"config-bot_token": other}))
    entry = LogEntry.objects.latest("pk")
    assert "Bot token" in entry.get_change_message()
    assert other not in entry.change_message


def test_a_stored_secret_does_not_follow_to_a_new_address(
    admin_client: Client, ops: Channel, settings: Any
) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    moved = form(**{"config-api_base": "http://127.0.0.1:9/"})
    response = admin_client.post(page(ops), moved)
    assert "The address has changed" in response.content.decode()
    ops.refresh_from_db()
    assert ops.config == {"bot_token": TOKEN}
    admin_client.post(page(ops), {**moved, "config-bot_token": TOKEN})
    ops.refresh_from_db()
    assert ops.config["api_base"] == "http://127.0.0.1:9"


def test_credentials_do_not_go_out_in_clear_text(admin_client: Client, ops: Channel) -> None:
    response = admin_client.post(
        page(ops),
        form(**{"config-api_base": "http://example.com/", "config-bot_token": TOKEN}),
    )
    assert "Use https" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_the_database_while_an_address_is_looked_up(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = connections["default"]
    in_transaction: list[bool] = []

    def look_up(*args: Any, **kwargs: Any) -> Any:
        in_transaction.append(ours.in_atomic_block)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    values = {"name": "hook", "enabled": "on", "config-url": "https://hook.example/in"}
    admin_client.post(f"{ADD}?kind=webhook", values)
    hook = Channel.objects.get(name="hook")
    admin_client.post(page(hook), {**values, "config-url": "https://hook.example/new"})
    hook.refresh_from_db()
    assert hook.config["url"] == "https://hook.example/new"
    assert in_transaction
    assert not any(in_transaction)


def test_a_generated_signing_secret_is_shown_once(admin_client: Client, settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    values = {"name": "hook", "enabled": "on", "config-url": "http://127.0.0.1:9/in"}
    response = admin_client.post(f"{ADD}?kind=webhook", values)
    hook = Channel.objects.get(name="hook")
    secret = hook.config["secret"]
    assert secret in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert secret not in admin_client.get(page(hook)).content.decode()

    response = admin_client.post(page(hook), {**values, "config-new_secret": "on"})
    hook.refresh_from_db()
    assert hook.config["secret"] in response.content.decode()
    assert hook.config["previous_secret"] == secret
    assert secret not in LogEntry.objects.latest("pk").change_message


def test_a_typed_signing_secret_is_not_shown(admin_client: Client, settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    values = {"name": "hook", "config-url": "http://127.0.0.1:9/in", "config-secret": SECRET}
    response = admin_client.post(f"{ADD}?kind=webhook", values)
    assert response.status_code == 302


def test_the_list_shows_states_and_homes(admin_client: Client, ops: Channel) -> None:
    Channel.objects.create(name="off", kind="log", enabled=False)
    Channel.objects.filter(pk=ops.pk).update(health="needs_attention")
    text = admin_client.get(reverse("admin:platforms_channel_changelist")).content.decode()
    assert 'class="state state-warn"' in text
    assert 'class="state state-idle"' in text
    assert "Telegram" in text
    assert TOKEN not in text


def test_a_channel_that_needs_attention_says_why(admin_client: Client, ops: Channel) -> None:
    Channel.objects.filter(pk=ops.pk).update(
        health="needs_attention", health_reason="HTTP 401: <b>Unauthorized</b>"
    )
    text = admin_client.get(page(ops)).content.decode()
    assert "HTTP 401: &lt;b&gt;Unauthorized&lt;/b&gt;" in text
    assert page(ops, "test") in text


def test_a_channel_of_an_unknown_platform_can_be_seen_and_kept(admin_client: Client) -> None:
    pigeon = Channel.objects.create(name="pigeon", kind="pigeon", config={"a": "b"})
    assert "platforms/senders" in admin_client.get(page(pigeon)).content.decode()
    admin_client.post(page(pigeon), {"name": "dove"})
    pigeon.refresh_from_db()
    assert (pigeon.name, pigeon.config, pigeon.enabled) == ("dove", {"a": "b"}, False)


@pytest.mark.parametrize("path", ["x/change/", "999/change/", "x/test/", "999/test/"])
def test_a_channel_that_is_not_there_is_no_server_error(admin_client: Client, path: str) -> None:
    assert admin_client.get(f"/admin/platforms/channel/{path}").status_code in (302, 404)


def test_testing_is_explained_first(admin_client: Client, ops: Channel, fake: FakePlatform) -> None:
    text = admin_client.get(page(ops, "test")).content.decode()
    assert "getMe" in text
    assert fake.url in text
    assert fake.requests == []


def test_testing_calls_and_says_what_came_of_it(
    admin_client: Client, ops: Channel, fake: FakePlatform
) -> None:
    Channel.objects.filter(pk=ops.pk).update(health="needs_attention")
    fake.script(ME, Answer.json(200, {"ok": True, "result": {"title": "Ops"}}))
    text = admin_client.post(page(ops, "test"), follow=True).content.decode()
    assert "works: The bot is @hermes_bot" in text
    ops.refresh_from_db()
    assert ops.health == "ok"
    assert "Connection tested" in LogEntry.objects.get().change_message


def test_a_test_without_success_is_an_error_message(
    admin_client: Client, ops: Channel, fake: FakePlatform
) -> None:
    fake.script(no(401, "Unauthorized"))
    text = admin_client.post(page(ops, "test"), follow=True).content.decode()
    assert "was tested without success" in text
    assert 'class="error"' in text
    assert TOKEN not in LogEntry.objects.get().change_message


def test_testing_needs_its_own_permission(client: Client, ops: Channel, fake: FakePlatform) -> None:
    somebody(client, "view_channel", "change_channel")
    assert client.post(page(ops, "test")).status_code == 403
    assert page(ops, "test") not in client.get(page(ops)).content.decode()
    assert fake.requests == []


def test_with_it_who_may_look_may_test(client: Client, ops: Channel, fake: FakePlatform) -> None:
    somebody(client, "view_channel", "test_channel")
    fake.script(no(401, "Unauthorized"))
    assert client.post(page(ops, "test")).status_code == 302
    assert len(fake.requests) == 1


def test_who_may_only_look_sees_no_configuration(client: Client, ops: Channel) -> None:
    somebody(client, "view_channel")
    text = client.get(page(ops)).content.decode()
    assert "ops" in text
    assert TOKEN not in text
    assert client.post(page(ops), form()).status_code == 403


def test_who_may_not_add_is_not_asked_for_a_platform(client: Client) -> None:
    somebody(client, "view_channel")
    assert client.get(ADD).status_code == 403


@pytest.mark.parametrize("name", ["change", "test", "history", "delete"])
def test_no_page_carries_what_the_policy_refuses(
    admin_client: Client, ops: Channel, name: str
) -> None:
    text = admin_client.get(page(ops, name)).content.decode()
    assert "style=" not in text
    assert "<script>" not in text


def test_deleting_several_tells_each_lane(admin_client: Client, ops: Channel) -> None:
    before = Lane.objects.get(pk=ops.lane_id).version
    values = {"action": "delete_selected", "_selected_action": [ops.pk], "post": "yes"}
    admin_client.post(reverse("admin:platforms_channel_changelist"), values)
    assert not Channel.objects.filter(pk=ops.pk).exists()
    assert Lane.objects.get(pk=ops.lane_id).version == before + 1


def test_what_changes_a_stored_secret_is_not_asked_before_there_is_one(
    admin_client: Client,
) -> None:
    hook = Channel.objects.create(name="hook", kind="webhook", config={"secret": SECRET})
    assert "new_secret" not in admin_client.get(ADD, {"kind": "webhook"}).content.decode()
    assert "new_secret" in admin_client.get(page(hook)).content.decode()
