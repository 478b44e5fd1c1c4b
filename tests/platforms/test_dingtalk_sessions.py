"""Session webhooks: what is believed of one, how long, and when somebody is told."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from platforms.dingtalk import API_BASE, sessions
from platforms.dingtalk.callbacks import Callback, Unreadable, read_callback
from platforms.models import Channel, SessionWebhook

from .dingtalk import CLIENT_ID, SECRET

pytestmark = pytest.mark.django_db

FIXTURES = Path(__file__).parents[1] / "fixtures" / "dingtalk"
NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # createAt of the fixtures
STREAM = uuid4()


def document(name: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / f"callback__{name}.json").read_text())
    return {**found, **changes}


def callback(name: str, **changes: Any) -> Callback:
    return read_callback(document(name, **changes))


@pytest.fixture
def channel() -> Channel:
    config = {"client_id": CLIENT_ID, "client_secret": SECRET}
    return Channel.objects.create(name="ding", kind="dingtalk", config=config)


def note(channel: Channel, said: Callback, now: datetime = NOW, stream: Any = STREAM) -> Any:
    sessions.note(channel.pk, API_BASE, said, stream, now)
    return SessionWebhook.objects.get(channel=channel, conversation_id=said.chat_id)


# -- callbacks ----------------------------------------------------------------------------


def test_a_private_message_is_read() -> None:
    said = callback("private_text")
    assert (said.is_group, said.title, said.staff_id) == (False, "小林", "manager7788")
    message = said.as_chat_message()
    assert message.text == "What failed last night? 昨晚哪里失败了？"
    assert message.chat == "dingtalk:cidPrivate0123456789abcdEFGH=="
    assert message.sender_id == "dingtalk:manager7788"
    assert message.target == {"chat_id": "cidPrivate0123456789abcdEFGH=="}


def test_a_group_message_loses_the_space_of_its_mention() -> None:
    said = callback("group_text")
    assert (said.is_group, said.title, said.text) == (True, "值班群 On call", "status please")


def test_an_outsider_is_known_by_the_opaque_id() -> None:
    said = callback("outsider_rich_text")
    assert said.staff_id == ""
    assert said.as_chat_message().sender_id == "dingtalk:$:LWCP_v1:$Zz11Yy22Xx33Ww44Vv55Uu=="
    assert said.text == "See this: [picture]\nwhat is it?"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"msgtype": "picture", "content": {"downloadCode": "x"}}, "[picture]"),
        ({"msgtype": "audio", "content": {"recognition": "你好"}}, "你好"),
        ({"msgtype": "audio", "content": {}}, "[voice message]"),
        ({"msgtype": "video"}, "[video]"),
        ({"msgtype": "file", "content": {"fileName": "a.pdf"}}, "[a.pdf]"),
        ({"msgtype": "unknownMsgType"}, "[a message without text]"),
        ({"text": {"content": "  "}}, "[a message without text]"),
        ({"text": "no object"}, "[a message without text]"),
        ({"msgtype": "richText", "content": {"richText": [7, {"text": 7}]}}, "[a message"),
    ],
)
def test_a_message_without_text_says_what_it_is(changes: dict[str, Any], text: str) -> None:
    assert callback("private_text", **changes).text.startswith(text)


@pytest.mark.parametrize("name", ["msgId", "conversationId", "senderId"])
@pytest.mark.parametrize("value", [None, "", 7, "a b", "x" * 201, "群", "a\x1f"])
def test_a_callback_without_a_usable_id_is_no_message(name: str, value: Any) -> None:
    with pytest.raises(Unreadable, match=name):
        read_callback(document("private_text", **{name: value}))


def test_the_session_webhook_is_kept_out_of_the_ledgers_copy() -> None:
    assert "sendBySession" not in json.dumps(callback("private_text").as_chat_message().original)


# -- what is believed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://oapi.dingtalk.com/robot/sendBySession?session=x",
        "https://api.dingtalk.com/robot/sendBySession?session=x",
        "https://api.dingtalk.com:443/robot/sendBySession?session=x",
    ],
)
def test_dingtalks_own_addresses_are_taken(url: str) -> None:
    assert sessions.is_session_webhook(url, API_BASE)


@pytest.mark.parametrize(
    "url",
    [
        "http://oapi.dingtalk.com/robot/sendBySession?session=x",
        "https://oapi.dingtalk.com.evil.example/robot/sendBySession?session=x",
        "https://oapi.dingtalk.com@evil.example/robot/sendBySession",
        "https://evil.example/?https://oapi.dingtalk.com/",
        "https://evil.example/https://api.dingtalk.com/",
        "https://evil.example\\@oapi.dingtalk.com/",
        "https://oapi.dingtalk.com:8443/robot/sendBySession",
        "https://oapi.dingtalk.com:x/",
        "https://oapi.dingtalk.com\t.evil.example/",
        "https://[oapi.dingtalk.com/",
        "https://169.254.169.254/latest/meta-data",
        "ftp://oapi.dingtalk.com/",
        "//oapi.dingtalk.com/",
        "oapi.dingtalk.com",
        "",
    ],
)
def test_any_other_address_is_not(url: str) -> None:
    assert not sessions.is_session_webhook(url, API_BASE)


def test_the_server_that_stands_in_for_dingtalk_may_give_addresses_of_its_own() -> None:
    url = "http://127.0.0.1:9/robot/sendBySession?session=x"
    assert sessions.is_session_webhook(url, "http://127.0.0.1:9")
    assert not sessions.is_session_webhook(url, "http://127.0.0.1:90")
    assert not sessions.is_session_webhook(url, "http://127.0.0.1:9@evil.example")


def test_a_foreign_address_is_dropped_with_a_word_in_the_log(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    row = note(channel, callback("private_text", sessionWebhook="https://evil.example/x?token=7"))
    assert row.url == ""
    assert row.staff_id == "manager7788"
    assert "evil.example" in caplog.text
    assert "token=7" not in caplog.text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1700005400000, 5400),
        ("1700005400000", 5400),
        (1700000030000, 30),
        (1699999000000, -1000),
        (0, 300),
        (None, 300),
        ("soon", 300),
        (-1, 300),
        (1700005400, 300),
        (10**30, 300),
        (float("nan"), 300),
        (True, 300),
        (4102444800000, 86_400),
    ],
)
def test_the_end_is_the_fields_within_reason(value: Any, seconds: int) -> None:
    assert (sessions.expiry(value, NOW) - NOW).total_seconds() == seconds


def test_a_message_brings_a_session_with_all_that_an_answer_needs(channel: Channel) -> None:
    row = note(channel, callback("private_text"))
    assert row.url.endswith("session=6d3f0c1a5b7e9d2f4a6c8e0b1d3f5a7c")
    assert row.expires_at == NOW + timedelta(minutes=90)
    assert (row.conversation_type, row.staff_id) == ("1", "manager7788")
    assert (row.robot_code, row.title, row.connection) == (CLIENT_ID, "小林", STREAM)


def test_the_staff_id_of_whoever_speaks_in_a_group_is_not_the_groups(channel: Channel) -> None:
    row = note(channel, callback("group_text"))
    assert (row.conversation_type, row.staff_id) == ("2", "")


def test_the_next_message_renews_the_session(channel: Channel) -> None:
    note(channel, callback("private_text"))
    SessionWebhook.objects.update(warned_at=NOW, nudged_at=NOW)
    later = "https://oapi.dingtalk.com/robot/sendBySession?session=later"
    row = note(
        channel,
        callback("private_text", sessionWebhook=later, sessionWebhookExpiredTime=1700009000000),
    )
    assert row.url == later
    assert row.expires_at == NOW + timedelta(minutes=150)
    assert row.warned_at is None
    assert row.nudged_at is None


def test_an_earlier_end_does_not_replace_a_later_one(channel: Channel) -> None:
    note(channel, callback("private_text"))
    other = "https://oapi.dingtalk.com/robot/sendBySession?session=other"
    row = note(
        channel,
        callback("private_text", sessionWebhook=other, sessionWebhookExpiredTime=1700000060000),
    )
    assert row.expires_at == NOW + timedelta(minutes=90)
    assert row.url != other


def test_a_new_connections_session_replaces_the_old_ones_whatever_its_end(
    channel: Channel,
) -> None:
    note(channel, callback("private_text"))
    row = note(
        channel, callback("private_text", sessionWebhookExpiredTime=1700000600000), stream=uuid4()
    )
    assert row.expires_at == NOW + timedelta(minutes=10)


def test_sessions_end_with_their_connection_and_their_chats_stay(
    channel: Channel, time_machine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    time_machine.move_to(NOW, tick=False)
    note(channel, callback("private_text"))
    note(channel, callback("outsider_rich_text"))
    assert sessions.end_all(channel.pk) == 2
    assert sessions.end_all(channel.pk) == 0
    chat = sessions.chat_of(CLIENT_ID, "cidPrivate0123456789abcdEFGH==")
    assert chat is not None
    assert (chat.url, chat.staff_id) == ("", "manager7788")
    assert "nothing reaches the chat cidOutsider0123456789abcdEF==" in caplog.text
    assert "cidPrivate" not in caplog.text


def test_a_session_that_was_replaced_meanwhile_is_not_forgotten(
    channel: Channel, time_machine: Any
) -> None:
    time_machine.move_to(NOW, tick=False)
    note(channel, callback("private_text"))
    chat = sessions.chat_of(CLIENT_ID, "cidPrivate0123456789abcdEFGH==")
    assert chat is not None
    row = note(channel, callback("private_text", sessionWebhookExpiredTime=1700009000000))
    sessions.forget(chat)
    row.refresh_from_db()
    assert row.url
