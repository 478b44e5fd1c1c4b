"""The webhook protocol reference where time passes: registering, the ladder, the state machine.

What is sent and answered at one moment is in `test_spec_002_sending` and `_answering`; the same
story with real processes is in `tests/end_to_end/test_agent_life.py`.
"""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.utils import timezone

from agent_sdk import WebhookDispatcher
from agent_sdk.dispatcher import RECOVER_WAITS
from agents.models import Agent, AgentSecret, Artifact
from agents.services import issue_token, mark_unreachable, propose_switch, recover
from agents.services.decisions import confirm, describe
from agents.services.presence import Unwelcome, connect, farewells
from agents.services.system import converse
from deliveries.clockwork import expire
from deliveries.models import Attempt, Delivery, Lane
from deliveries.runner import run_until_idle
from platforms.models import Channel

from .conftest import SECRET, deliver, make_agent, make_conversation
from .receiver import Receiver
from .spec import only, send

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.agents.urls")]

START = datetime(2026, 5, 15, 10, 0, tzinfo=UTC)


@pytest.fixture
def reviewer(receiver: Receiver) -> Agent:
    """An agent whose webhook is the receiver."""
    return make_agent("reviewer", webhook_url=receiver.url)


# 注册 Webhook URL ----------------------------------------------------------------------------

SECRET_OF_32 = base64.b64encode(bytes(range(32))).decode()
# As on the page, where it has three lines, and as it is told when they have run together.
SENTENCES = [
    "把 DemoBot 的连接模式改成 webhook\nURL: {url}\nsecret: {secret}",
    "把 DemoBot 的连接模式改成 webhook URL: {url} secret: {secret}",
    "把 DemoBot 的连接模式改成 webhook,URL:{url},secret:{secret}",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_sentence_leads_to_a_form_whose_submission_takes_effect_at_once(
    receiver: Receiver, sentence: str
) -> None:
    agent = Agent.objects.create(name="DemoBot")
    waiting = deliver(agent)
    seat = connect(agent.pk, token_of(agent))
    text = sentence.format(url=receiver.url, secret=SECRET_OF_32)
    artifact = converse(text, by="ann", may=lambda permission: True).artifact
    assert artifact
    assert (artifact.kind, artifact.state) == (Artifact.Kind.SWITCH, Artifact.State.OPEN)
    assert describe(artifact).then == f"Webhook: {receiver.url}"
    assert Agent.objects.get(pk=agent.pk).connection_mode == "websocket"
    assert farewells({seat.token: seat}) == {}

    confirm(artifact, "ann")
    agent.refresh_from_db()
    told = (agent.connection_mode, agent.connection_status, agent.webhook_url)
    assert told == ("webhook", "ready", receiver.url)
    assert [row.value for row in AgentSecret.objects.live()] == [SECRET_OF_32]
    # The old connection is closed, and there is no new one.
    assert [farewell.code for farewell in farewells({seat.token: seat}).values()] == [4002]
    with pytest.raises(Unwelcome):
        connect(agent.pk, token_of(agent))
    receiver.requests.clear()  # the ping
    run_until_idle()
    assert only(receiver).headers["X-Hashee-Delivery-Id"] == str(waiting.pk)


def token_of(agent: Agent) -> int:
    issue_token(agent)
    token = agent.tokens.order_by("pk").last()
    assert token
    return token.pk


@pytest.mark.parametrize(
    ("secret", "taken"),
    [
        (SECRET_OF_32, True),
        ("!" * 32, True),
        ("!" * 31, False),
        # 32 characters, which are only 24 random bytes.
        (base64.b64encode(bytes(24)).decode(), False),
        (base64.b64encode(bytes(31)).decode(), False),
    ],
)
def test_a_secret_has_32_bytes_at_least(reviewer: Agent, secret: str, taken: bool) -> None:
    url = "https://93.184.215.14/other"
    if taken:
        assert propose_switch(reviewer, "webhook", url=url, secret=secret)
        return
    with pytest.raises(ValidationError) as refused:
        propose_switch(reviewer, "webhook", url=url, secret=secret)
    assert list(refused.value.message_dict) == ["secret"]


# cURL 测试 -----------------------------------------------------------------------------------

# The signing lines of the reference, for a body and a time that are given.
RECIPE = r"""
SIGNED="${TS}.${ID}.${BODY}"
SIG=$(printf '%s' "$SIGNED" | openssl dgst -sha256 -hmac "$SECRET" | awk '{print $2}')
printf '%s' "$SIG"
"""


@pytest.mark.skipif(not shutil.which("openssl"), reason="NO OPENSSL: the recipe is not tried")
@pytest.mark.parametrize("text", ["hello", 'it\'s "quoted" $HOME `x` \\n', "部署完成了 👍", "\n\n"])
def test_the_recipe_of_the_reference_signs_as_we_do(
    reviewer: Agent, receiver: Receiver, text: str
) -> None:
    send(reviewer, payload={"type": "text", "text": text})
    got = only(receiver)
    env = {
        "PATH": os.environ["PATH"],
        "SECRET": SECRET,
        "TS": got.headers["X-Hashee-Timestamp"],
        "ID": got.headers["X-Hashee-Delivery-Id"],
        "BODY": got.body.decode(),
    }
    signed = subprocess.run(["sh", "-ec", RECIPE], env=env, check=True, capture_output=True)
    assert signed.stdout.decode() == got.headers["X-Hashee-Signature"]


# 完整 Dispatcher 示例 --------------------------------------------------------------------------


def test_the_dispatchers_defaults_are_those_of_the_reference() -> None:
    options: Any = WebhookDispatcher.__init__.__kwdefaults__
    assert options["auto_recover"] is True
    assert options["tolerance"] == 300
    assert RECOVER_WAITS[0] == 0
    with pytest.raises(ValueError, match="300"):
        WebhookDispatcher(
            agent_id="a", token="t", secret=SECRET, base_url="http://127.0.0.1:9",
            on_message=print, auto_recover=False, tolerance=301,
        )  # fmt: skip


def test_an_event_says_whom_it_is_about_and_a_message_who_sent_it(
    reviewer: Agent, receiver: Receiver
) -> None:
    messages: list[Any] = []
    events: list[Any] = []
    dispatcher = WebhookDispatcher(
        agent_id=str(reviewer.pk), token="hsk_", secret=SECRET, base_url="http://127.0.0.1:9",
        on_message=messages.append, on_event=events.append, auto_recover=False,
    )  # fmt: skip
    send(reviewer)
    send(reviewer, event_type="relation.revoked", payload={"user_id": "telegram:1"})
    for got in receiver.requests:
        assert dispatcher.handle(got.headers, got.body).status == 200
    assert (messages[0].sender_id, messages[0].payload["text"][:6]) == ("github:octocat", "Review")
    assert (events[0].type, events[0].payload["user_id"]) == ("relation.revoked", "telegram:1")


# 重试策略 --------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(START, tick=False) as clock:
        yield clock


def run_to_the_end(clock: Any) -> None:
    """Send, and go from one planned attempt to the next, until none is planned."""
    while True:
        run_until_idle()
        planned = Delivery.objects.filter(pending_lane__isnull=False).values_list(
            "next_attempt_at", flat=True
        )
        moments = [moment for moment in planned if moment is not None]
        if not moments:
            return
        clock.move_to(min(moments))


def test_the_attempts_follow_the_table_to_the_second(
    reviewer: Agent, receiver: Receiver, clock: Any
) -> None:
    receiver.status = 500
    deliver(reviewer)
    run_to_the_end(clock)
    began = list(Attempt.objects.order_by("number").values_list("started_at", flat=True))
    waits = [(after - before).total_seconds() for before, after in pairwise(began)]
    assert waits == [0, 30, 2 * 60, 8 * 60, 32 * 60, 2 * 3600, 6 * 3600]
    reviewer.refresh_from_db()
    assert reviewer.connection_status == "unreachable"
    stamps = [int(got.headers["X-Hashee-Timestamp"]) for got in receiver.requests]
    assert stamps == [int(moment.timestamp()) for moment in began]


def test_a_429_is_waited_for_and_leads_to_no_rung(
    reviewer: Agent, receiver: Receiver, clock: Any
) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": "17"}
    row = deliver(reviewer)
    run_until_idle()
    row.refresh_from_db()
    # Never sooner, and a little later, so that not all come at once.
    assert row.next_attempt_at
    assert 17 <= (row.next_attempt_at - START).total_seconds() <= 17 * 1.1
    assert row.failures == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_is_refused_for_good_is_not_tried_again_and_the_agent_stays(
    reviewer: Agent, receiver: Receiver, clock: Any, status: int
) -> None:
    receiver.status = status
    deliver(reviewer)
    run_to_the_end(clock)
    assert len(receiver.requests) == 1
    reviewer.refresh_from_db()
    assert reviewer.connection_status == "ready"
    assert Delivery.objects.get().status == "failed"


# Unreachable 状态机 ---------------------------------------------------------------------------


def test_the_state_machine_from_the_last_failure_to_the_flush(
    reviewer: Agent, receiver: Receiver, channel: Channel, clock: Any
) -> None:
    conversation = make_conversation(reviewer, channel)
    receiver.status = 503
    first = deliver(reviewer, conversation)
    run_to_the_end(clock)
    # Nothing is sent any more, and what comes is kept, for 24 hours from when it came.
    given_up = timezone.now()
    second = deliver(reviewer, conversation)
    clock.shift(timedelta(hours=14))
    third = deliver(reviewer, conversation)
    run_until_idle()
    assert len(receiver.requests) == 8
    clock.move_to(START + timedelta(hours=24, seconds=1))
    expire(timezone.now())
    first.refresh_from_db()
    assert (first.status, first.error_class) == ("unreachable", "expired")
    # Its sender is told.
    notice = Delivery.objects.get(event__type="delivery.expired")
    assert (notice.conversation, notice.lane_id) == (conversation, channel.lane_id)
    clock.move_to(given_up + timedelta(hours=24, seconds=1))
    expire(timezone.now())
    second.refresh_from_db()
    assert (second.status, second.error_class) == ("unreachable", "expired")

    receiver.status = 200
    receiver.requests.clear()
    assert recover(reviewer) == 1
    reviewer.refresh_from_db()
    assert reviewer.connection_status == "ready"
    assert Lane.objects.get(pk=reviewer.lane_id).state != Lane.State.HELD
    run_to_the_end(clock)
    assert only(receiver).headers["X-Hashee-Delivery-Id"] == str(third.pk)
    assert recover(reviewer) == 0


@pytest.mark.parametrize(
    ("status", "after"),
    [("ready", "ready"), ("offline", "offline"), ("unreachable", "ready")],
)
def test_recover_leads_from_unreachable_to_ready_and_from_nowhere_else(
    reviewer: Agent, status: str, after: str
) -> None:
    if status == "unreachable":
        mark_unreachable(reviewer)
    else:
        Agent.objects.filter(pk=reviewer.pk).update(connection_status=status)
    reviewer.refresh_from_db()
    recover(reviewer)
    reviewer.refresh_from_db()
    assert reviewer.connection_status == after


# 服务器侧不要做 -----------------------------------------------------------------------------------


def test_a_handler_that_raises_is_no_200_and_its_message_comes_again(
    reviewer: Agent, receiver: Receiver
) -> None:
    def fail(message: Any) -> None:
        raise RuntimeError("not today")

    send(reviewer)
    dispatcher = WebhookDispatcher(
        agent_id=str(reviewer.pk), token="hsk_", secret=SECRET, base_url="http://127.0.0.1:9",
        on_message=fail, auto_recover=False,
    )  # fmt: skip
    answer = dispatcher.handle(only(receiver).headers, only(receiver).body)
    assert answer.status == 503
    assert not re.search("not today", json.dumps(answer.body.decode()))
