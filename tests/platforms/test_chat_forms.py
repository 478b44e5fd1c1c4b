"""The admin's form of the chat platforms: from the fields to a connection that was tested."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from platforms.models import Channel

from . import test_discord, test_homeassistant, test_matrix, test_mattermost, test_slack
from .fake import Answer, FakePlatform
from .mail_server import Mailbox, mail_server

pytestmark = pytest.mark.django_db

ADD = "/admin/platforms/channel/add/"
# By platform: the field of the address, that of the secret, the secret, the home, what a check
# is answered with.
PLATFORMS: dict[str, tuple[str, str, str, dict[str, str], list[Answer]]] = {
    "slack": (
        "api_base",
        "bot_token",
        test_slack.TOKEN,
        {"chat_id": test_slack.CHANNEL, "thread_id": "1731200000.123456"},
        [Answer.json(200, {"ok": True, "user": "hermes", "team": "Acme"})],
    ),
    "discord": (
        "api_base",
        "bot_token",
        test_discord.TOKEN,
        {"chat_id": test_discord.CHANNEL},
        [Answer.json(200, {"id": "1", "username": "hermes"}), test_discord.OK],
    ),
    "mattermost": (
        "url",
        "token",
        test_mattermost.TOKEN,
        {"chat_id": test_mattermost.CHANNEL},
        [
            Answer.json(200, {"id": "u", "username": "hermes"}),
            Answer.json(200, {"id": "c", "display_name": "Alerts"}),
        ],
    ),
    "matrix": (
        "homeserver",
        "access_token",
        test_matrix.TOKEN,
        {"chat_id": test_matrix.ROOM},
        [test_matrix.ME, test_matrix.JOINED, test_matrix.no(404, "M_NOT_FOUND")],
    ),
    "homeassistant": (
        "url",
        "token",
        test_homeassistant.TOKEN,
        {"service": "notify.mobile_app_phone"},
        [test_homeassistant.RUNS, test_homeassistant.SERVICES],
    ),
}


def filled(kind: str, address: str, secret: str) -> dict[str, Any]:
    """Return what a person posts for a channel of a platform."""
    address_field, secret_field, _secret, home, _answers = PLATFORMS[kind]
    return {
        "name": "ops",
        "enabled": "on",
        f"config-{address_field}": address,
        f"config-{secret_field}": secret,
        **{f"home-{name}": value for name, value in home.items()},
    }


@pytest.fixture(params=PLATFORMS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ops(admin_client: Client, fake: FakePlatform, kind: str) -> Channel:
    response = admin_client.post(f"{ADD}?kind={kind}", filled(kind, fake.url, PLATFORMS[kind][2]))
    assert response.status_code == 302, response.context["errors"]
    return Channel.objects.get(name="ops")


def page(channel: Channel, name: str = "change") -> str:
    return reverse(f"admin:platforms_channel_{name}", args=[channel.pk])


def test_a_channel_is_added_and_its_connection_tested(
    admin_client: Client, fake: FakePlatform, kind: str, ops: Channel
) -> None:
    address_field, secret_field, secret, home, answers = PLATFORMS[kind]
    assert ops.kind == kind
    assert ops.config[secret_field] == secret
    assert ops.config[address_field] == fake.url
    assert ops.home == home

    fake.script(*answers)
    asked = admin_client.get(page(ops, "test")).content.decode()
    assert fake.url in asked
    told = admin_client.post(page(ops, "test"), follow=True).content.decode()
    assert "“ops” works" in told
    assert secret not in asked + told


def test_a_stored_secret_is_not_shown_and_stays(
    admin_client: Client, fake: FakePlatform, kind: str, ops: Channel
) -> None:
    _address, secret_field, secret, _home, _answers = PLATFORMS[kind]
    assert secret not in admin_client.get(page(ops)).content.decode()
    response = admin_client.post(page(ops), filled(kind, fake.url, ""))
    assert response.status_code == 302
    ops.refresh_from_db()
    assert ops.config[secret_field] == secret


def test_a_stored_secret_never_goes_to_an_address_it_was_not_entered_for(
    admin_client: Client, fake: FakePlatform, kind: str, ops: Channel
) -> None:
    address_field, secret_field, secret, _home, _answers = PLATFORMS[kind]
    elsewhere = fake.url.replace("127.0.0.1", "localhost")
    admin_client.post(page(ops), filled(kind, elsewhere, ""))
    ops.refresh_from_db()
    assert (ops.config.get(address_field), ops.config.get(secret_field)) != (elsewhere, secret)


def test_mail_is_set_up_and_its_connection_tested(admin_client: Client, settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    with mail_server(Mailbox()) as mailbox:
        form = {
            "name": "mail",
            "enabled": "on",
            "config-address": "hermes@example.com",
            "config-smtp_host": "127.0.0.1",
            "config-smtp_port": str(mailbox.port),
            "config-security": "none",
            "config-password": "app password",
            "home-chat_id": "ops@example.org, dev@example.org",
        }
        assert admin_client.post(f"{ADD}?kind=email", form).status_code == 302
        mail = Channel.objects.get(name="mail")
        assert mail.config["smtp_port"] == mailbox.port
        asked = admin_client.get(page(mail, "test")).content.decode()
        assert f"127.0.0.1:{mailbox.port}" in asked
        told = admin_client.post(page(mail, "test"), follow=True).content.decode()
    assert "“mail” works" in told
    assert "app password" not in admin_client.get(page(mail)).content.decode()
