"""Spec 000, played with real processes: a session webhook ends while the stream stays connected.

Connect, message, answer by the session webhook; nobody writes; a warning before it ends; then a
message of our own and an answer, which take the Robot OpenAPI. One to one, and in a group.
"""

import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.process import ROOT, Gateway, eventually, free_port
from tests.platforms.dingtalk_server import DingTalkServer, dingtalk_server

from .agent import ANSWER
from .connecting import SECRET, add_route, connect

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]

PRIVATE = "cidPrivate0123456789abcdEFGH=="
GROUP = "cidGroup0123456789abcdEFGH=="
BY_SESSION = "/robot/sendBySession"
TO_PERSON = "/v1.0/robot/oToMessages/batchSend"
TO_GROUP = "/v1.0/robot/groupMessages/send"
STREAM = "hermes_site.gateway.stream"
# Good for this long, in seconds, and used up to a minute before the end: so for a few.
SHORT = 66

CHANNEL = """
from platforms.models import Channel
from platforms.services import save_config
config = {"client_id": "dingabcdefghijklmnop", "client_secret": "a secret of the app"}
save_config(Channel(name="dingtalk", kind="dingtalk"), {**config, "stream": True}, {})
"""
# The clockwork comes once a minute; this is its next minute.
NEXT_MINUTE = """
from django.utils import timezone
from django_q.models import Schedule
Schedule.objects.update(next_run=timezone.now())
"""
PAGE = """
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from platforms.models import Channel
client = Client()
client.force_login(User.objects.filter(is_superuser=True).first())
pk = Channel.objects.get(name="dingtalk").pk
page = client.get(reverse("admin:platforms_channel_change", args=[pk]), HTTP_HOST="localhost")
result = page.content.decode()
"""


@dataclass
class House:
    """A gateway with a DingTalk channel and an agent, and DingTalk itself."""

    gateway: Gateway
    dingtalk: DingTalkServer

    def wait_for(self, path: str, count: int) -> list[Any]:
        """Return the calls to a path once there are so many."""
        return eventually(
            lambda: found if len(found := self.dingtalk.posts(path)) >= count else [],
            20,
            f"{count} calls of {path}, in:\n{self.gateway.log}",
        )

    def push(self, chat: str, text: str) -> None:
        """Let something be said of our own accord; the sender is told whether it arrived."""
        body = json.dumps({"event_type": "alert", "chat": chat, "text": text}).encode()
        name = f"alert-{chat[:6]}-{text}"
        secret = self.gateway.settings["WEBHOOK_SECRET"].encode()
        digest = hmac.new(secret, body, "sha256").hexdigest()
        headers = {"X-Webhook-Signature": digest, "X-Request-ID": name}
        status, said = self.gateway.post("/webhooks/push", body, headers)
        assert (status, said["status"]) == (200, "delivered"), said

    def attempts(self, chat: str) -> list[tuple[list[str], str]]:
        """Return the roads and the request of every attempt for a chat, oldest first."""
        rows = self.gateway.query(
            "SELECT a.provider_ids, a.request, d.target FROM deliveries_attempt a "
            "JOIN deliveries_delivery d ON d.id = a.delivery_id "
            "JOIN deliveries_lane l ON l.id = d.lane_id "
            "WHERE l.label = 'dingtalk' AND a.verdict = 'delivered' ORDER BY d.id"
        )
        return [
            (_json(ids)["road"], request)
            for ids, request, target in rows
            if _json(target)["chat_id"] == chat
        ]


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def house(prepared: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("dingtalk")
    with dingtalk_server() as dingtalk:
        gateway = Gateway(
            folder / "data",
            prepared,
            OUTBOUND_ALLOW_PRIVATE="true",
            CHANNEL_API_BASES=f"dingtalk={dingtalk.url}",
        )
        agent, port = None, free_port()
        try:
            gateway.python(CHANNEL)
            given = connect(gateway, f"http://127.0.0.1:{port}/hashee/webhook")
            add_route(
                gateway,
                "push",
                prompt="{text}",
                deliver="dingtalk",
                deliver_extra={"chat_id": "{chat}"},
                deliver_only=True,
            )
            agent = _agent(gateway, given, port, folder / "report")
            gateway.start().wait_healthy()
            yield House(gateway, dingtalk)
        finally:
            if agent:
                agent.kill()
                agent.wait()
            gateway.clean_up()


def _agent(
    gateway: Gateway, given: dict[str, str], port: int, report: Path
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.end_to_end.agent", str(port), str(report)],
        cwd=ROOT,
        env={
            **os.environ,
            "HERMES_URL": gateway.url,
            "HASHEE_AGENT_ID": given["id"],
            "HASHEE_AGENT_TOKEN": given["token"],
            "HASHEE_WEBHOOK_SECRET": SECRET,
        },
    )


def texts(calls: list[Any]) -> list[str]:
    """Return what was said by session webhooks, sorted."""
    return sorted(call.body["markdown"]["text"] for call in calls)


def test_nothing_is_lost_when_a_session_webhook_ends_on_a_living_stream(house: House) -> None:
    gateway, dingtalk = house.gateway, house.dingtalk
    eventually(lambda: dingtalk.streams, 20, f"a stream, in:\n{gateway.log}")

    # A message each; the agent answers by the session webhook.
    dingtalk.write("private_text", SHORT, text={"content": "one"})
    dingtalk.write("group_text", SHORT, text={"content": " two"})
    ends = time.time() + SHORT
    assert texts(house.wait_for(BY_SESSION, 2)) == [f"{ANSWER}one", f"{ANSWER}two"]

    # Nobody writes; the stream stays. The warning comes before the end, once for each chat.
    gateway.python(NEXT_MINUTE)
    for chat in (PRIVATE, GROUP):
        said = f"the session webhook of chat {chat} ends at"
        eventually(lambda said=said: said in gateway.log, 60, f"{said}, in:\n{gateway.log}")
        assert time.time() < ends
    eventually(lambda: time.time() > ends, SHORT, "the end")
    page = gateway.python(PAGE)
    assert page.count("ended 0\xa0minutes ago") == 2
    assert page.count("session webhook</a>") == 2  # the road of the last answers

    # A message of our own to each, past the end: the Robot OpenAPI delivers.
    house.push(PRIVATE, "three")
    house.push(GROUP, "four")
    [person] = dingtalk.posts(TO_PERSON)
    assert person.body["userIds"] == ["manager7788"]
    assert json.loads(person.body["msgParam"])["text"] == "three"
    [group] = dingtalk.posts(TO_GROUP)
    assert group.body["openConversationId"] == GROUP
    assert json.loads(group.body["msgParam"])["text"] == "four"
    assert len(dingtalk.posts(BY_SESSION)) == 2
    assert len(dingtalk.streams) == 1

    # The history shows both roads, and why the second was taken.
    for chat, road in ((PRIVATE, "person"), (GROUP, "group")):
        (first, _request), (second, request) = house.attempts(chat)
        assert (first, second) == (["session"], [road])
        assert "session: it ends at" in request
    page = gateway.python(PAGE)
    assert "Robot OpenAPI, to the person</a>" in page
    assert "Robot OpenAPI, to the group</a>" in page
    assert gateway.log.count("the session webhook of chat") == 2


def test_a_session_webhook_that_dies_before_its_time_costs_nothing_either(house: House) -> None:
    gateway, dingtalk = house.gateway, house.dingtalk
    before = len(dingtalk.posts(BY_SESSION))
    dingtalk.write("private_text", text={"content": "five"})
    dingtalk.write("group_text", text={"content": "six"})
    house.wait_for(BY_SESSION, before + 2)
    eventually(lambda: len(house.attempts(GROUP) + house.attempts(PRIVATE)) == 6, 10, "six")

    dingtalk.sessions.clear()
    house.push(PRIVATE, "seven")
    house.push(GROUP, "eight")
    for chat, road in ((PRIVATE, "person"), (GROUP, "group")):
        roads, request = house.attempts(chat)[-1]
        assert roads == [road]
        assert f"{BY_SESSION}?session=*** → HTTP 200 (session: " in request
        assert "300001" in request
    assert gateway.log.count("its session webhook ended early") == 2


def test_a_killed_stream_is_started_again_and_its_sessions_are_ended(house: House) -> None:
    gateway, dingtalk = house.gateway, house.dingtalk
    before = len(dingtalk.posts(BY_SESSION))
    dingtalk.write("group_text", text={"content": "nine"})
    house.wait_for(BY_SESSION, before + 1)
    streams = len(dingtalk.streams)
    [pid] = gateway.pids(STREAM)
    gateway.kill(pid)
    eventually(lambda: len(dingtalk.streams) > streams, 20, f"a new stream:\n{gateway.log}")
    assert "stream ended (killed by SIGKILL)" in gateway.log
    eventually(
        lambda: "session webhooks ended with their connection" in gateway.log, 10, "their end"
    )
    house.push(GROUP, "ten")
    assert house.attempts(GROUP)[-1][0] == ["group"]
    assert "session: it is closed" in house.attempts(GROUP)[-1][1]


def test_a_channel_that_is_switched_off_has_no_stream(house: House) -> None:
    gateway = house.gateway
    switch = "from platforms.models import Channel\nChannel.objects.filter(name='dingtalk')"
    gateway.python(f"{switch}.update(enabled=False)")
    eventually(lambda: not gateway.pids(STREAM), 15, "the end of the stream")
    streams = len(house.dingtalk.streams)
    gateway.python(f"{switch}.update(enabled=True)")
    eventually(lambda: len(house.dingtalk.streams) > streams, 15, "a new stream")
    assert gateway.stop() == 0
    assert gateway.pids() == []
