"""People talk to an agent: the ready-made routes, by command and form, and what gets through."""

import json
import re
import time
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from agents.models import Conversation
from agents.services import post_message
from deliveries.models import Delivery, Payload
from platforms.models import Channel
from platforms.registry import senders
from routes.chats import chats, filled_in
from routes.config_entries import read_entry
from routes.filters import compile_filters
from routes.matching import as_events, matches
from routes.models import Route
from routes.presets import presets
from routes.rules import faults
from routes.samples import Sample, sample, signed_request
from routes.services import effective_secrets, rotate_secret

from .keypairs import secret_pair

pytestmark = pytest.mark.django_db

EVERY = [*chats()]
SECRETS = {
    "telegram": "a-word_of-mine",
    "slack": "8f742231b10e8888abcd99yyyzzz85a5",
    "feishu": "encrypt-key-of-the-app:verification-token",
    "whatsapp": "app-secret:verify-token",
}
# Of a sample event: what the agent is asked, where the answer goes, which conversation it is.
TALK: dict[tuple[str, str], tuple[str, dict[str, str], str]] = {
    ("telegram", "message"): (
        "/deploys production",
        {"chat_id": "-1001200000009"},
        "-1001200000009",
    ),
    ("slack", "app_mention"): (
        "<@U0HERMES> what broke the last deploy?",
        {"chat_id": "C0ACME009"},
        "C0ACME009",
    ),
    ("slack", "message"): ("Is checkout healthy again?", {"chat_id": "D0ACME004"}, "D0ACME004"),
    ("feishu", "im.message.receive_v1"): (
        '{"text":"@_user_1 上一次部署出了什么问题？"}',
        {"chat_id": "oc_acme0009"},
        "oc_acme0009",
    ),
    ("whatsapp", "messages"): (
        "Where is my parcel?",
        {"chat_id": "15550100031"},
        "110000000000001:15550100031",
    ),
}
# What is no person's word, as a change of a sample: a field's path, and its value (None: gone).
NOT_TALK: list[tuple[str, str, str, Any]] = [
    ("telegram", "message", "message.from.is_bot", True),
    ("telegram", "message", "message.text", None),
    ("telegram", "message", "message.text", "  \n"),
    ("slack", "message", "event.bot_id", "B0ACME001"),
    ("slack", "app_mention", "event.bot_id", "B0ACME001"),
    ("slack", "message", "event.subtype", "message_changed"),
    ("slack", "message", "event.subtype", "bot_message"),
    ("slack", "message", "event.channel_type", "channel"),
    ("slack", "message", "event.user", None),
    ("slack", "message", "event.text", ""),
    ("feishu", "im.message.receive_v1", "event.sender.sender_type", "app"),
    ("feishu", "im.message.receive_v1", "event.message.message_type", "image"),
    ("whatsapp", "messages", "entry.0.changes.0.value.messages.0.type", "image"),
    ("whatsapp", "messages", "entry.0.changes.0.value.messages", None),
]


def changed(payload: Any, path: str, value: Any) -> Any:
    """Return a payload with one field of it set, or taken out."""
    payload = deepcopy(payload)
    *steps, last = path.split(".")
    here = payload
    for step in steps:
        here = here[int(step)] if isinstance(here, list) else here[step]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return payload


def open_chat(kind: str, *more: str) -> Route:
    """Add a channel and let people talk there, as an operator does on the command line."""
    Channel.objects.create(name="bot", kind=kind)
    command = ["subscribe", "talk", "--chat", kind, "--secret", SECRETS[kind], *more]
    call_command("webhook", *command)
    return Route.objects.get(name="talk")


def say(kind: str, given: Sample, secret: str = "") -> Any:
    """Post a sample to the route as the source does."""
    url, secret = "http://localhost:8644/webhooks/talk", secret or SECRETS[kind]
    request = signed_request(presets()[kind], secret, given, url, time.time())
    return Client().post(
        request.url,
        request.body,
        content_type=request.headers["content-type"],
        headers={name: value for name, value in request.headers.items() if name != "content-type"},
    )


def asked() -> list[str]:
    """Return what agents are asked, the oldest first."""
    rows = Delivery.objects.filter(lane__kind="agent").order_by("pk")
    return [json.loads(bytes(Payload.objects.get(pk=row.pk).body))["text"] for row in rows]


@pytest.mark.parametrize("kind", EVERY)
class TestTheReadyMade:
    def test_it_is_of_a_platform_and_a_source_that_there_are(self, kind: str) -> None:
        assert kind in senders()
        assert kind in presets()

    def test_its_fields_are_sound(self, kind: str) -> None:
        route = Route(name="talk", **chats()[kind].fields)
        route.clean_fields()
        assert faults(route) == {}

    def test_its_target_has_names_that_its_sender_knows(self, kind: str) -> None:
        names = {*senders()[kind].Home.base_fields, "message_thread_id", "thread_id"}
        assert set(chats()[kind].target) <= names

    def test_the_agent_is_asked_without_a_fence(self, kind: str) -> None:
        assert chats()[kind].fields["fence"] is False

    def test_every_event_that_it_takes_has_a_sample_here(self, kind: str) -> None:
        taken = {event for platform, event in TALK if platform == kind}
        assert taken == set(chats()[kind].events)


@pytest.mark.parametrize(("kind", "event"), TALK)
def test_what_a_person_writes_reaches_the_agent(kind: str, event: str) -> None:
    open_chat(kind)
    answer = say(kind, sample(kind, event))
    assert answer.status_code == 202, answer.content
    text, target, key = TALK[kind, event]
    assert asked() == [text]
    [conversation] = Conversation.objects.all()
    assert conversation.target == target
    assert conversation.key == f"webhook:talk#{key}"


@pytest.mark.parametrize(("kind", "event"), TALK)
def test_the_answer_goes_to_the_chat(kind: str, event: str) -> None:
    open_chat(kind)
    say(kind, sample(kind, event))
    conversation = Conversation.objects.get()
    post_message(conversation.agent, conversation.pk, {"type": "text", "text": "All is well."})
    channel = Channel.objects.get(name="bot")
    [delivery] = Delivery.objects.filter(lane=channel.lane_id)
    assert delivery.target == TALK[kind, event][1]


@pytest.mark.parametrize(("kind", "event"), TALK)
def test_the_next_word_in_a_chat_is_of_the_same_conversation(kind: str, event: str) -> None:
    open_chat(kind)
    for _time in range(2):
        given = sample(kind, event)
        assert say(kind, given).status_code == 202
    assert len(asked()) == 2
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize(("kind", "event", "path", "value"), NOT_TALK)
def test_what_no_person_wrote_wakes_nobody(kind: str, event: str, path: str, value: Any) -> None:
    open_chat(kind)
    given = sample(kind, event)
    other = Sample(event, changed(given.payload, path, value), given.content_type, given.id)
    answer = say(kind, other)
    assert (answer.status_code, answer.json()["status"]) == (200, "ignored")
    assert asked() == []


@pytest.mark.parametrize("kind", EVERY)
def test_other_events_of_the_platform_wake_nobody(kind: str) -> None:
    chat = chats()[kind]
    wanted, filters = as_events(list(chat.events)), compile_filters(list(chat.filters))
    for name in ("callback_query", "reaction_added", "im.chat.member.bot.added_v1"):
        assert not matches(wanted, name, {}, {})
    assert not filters.match({}, chat.events[0], {})
    assert not filters.match([], chat.events[0], {})


@pytest.mark.parametrize("kind", EVERY)
def test_a_forged_word_is_refused(kind: str) -> None:
    open_chat(kind)
    answer = say(kind, sample(kind), "another-secret-than-that:of-mine")
    assert answer.status_code == 401
    assert asked() == []


def test_in_a_topic_the_answer_goes_to_the_topic() -> None:
    open_chat("telegram")
    given = sample("telegram", "message")
    payload = changed(given.payload, "message.message_thread_id", 42)
    say("telegram", Sample("message", payload, given.content_type, given.id))
    assert Conversation.objects.get().target == {
        "chat_id": "-1001200000009",
        "message_thread_id": "42",
    }


def test_in_a_thread_the_answer_goes_to_the_thread() -> None:
    open_chat("slack")
    given = sample("slack", "app_mention")
    payload = changed(given.payload, "event.thread_ts", "1772450400.000100")
    say("slack", Sample("app_mention", payload, given.content_type, given.id))
    assert Conversation.objects.get().target == {
        "chat_id": "C0ACME009",
        "thread_id": "1772450400.000100",
    }


def test_feishu_without_an_encrypt_key_is_let_talk_too() -> None:
    Channel.objects.create(name="bot", kind="feishu")
    command = ("subscribe", "talk", "--chat", "feishu", "--preset", "feishu_token")
    call_command("webhook", *command, "--secret", "verification-token")
    answer = say("feishu_token", sample("feishu_token"), "verification-token")
    assert answer.status_code == 202, answer.content
    assert "上一次部署出了什么问题？" in asked()[0]


def test_the_route_of_the_page_takes_a_command_of_discords() -> None:
    page = (settings.BASE_DIR / "docs/chat.md").read_text()
    [text] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    raw = yaml.safe_load(text)["routes"]["ask"]
    private, public = secret_pair(presets()["discord"])
    Channel.objects.create(name="bot", kind="discord")
    route = Route.objects.create(name="talk", **read_entry("ask", raw).fields)
    rotate_secret(route, timedelta(0), public)
    answer = say("discord", sample("discord", "application_command"), private)
    assert answer.status_code == 202, answer.content
    assert asked() == ["production"]
    assert Conversation.objects.get().target == {"chat_id": "1100000000000000009"}


class TestTheCommand:
    def test_one_word_is_enough(self, capsys: pytest.CaptureFixture[str]) -> None:
        Channel.objects.create(name="ops", kind="telegram")
        call_command("webhook", "subscribe", "talk", "--chat", "telegram")
        route = Route.objects.get()
        ready = chats()["telegram"].fields
        assert {name: getattr(route, name) for name in ready} == ready
        said = capsys.readouterr().out
        assert "Next:    Call setWebhook" in said

    def test_a_generated_secret_is_one_that_telegram_takes(self) -> None:
        Channel.objects.create(name="ops", kind="telegram")
        call_command("webhook", "subscribe", "talk", "--chat", "telegram")
        [secret] = effective_secrets(Route.objects.get())
        assert secret.replace("-", "").replace("_", "").isalnum()
        assert len(secret) >= 43

    def test_again_the_secret_stays(self) -> None:
        route = open_chat("telegram")
        before = effective_secrets(route)
        call_command("webhook", "subscribe", "talk", "--chat", "telegram")
        assert effective_secrets(route) == before

    def test_what_is_said_goes_before_what_is_ready(self) -> None:
        only = '{"field": "message.chat.id", "equals": 7}'
        route = open_chat(
            "telegram",
            *("--deliver", "bot", "--thread-id", "9", "--filter", only, "--fence"),
            *("--prompt", "In {message.chat.title}: {message.text}"),
        )
        assert route.deliver == "bot"
        assert route.deliver_extra == {
            **chats()["telegram"].target,
            "thread_id": "9",
        }
        assert route.filters == [{"field": "message.chat.id", "equals": 7}]
        assert route.prompt == "In {message.chat.title}: {message.text}"
        assert route.fence

    @pytest.mark.parametrize(
        ("more", "hint"),
        [
            ((), "no telegram channel yet"),
            (("--deliver", "elsewhere"), "choose a channel of Telegram, not “elsewhere”"),
            (("--deliver-only",), "Somebody has to answer"),
        ],
    )
    def test_a_chat_that_could_not_be_answered_is_refused(
        self, more: tuple[str, ...], hint: str
    ) -> None:
        Channel.objects.create(name="elsewhere", kind="slack")
        with pytest.raises(CommandError, match=hint):
            call_command("webhook", "subscribe", "talk", "--chat", "telegram", *more)
        assert not Route.objects.exists()

    def test_a_platform_without_webhooks_of_its_own_is_none(self) -> None:
        with pytest.raises(CommandError, match="invalid choice"):
            call_command("webhook", "subscribe", "talk", "--chat", "signal")


def test_what_a_new_route_has_was_not_said() -> None:
    Channel.objects.create(name="bot", kind="slack")
    new = {"preset": "auto", "deliver": "log", "events": [], "prompt": "", "deliver_extra": {}}
    assert filled_in(chats()["slack"], new) == chats()["slack"].fields


def test_a_channel_that_is_off_is_no_place_to_answer() -> None:
    Channel.objects.create(name="bot", kind="slack", enabled=False)
    with pytest.raises(ValidationError, match="is off"):
        filled_in(chats()["slack"], {})
