"""Which streams run, and the frames that are said on one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from platforms.dingtalk.frames import answer_to, read_frame
from platforms.dingtalk.streams import App, NoStream, Taken, alone, app_of, wanted
from platforms.models import Channel

from .dingtalk import CLIENT_ID, SECRET
from .dingtalk_server import DingTalkServer, dingtalk_server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dingtalk(settings: Any) -> Iterator[DingTalkServer]:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    with dingtalk_server() as server:
        yield server


@pytest.fixture
def channel(dingtalk: DingTalkServer) -> Channel:
    config = {
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "stream": True,
        "api_base": dingtalk.url,
    }
    return Channel.objects.create(name="ding", kind="dingtalk", config=config)


# -- frames -------------------------------------------------------------------------------


def test_an_event_is_acknowledged_as_events_are() -> None:
    frame = read_frame('{"type": "EVENT", "headers": {"topic": "*", "messageId": "1"}, "data": {}}')
    assert frame is not None
    answer = json.loads(answer_to(frame) or "")
    assert json.loads(answer["data"])["status"] == "SUCCESS"


def test_a_callback_that_nobody_asked_for_is_not_found() -> None:
    frame = read_frame('{"type": "CALLBACK", "headers": {"topic": "/v1.0/card"}, "data": "{}"}')
    assert frame is not None
    assert json.loads(answer_to(frame) or "")["code"] == 404


@pytest.mark.parametrize("text", ["", "null", "7", "{}", '{"type": 0}', "[" * 100_000])
def test_what_is_no_frame_is_none(text: str) -> None:
    assert read_frame(text) is None


# -- which streams run ---------------------------------------------------------------------


def test_a_channel_with_an_app_wants_a_stream(channel: Channel, dingtalk: DingTalkServer) -> None:
    [app] = wanted().values()
    assert app == App(channel.pk, "ding", CLIENT_ID, SECRET, dingtalk.url)


@pytest.mark.parametrize(
    "change",
    [
        {"enabled": False},
        {"kind": "telegram"},
        {"config": {"client_id": CLIENT_ID, "client_secret": SECRET}},
        {"config": {"client_id": CLIENT_ID, "stream": True}},
        {"config": {"robot_url": "https://oapi.dingtalk.com/robot/send", "stream": True}},
    ],
    ids=str,
)
def test_other_channels_want_none(channel: Channel, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(channel, name, value)
    channel.save()
    assert wanted() == {}
    with pytest.raises(NoStream):
        app_of(channel)
    with pytest.raises(CommandError):
        call_command("dingtalk_stream", "ding")


def test_two_channels_of_one_app_have_one_stream(channel: Channel) -> None:
    Channel.objects.create(name="second", kind="dingtalk", config=channel.config)
    [app] = wanted().values()
    assert app.channel == "ding"


@pytest.mark.parametrize("name", ["client_secret", "client_id", "api_base"])
def test_a_changed_credential_is_another_version(channel: Channel, name: str) -> None:
    before = app_of(channel)
    channel.config = {**channel.config, name: "http://127.0.0.1:9"}
    after = app_of(channel)
    assert before.version != after.version


def test_an_app_is_listened_for_once_in_a_data_folder(channel: Channel) -> None:
    app = app_of(channel)
    with alone(app):
        with pytest.raises(Taken), alone(app):
            pass
        with pytest.raises(CommandError, match="Another process"):
            call_command("dingtalk_stream", "ding")
    with alone(app):
        pass


def test_an_unknown_channel_has_no_stream() -> None:
    with pytest.raises(CommandError, match="no channel nowhere"):
        call_command("dingtalk_stream", "nowhere")
