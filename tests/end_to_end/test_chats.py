"""A person writes to an agent on a platform and is answered in the same chat, really."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from routes.presets import presets
from routes.samples import Sample, sample, signed_request
from tests.gateway.process import ROOT, Gateway, eventually, free_port

from .agent import ANSWER
from .connecting import SECRET, connect
from .platforms import Call, Platforms, serve

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]

# Secrets as the platforms have them, and the configuration of the channel that answers.
SECRETS = {
    "telegram": "a-word_of-mine",
    "slack": "8f742231b10e8888abcd99yyyzzz85a5",
    "feishu": "encrypt-key-of-the-app:verification-token",
    "whatsapp": "app-secret:verify-token",
}
CHANNELS: dict[str, dict[str, str]] = {
    "telegram": {"bot_token": "700000001:" + "a" * 35},
    "slack": {"bot_token": "xoxb-1234567890-" + "z" * 24},
    "feishu": {"app_id": "cli_a1b2c3d4e5f6a7b8", "app_secret": "s" * 32},
    "whatsapp": {"access_token": "EAAG" + "x" * 40, "phone_number_id": "110000000000001"},
}
FEISHU_CHAT = "oc_a0553eda9014c201e6969b478895c230"
ADD = """
from platforms.models import Channel
from platforms.services import save_config
for kind, config in {channels!r}.items():
    save_config(Channel(name=kind, kind=kind), config, {{}})
"""


@dataclass
class House:
    """A gateway that runs, with the four chats and an agent that answers."""

    gateway: Gateway
    platforms: Platforms

    def say(self, kind: str, given: Sample) -> tuple[int, dict[str, Any]]:
        """Post a message as its platform does."""
        url = f"{self.gateway.url}/webhooks/{kind}-talk"
        request = signed_request(presets()[kind], SECRETS[kind], given, url, time.time())
        return self.gateway.post(request.url, request.body, dict(request.headers))

    def heard(self, start: str) -> list[Call]:
        """Return what was sent to addresses that begin so."""
        return self.platforms.posts(start)


@pytest.fixture(scope="module")
def house(prepared: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("chats")
    platforms = Platforms()
    server = serve(platforms)
    gateway = Gateway(
        folder / "data",
        prepared,
        OUTBOUND_ALLOW_PRIVATE="true",
        CHANNEL_API_BASES=platforms.bases,
    )
    port = free_port()
    agent = None
    try:
        gateway.python(ADD.format(channels=CHANNELS))
        for kind, secret in SECRETS.items():
            gateway.manage(
                "webhook", "subscribe", f"{kind}-talk", "--chat", kind, "--secret", secret
            )
        given = connect(gateway, f"http://127.0.0.1:{port}/hashee/webhook")
        agent = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.agent", str(port), str(folder / "report")],
            cwd=ROOT,
            env={
                **os.environ,
                "HERMES_URL": gateway.url,
                "HASHEE_AGENT_ID": given["id"],
                "HASHEE_AGENT_TOKEN": given["token"],
                "HASHEE_WEBHOOK_SECRET": SECRET,
            },
        )
        gateway.start().wait_healthy()
        yield House(gateway, platforms)
    finally:
        if agent:
            agent.kill()
            agent.wait()
        gateway.clean_up()
        server.shutdown()
        server.server_close()


def test_telegram_is_answered_in_the_chat(house: House) -> None:
    status, said = house.say("telegram", sample("telegram", "message"))
    assert (status, said["event"]) == (202, "message")
    [answer] = eventually(lambda: house.heard("/telegram/"), 15, "an answer")
    assert answer.path.endswith("/sendMessage")
    assert str(answer.body["chat_id"]) == "-1001200000009"
    assert answer.body["text"] == f"{ANSWER}/deploys production"


def test_slack_is_answered_in_the_channel_or_to_the_person(house: House) -> None:
    assert house.say("slack", sample("slack", "app_mention"))[0] == 202
    eventually(lambda: house.heard("/slack/"), 15, "an answer")
    assert house.say("slack", sample("slack", "message"))[0] == 202
    first, second = eventually(
        lambda: house.heard("/slack/") if len(house.heard("/slack/")) == 2 else [], 15, "another"
    )
    assert first.path == second.path == "/slack/chat.postMessage"
    assert (first.body["channel"], second.body["channel"]) == ("C0ACME009", "D0ACME004")
    assert "what broke the last deploy?" in json.dumps(first.body)
    assert "Is checkout healthy again?" in json.dumps(second.body)


def test_feishu_is_answered_in_the_group(house: House) -> None:
    given = sample("feishu", "im.message.receive_v1")
    message = {**given.payload["event"]["message"], "chat_id": FEISHU_CHAT}
    event = {**given.payload["event"], "message": message}
    payload = {**given.payload, "event": event}
    assert house.say("feishu", replace(given, payload=payload))[0] == 202
    path = "/feishu/open-apis/im/v1/messages"
    [answer] = eventually(lambda: house.heard(path), 15, "an answer")
    assert answer.path == f"{path}?receive_id_type=chat_id"
    assert answer.body["receive_id"] == FEISHU_CHAT
    assert "上一次部署出了什么问题？" in answer.body["content"]


def test_whatsapp_is_answered_to_the_person(house: House) -> None:
    assert house.say("whatsapp", sample("whatsapp", "messages"))[0] == 202
    [answer] = eventually(lambda: house.heard("/whatsapp/"), 15, "an answer")
    assert answer.path.endswith("/110000000000001/messages")
    assert answer.body["to"] == "15550100031"
    assert answer.body["text"]["body"] == f"{ANSWER}Where is my parcel?"


def test_what_a_bot_says_is_answered_by_nobody(house: House) -> None:
    given = sample("slack", "message")
    event = {**given.payload["event"], "bot_id": "B0HERMES", "channel": "D0LOOP"}
    payload = {**given.payload, "event": event, "event_id": "Ev0LOOP"}
    status, said = house.say("slack", replace(given, payload=payload))
    assert (status, said["status"]) == (200, "ignored")
    time.sleep(1)
    assert "D0LOOP" not in [call.body.get("channel") for call in house.heard("/slack/")]


def test_a_forged_message_is_refused(house: House) -> None:
    given = sample("slack", "message")
    url = f"{house.gateway.url}/webhooks/slack-talk"
    request = signed_request(presets()["slack"], "another secret", given, url, time.time())
    status, _said = house.gateway.post(request.url, request.body, dict(request.headers))
    assert status == 401
