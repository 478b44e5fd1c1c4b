"""Channels that the environment makes, by the variables that hermes-agent has for them."""

import pytest
from django.db import connection

from platforms.home_channels import (
    MARK,
    Variables,
    adopt_home_channels,
    is_from_environment,
    platform_variables,
    sync_home_channels,
)
from platforms.models import Channel
from platforms.registry import senders
from platforms.services import channel_for, save_config

TOKEN = "700000001:" + "a" * 35
OTHER = "700000002:" + "b" * 35
TELEGRAM = {
    "TELEGRAM_BOT_TOKEN": TOKEN,
    "TELEGRAM_HOME_CHANNEL": "-1001234567890",
    "TELEGRAM_HOME_CHANNEL_THREAD_ID": "42",
}
WITH_SENDER = [kind for kind in platform_variables() if kind in senders()]


# A home as it might be, for each platform: variables, and what becomes of them.
HOMES: dict[str, dict[str, str]] = {
    "telegram": TELEGRAM,
    "discord": {
        "DISCORD_BOT_TOKEN": "MTIz" + "x" * 22 + ".Gabcde." + "y" * 38,
        "DISCORD_HOME_CHANNEL": "123456789012345678",
    },
    "slack": {
        "SLACK_BOT_TOKEN": "xoxb-1234567890-" + "z" * 24,
        "SLACK_HOME_CHANNEL": "C0123456789",
    },
    "mattermost": {
        "MATTERMOST_URL": "https://chat.example.com",
        "MATTERMOST_TOKEN": "a1b2c3d4e5f6g7h8i9j0k1l2m3",
        "MATTERMOST_HOME_CHANNEL": "abcdefghijklmnopqrstuvwxyz",
    },
    "matrix": {
        "MATRIX_HOMESERVER": "https://matrix.example.com",
        "MATRIX_ACCESS_TOKEN": "syt_" + "t" * 40,
        "MATRIX_HOME_ROOM": "!room:example.com",
    },
    "homeassistant": {
        "HASS_URL": "http://192.168.1.10:8123",
        "HASS_TOKEN": "eyJ0.eyJp." + "h" * 40,
    },
    "email": {
        "EMAIL_ADDRESS": "hermes@example.com",
        "EMAIL_PASSWORD": "app-password",
        "EMAIL_SMTP_HOST": "smtp.example.com",
        "EMAIL_HOME_ADDRESS": "ops@example.com",
    },
    "sms": {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "1" * 32,
        "TWILIO_PHONE_NUMBER": "+15005550006",
        "SMS_HOME_CHANNEL": "+15005550009",
    },
    "signal": {
        "SIGNAL_HTTP_URL": "http://192.168.1.10:8080",
        "SIGNAL_ACCOUNT": "+15005550006",
        "SIGNAL_HOME_CHANNEL": "+15005550009",
    },
    "feishu": {
        "FEISHU_APP_ID": "cli_a1b2c3d4e5f6a7b8",
        "FEISHU_APP_SECRET": "s" * 32,
        "FEISHU_DOMAIN": "lark",
        "FEISHU_HOME_CHANNEL": "oc_" + "a" * 32,
    },
    "bluebubbles": {
        "BLUEBUBBLES_SERVER_URL": "http://192.168.1.10:1234",
        "BLUEBUBBLES_PASSWORD": "password",
        "BLUEBUBBLES_HOME_CHANNEL": "iMessage;-;+15005550009",
    },
    "qqbot": {
        "QQ_APP_ID": "102000001",
        "QQ_CLIENT_SECRET": "q" * 32,
        "QQ_HOME_CHANNEL": "c2c:" + "A" * 32,
    },
}


def telegram() -> Channel:
    return Channel.objects.get(name="telegram")


@pytest.mark.parametrize("kind", WITH_SENDER)
def test_every_variable_leads_to_a_field_of_its_sender(kind: str) -> None:
    variables = platform_variables()[kind]
    assert set(variables.config) <= set(senders()[kind].Config.base_fields)
    assert set(variables.home) <= set(senders()[kind].Home.base_fields)


@pytest.mark.parametrize("variables", platform_variables().values(), ids=lambda one: one.kind)
def test_what_is_needed_is_used(variables: Variables) -> None:
    used = {name for names in variables.config.values() for name in names}
    assert variables.instead or set(variables.needed) <= used


@pytest.mark.django_db
class TestMade:
    def test_a_token_and_a_home_make_a_channel_of_the_platform_s_name(self) -> None:
        assert sync_home_channels(TELEGRAM) == []
        channel = telegram()
        assert channel.kind == "telegram"
        assert channel.config == {"bot_token": TOKEN, MARK: True}
        assert channel.home == {"chat_id": "-1001234567890", "message_thread_id": "42"}
        assert is_from_environment(channel)
        assert channel_for("telegram") == channel

    def test_its_token_is_encrypted_as_every_other_is(self) -> None:
        sync_home_channels(TELEGRAM)
        with connection.cursor() as cursor:
            cursor.execute("SELECT config FROM platforms_channel WHERE name = 'telegram'")
            assert TOKEN not in str(cursor.fetchone()[0])

    @pytest.mark.parametrize("kind", [kind for kind in HOMES if kind in senders()])
    def test_each_platform_is_made_of_its_own_variables(self, kind: str) -> None:
        variables = platform_variables()[kind]
        assert sync_home_channels(HOMES[kind]) == []
        channel = Channel.objects.get(name=kind)
        for fields, kept in ((variables.config, channel.config), (variables.home, channel.home)):
            for field, sources in fields.items():
                value = next((HOMES[kind][name] for name in sources if name in HOMES[kind]), None)
                if value is not None:
                    assert str(kept[field]) == value

    def test_variables_that_are_of_no_use_here_are_named_with_the_way_out(self) -> None:
        [fault] = sync_home_channels({"WECOM_BOT_ID": "bot", "WECOM_SECRET": "hidden"})
        assert fault.startswith("WECOM_BOT_ID, WECOM_SECRET: ")
        assert "add a wecom channel" in fault
        Channel.objects.create(name="wecom", kind="wecom")
        assert sync_home_channels({"WECOM_BOT_ID": "bot", "WECOM_SECRET": "hidden"}) == []

    def test_so_are_those_of_a_platform_that_there_is_not(self) -> None:
        [fault] = sync_home_channels({"WEIXIN_ACCOUNT_ID": "me@im.bot", "WEIXIN_TOKEN": "hidden"})
        assert fault.startswith("WEIXIN_ACCOUNT_ID, WEIXIN_TOKEN: ")
        assert "add a webhook channel" in fault
        assert "hidden" not in fault

    def test_without_what_is_needed_none_is_made(self) -> None:
        assert sync_home_channels({"TELEGRAM_HOME_CHANNEL": "1", "TELEGRAM_BOT_TOKEN": ""}) == []
        assert not Channel.objects.filter(kind="telegram").exists()

    def test_a_value_that_can_not_be_one_is_named_and_not_shown(self) -> None:
        [fault] = sync_home_channels({"TELEGRAM_BOT_TOKEN": "hidden-value"})
        assert fault.startswith("TELEGRAM_BOT_TOKEN: ")
        assert "the telegram channel is left out" in fault
        assert "hidden-value" not in fault
        assert not Channel.objects.filter(kind="telegram").exists()

    def test_a_home_that_can_not_be_one_leaves_the_channel_without(self) -> None:
        [fault] = sync_home_channels({**TELEGRAM, "TELEGRAM_HOME_CHANNEL": "nowhere at all"})
        assert fault.startswith("TELEGRAM_HOME_CHANNEL: ")
        assert telegram().home == {"message_thread_id": "42"}

    def test_one_that_needs_no_credential_is_made_for_a_route_that_names_it(self) -> None:
        sync_home_channels({"GITHUB_TOKEN": "ghp_1"})
        assert not Channel.objects.filter(kind="github_comment").exists()
        sync_home_channels({}, wanted={"github_comment"})
        channel = Channel.objects.get(name="github_comment")
        assert channel.config == {"defuse_mentions": True, MARK: True}
        sync_home_channels({"GITHUB_TOKEN": "ghp_1"}, wanted={"github_comment"})
        channel = Channel.objects.get(name="github_comment")
        assert channel.config["token"] == "ghp_1"


@pytest.mark.django_db
class TestChanged:
    def test_new_values_change_it_and_the_same_ones_do_not(self) -> None:
        sync_home_channels(TELEGRAM)
        version = telegram().lane.version
        sync_home_channels(TELEGRAM)
        assert telegram().lane.version == version
        sync_home_channels({**TELEGRAM, "TELEGRAM_BOT_TOKEN": OTHER})
        assert telegram().config["bot_token"] == OTHER
        assert telegram().lane.version > version

    def test_values_that_are_gone_change_nothing(self) -> None:
        sync_home_channels(TELEGRAM)
        sync_home_channels({})
        assert telegram().config["bot_token"] == TOKEN

    def test_one_that_a_person_made_stays_as_it_is(self) -> None:
        save_config(Channel(name="telegram", kind="telegram"), {"bot_token": OTHER}, {})
        assert sync_home_channels(TELEGRAM) == []
        assert telegram().config == {"bot_token": OTHER}

    def test_one_that_a_person_saved_is_theirs_from_then_on(self) -> None:
        sync_home_channels(TELEGRAM)
        channel = telegram()
        channel.enabled = False
        save_config(channel, {"bot_token": ""}, {"chat_id": "7"})
        assert not is_from_environment(telegram())
        sync_home_channels({**TELEGRAM, "TELEGRAM_BOT_TOKEN": OTHER})
        assert telegram().config == {"bot_token": TOKEN}
        assert (telegram().enabled, telegram().home) == (False, {"chat_id": "7"})

    def test_another_channel_of_the_platform_keeps_it_from_being_made(self) -> None:
        """`deliver: telegram` means the only one there is; a second would change what it means."""
        ops = Channel.objects.create(name="ops", kind="telegram")
        [left_out] = sync_home_channels(TELEGRAM)
        assert "there is a telegram channel already, “ops”" in left_out
        assert channel_for("telegram") == ops

    def test_adopted_they_are_the_operator_s(self) -> None:
        sync_home_channels(TELEGRAM)
        assert adopt_home_channels() == ["telegram"]
        assert telegram().config == {"bot_token": TOKEN}
        assert adopt_home_channels() == []
