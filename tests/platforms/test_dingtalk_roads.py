"""DingTalk's roads one after the other: the next only when the last surely did not deliver."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.utils import timezone

from deliveries.outcomes import Outcome, Verdict
from platforms import pacing, tokens
from platforms.models import Channel, SessionWebhook
from platforms.senders.dingtalk import DingTalk

from .dingtalk import (
    CLIENT_ID,
    FAILED,
    GROUP_CHAT,
    LENT,
    OK,
    PRIVATE_CHAT,
    RETRY,
    SECRET,
    SENT,
    SESSION,
    STAFF,
    TOKEN_PATH,
    api_no,
    app,
    no,
    paths,
    roads,
    robot_url,
    session,
)
from .fake import Answer, FakePlatform
from .lending import Lender
from .sender_case import text_message
from .test_dingtalk import DingTalkCase

pytestmark = pytest.mark.django_db

GONE = no(300001, "session 不存在")
BY_SESSION = "/robot/sendBySession"
TO_GROUP = "/v1.0/robot/groupMessages/send"
TO_PERSON = "/v1.0/robot/oToMessages/batchSend"
BY_ROBOT = "/robot/send"


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    tokens.forget_all()
    pacing.forget()
    yield
    tokens.forget_all()
    pacing.forget()


@pytest.fixture(autouse=True)
def lender(fake: FakePlatform) -> Lender:
    return Lender(fake, TOKEN_PATH, LENT)


@pytest.fixture
def channel() -> Channel:
    config = {"client_id": CLIENT_ID, "client_secret": SECRET}
    return Channel.objects.create(name="ding", kind="dingtalk", config=config)


def say(fake: FakePlatform, chat: str, *answers: Answer, sender: DingTalk | None = None) -> Outcome:
    fake.script(*answers)
    return (sender or app(fake)).send(text_message(target={"chat_id": chat}))


class TestBySession(DingTalkCase):
    """A group whose session webhook is good; what closes it leads to the OpenAPI."""

    secret = SESSION
    target: ClassVar = {"chat_id": GROUP_CHAT}
    arrived = OK

    @pytest.fixture(autouse=True)
    def good(self, channel: Channel, fake: FakePlatform) -> SessionWebhook:
        return session(channel, fake, GROUP_CHAT)

    def make(self, fake: FakePlatform) -> DingTalk:
        return app(fake)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["markdown"]["text"] for document in fake.documents]

    def test_the_sender_names_its_secrets(self, fake: FakePlatform) -> None:
        """The session is no setting; it is hidden in what the attempt keeps."""
        outcome = self.send(fake, OK)
        assert "sendBySession?session=***" in outcome.request

    def test_nobody_listening_is_retried_and_surely_not_sent(
        self, fake: FakePlatform, good: SessionWebhook
    ) -> None:
        good.url = f"http://127.0.0.1:9/robot/sendBySession?session={SESSION}"
        good.save()
        outcome = self.send(fake, OK)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "connect")
        assert not outcome.ambiguous

    @pytest.mark.parametrize(
        "answer", [Answer(500), Answer(hangs_up=True), Answer(302)], ids=["500", "cut", "redirect"]
    )
    def test_a_check_that_finds_something_wrong_says_what(
        self, fake: FakePlatform, answer: Answer, lender: Lender
    ) -> None:
        lender.script(answer)
        assert not self.make(fake).check().ok

    @pytest.mark.parametrize(
        ("code", "error_class"),
        [
            (-1, "temporary"),
            (410100, "rate_limited"),
            (130101, "rate_limited"),
            (90030, "rate_limited"),
        ],
    )
    def test_what_will_pass_is_waited_for_on_the_same_road(
        self, fake: FakePlatform, code: int, error_class: str, good: SessionWebhook
    ) -> None:
        outcome = self.send(fake, no(code), SENT)
        assert (outcome.verdict, outcome.error_class) == (RETRY, error_class)
        assert paths(fake) == [BY_SESSION]
        good.refresh_from_db()
        assert good.url

    @pytest.mark.parametrize("code", [40035, 43004, 400105, 430101, 430102, 430103, 430104])
    def test_a_text_that_is_refused_is_refused_on_every_road(
        self, fake: FakePlatform, code: int
    ) -> None:
        outcome = self.send(fake, no(code), SENT)
        assert (outcome.verdict, outcome.error_class) == (FAILED, "content_refused")
        assert not outcome.faults_channel
        assert paths(fake) == [BY_SESSION]

    @pytest.mark.parametrize(
        "answer",
        [
            no(300001),
            no(300005),
            Answer.json(400, {"errcode": 300001, "errmsg": "session"}),
            Answer(500, {}, b'{"errmsg": "session does not exist"}'),
            Answer(500, {}, "会话 session 不存在".encode()),
            Answer(401),
            Answer(403),
            Answer(404),
            Answer(410),
        ],
        ids=str,
    )
    def test_a_session_that_is_gone_is_forgotten_and_the_openapi_delivers(
        self, fake: FakePlatform, answer: Answer, good: SessionWebhook
    ) -> None:
        outcome = self.send(fake, answer, SENT)
        assert outcome.verdict == Verdict.DELIVERED
        assert outcome.error == ""
        assert not outcome.faults_channel
        assert roads(outcome) == ["group"]
        assert paths(fake) == [BY_SESSION, TO_GROUP]
        good.refresh_from_db()
        assert good.url == ""

    @pytest.mark.parametrize("answer", [no(987654), Answer(400), Answer(302)], ids=str)
    def test_another_refusal_leads_to_the_openapi_and_forgets_nothing(
        self, fake: FakePlatform, answer: Answer, good: SessionWebhook
    ) -> None:
        outcome = self.send(fake, answer, SENT)
        assert (outcome.verdict, roads(outcome)) == (Verdict.DELIVERED, ["group"])
        good.refresh_from_db()
        assert good.url

    @pytest.mark.parametrize(
        "answer",
        [Answer(502), Answer(500), Answer(hangs_up=True), Answer(200, {}, b"<html>")],
        ids=["502", "500", "cut", "page"],
    )
    def test_what_may_have_arrived_takes_no_other_road(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer, SENT)
        assert outcome.verdict == RETRY
        assert paths(fake) == [BY_SESSION]

    def test_the_attempt_tells_of_both_roads(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, GONE, SENT)
        lines = [line for line in outcome.request.splitlines() if line.startswith("POST")]
        first, _token, second = lines
        assert first.startswith(f"POST {fake.url}{BY_SESSION}?session=*** → HTTP 200 (session: ")
        assert "300001 session 不存在" in first
        assert second == f"POST {fake.url}{TO_GROUP}"
        assert outcome.provider_ids == {"road": ["group"], "processQueryKey": ["pqk-1"]}

    def test_a_session_that_ends_between_two_parts(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, OK, GONE, SENT, text="word " * 1600)
        assert outcome.verdict == Verdict.DELIVERED
        assert roads(outcome) == ["session", "group", "group"]
        assert paths(fake) == [BY_SESSION, BY_SESSION, TO_GROUP, TO_GROUP]

    def test_when_the_openapi_fails_too_the_error_names_both(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, GONE, api_no(400, "robot.notInGroup"))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "chat_gone")
        assert "session: " in outcome.error
        assert "300001" in outcome.error
        assert "group: " in outcome.error
        assert "robot.notInGroup" in outcome.error


def test_the_request_by_session_is_a_markdown_message(fake: FakePlatform, channel: Channel) -> None:
    session(channel, fake, PRIVATE_CHAT)
    say(fake, PRIVATE_CHAT, OK)
    [seen] = fake.requests
    assert seen.path == f"{BY_SESSION}?session={SESSION}"
    assert seen.document == {
        "msgtype": "markdown",
        "markdown": {"title": "Hello", "text": "Hello"},
    }


def test_a_private_chat_whose_session_is_gone_is_reached_by_the_staff_id(
    fake: FakePlatform, channel: Channel
) -> None:
    session(channel, fake, PRIVATE_CHAT, robot_code="dingother")
    outcome = say(fake, PRIVATE_CHAT, GONE, SENT)
    assert (outcome.verdict, roads(outcome)) == (Verdict.DELIVERED, ["person"])
    assert fake.documents[1]["userIds"] == [STAFF]
    assert fake.documents[1]["robotCode"] == "dingother"


def test_a_person_is_answered_in_the_session_of_their_chat(
    fake: FakePlatform, channel: Channel
) -> None:
    session(channel, fake, PRIVATE_CHAT)
    assert roads(say(fake, f"user:{STAFF}", OK)) == ["session"]


@pytest.mark.parametrize(
    ("left", "road"), [(61, BY_SESSION), (59, TO_GROUP), (0, TO_GROUP), (-3600, TO_GROUP)]
)
def test_a_session_is_used_up_to_a_minute_before_its_end(
    fake: FakePlatform, channel: Channel, time_machine: Any, left: int, road: str
) -> None:
    now = timezone.now()
    session(channel, fake, GROUP_CHAT, expires_at=now + timedelta(seconds=left))
    time_machine.move_to(now, tick=False)
    outcome = say(fake, GROUP_CHAT, OK if road == BY_SESSION else SENT)
    assert outcome.verdict == Verdict.DELIVERED
    assert paths(fake) == [road]
    assert ("session: it ends at" in outcome.request) == (road == TO_GROUP)


def test_the_session_of_another_apps_robot_is_not_used(fake: FakePlatform) -> None:
    config = {"client_id": "dinganotherapp0000", "client_secret": SECRET}
    other = Channel.objects.create(name="other", kind="dingtalk", config=config)
    session(other, fake, GROUP_CHAT)
    say(fake, GROUP_CHAT, SENT)
    assert paths(fake) == [TO_GROUP]


def test_a_second_channel_of_an_app_uses_what_the_first_was_told(
    fake: FakePlatform, channel: Channel
) -> None:
    Channel.objects.create(name="second", kind="dingtalk", config=channel.config)
    session(channel, fake, GROUP_CHAT)
    assert roads(say(fake, GROUP_CHAT, OK)) == ["session"]


class TestOutsider:
    """A private chat with somebody who has no staff ID: the session is the only road."""

    @pytest.fixture(autouse=True)
    def chat(self, channel: Channel, fake: FakePlatform) -> SessionWebhook:
        return session(channel, fake, PRIVATE_CHAT, staff_id="")

    def test_without_a_session_the_failure_says_what_is_missing(self, fake: FakePlatform) -> None:
        outcome = say(fake, PRIVATE_CHAT, GONE)
        assert (outcome.verdict, outcome.error_class) == (FAILED, "no_road")
        assert "300001" in outcome.error
        assert "staff ID" in outcome.error
        assert not outcome.faults_channel

    def test_an_ended_session_is_not_even_tried(
        self, fake: FakePlatform, chat: SessionWebhook
    ) -> None:
        SessionWebhook.objects.update(expires_at=timezone.now())
        outcome = say(fake, PRIVATE_CHAT, OK)
        assert (outcome.verdict, outcome.error_class) == (FAILED, "no_road")
        assert fake.requests == []

    def test_the_groups_robot_is_no_road_unless_the_operator_wants_it(
        self, fake: FakePlatform
    ) -> None:
        outcome = say(fake, PRIVATE_CHAT, GONE, sender=app(fake, robot_url=robot_url(fake)))
        assert outcome.error_class == "no_road"

    def test_the_groups_robot_is_the_last_resort(self, fake: FakePlatform) -> None:
        sender = app(fake, robot_url=robot_url(fake), last_resort=True)
        outcome = say(fake, PRIVATE_CHAT, GONE, OK, sender=sender)
        assert (outcome.verdict, roads(outcome)) == (Verdict.DELIVERED, ["robot"])
        assert paths(fake) == [BY_SESSION, BY_ROBOT]


def test_the_last_resort_comes_after_both_others(fake: FakePlatform, channel: Channel) -> None:
    session(channel, fake, GROUP_CHAT)
    sender = app(fake, robot_url=robot_url(fake), last_resort=True)
    outcome = say(fake, GROUP_CHAT, GONE, api_no(400, "robot.notInGroup"), OK, sender=sender)
    assert (outcome.verdict, roads(outcome)) == (Verdict.DELIVERED, ["robot"])
    assert paths(fake) == [BY_SESSION, TO_GROUP, BY_ROBOT]
    assert not outcome.faults_channel


def test_credentials_that_fail_on_the_way_flag_the_channel_although_it_arrived(
    fake: FakePlatform, lender: Lender
) -> None:
    lender.script(api_no(400, "invalidClientIdOrSecret"))
    sender = app(fake, robot_url=robot_url(fake), last_resort=True)
    outcome = say(fake, GROUP_CHAT, OK, sender=sender)
    assert (outcome.verdict, roads(outcome)) == (Verdict.DELIVERED, ["robot"])
    assert outcome.faults_channel
    assert "invalidClientIdOrSecret" in outcome.error


@pytest.mark.parametrize(
    "answer",
    [api_no(403, "Forbidden.AccessDenied.QpsLimitForApi"), Answer(503), Answer(hangs_up=True)],
    ids=["limit", "503", "cut"],
)
def test_what_will_pass_or_may_have_arrived_does_not_go_to_the_last_resort(
    fake: FakePlatform, answer: Answer
) -> None:
    sender = app(fake, robot_url=robot_url(fake), last_resort=True)
    assert say(fake, GROUP_CHAT, answer, OK, sender=sender).verdict == RETRY
    assert set(paths(fake)) == {TO_GROUP}


def test_the_groups_robot_can_be_named(fake: FakePlatform) -> None:
    outcome = say(fake, "robot", OK, sender=app(fake, robot_url=robot_url(fake)))
    assert (outcome.verdict, paths(fake)) == (Verdict.DELIVERED, [BY_ROBOT])


def test_a_robots_channel_reaches_no_other_chat(fake: FakePlatform) -> None:
    outcome = say(fake, GROUP_CHAT, OK, sender=DingTalk({"robot_url": robot_url(fake)}))
    assert (outcome.verdict, outcome.error_class) == (FAILED, "no_road")
    assert outcome.faults_channel
    assert fake.requests == []
