"""The webhook of a group's own robot."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deliveries.outcomes import Verdict
from platforms import pacing, tokens
from platforms.senders.dingtalk import DingTalk

from .dingtalk import (
    FAILED,
    LENT,
    OK,
    RETRY,
    ROBOT_SECRET,
    ROBOT_TOKEN,
    TOKEN,
    TOKEN_PATH,
    Row,
    no,
    roads,
    robot_url,
)
from .fake import FakePlatform
from .lending import Lender
from .test_dingtalk import DingTalkCase

pytestmark = pytest.mark.django_db


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


class TestByTheRobot(DingTalkCase):
    secret = ROBOT_TOKEN
    arrived = OK

    def make(self, fake: FakePlatform, **config: Any) -> DingTalk:
        return DingTalk({"robot_url": robot_url(fake), "robot_secret": ROBOT_SECRET, **config})

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["markdown"]["text"] for document in fake.documents]

    def test_an_unrendered_placeholder_is_nowhere_to_go(self, fake: FakePlatform) -> None:
        """A robot has its one group: what names no chat goes there."""
        outcome = self.send(fake, self.arrived, target={"chat_id": "{a.b}"})
        assert outcome.verdict == Verdict.DELIVERED

    def test_nobody_listening_is_retried_and_surely_not_sent(self, fake: FakePlatform) -> None:
        sender = self.make(fake, robot_url=f"http://127.0.0.1:9/robot/send?access_token={TOKEN}")
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (RETRY, "connect")
        assert not outcome.ambiguous

    def test_the_request_is_the_robots_and_signed(
        self, fake: FakePlatform, time_machine: Any
    ) -> None:
        time_machine.move_to("2023-11-14T22:13:20Z", tick=False)
        outcome = self.send(fake, OK, text="**Deploy** 完成")
        [seen] = fake.requests
        query = parse_qs(urlsplit(seen.path).query)
        assert query == {
            "access_token": [ROBOT_TOKEN],
            "timestamp": ["1700000000000"],
            "sign": ["pAZxkKa9uyr9GhnKy5IDYKDtE1VZZYu3xAnQUr7mpwc="],
        }
        assert seen.document == {
            "msgtype": "markdown",
            "markdown": {"title": "Deploy 完成", "text": "**Deploy** 完成"},
        }
        assert roads(outcome) == ["robot"]
        assert "pAZxkKa9uyr9" not in repr(outcome)

    def test_a_robot_without_a_secret_is_not_signed(self, fake: FakePlatform) -> None:
        fake.script(OK)
        self.make(fake, robot_secret="").send(self.message())
        [seen] = fake.requests
        assert seen.path == f"/robot/send?access_token={ROBOT_TOKEN}"

    def test_the_keyword_is_added_where_it_is_missing(self, fake: FakePlatform) -> None:
        fake.script(OK)
        sender = self.make(fake, robot_keyword="deploy")
        sender.send(self.message("all is well"))
        sender.send(self.message("a deploy is done"))
        assert self.texts(fake) == ["all is well\n\ndeploy", "a deploy is done"]

    @pytest.mark.parametrize(
        ("code", "row", "wait"),
        [
            (-1, (RETRY, "temporary", False), None),
            (410100, (RETRY, "rate_limited", False), 600),
            (130101, (RETRY, "rate_limited", False), 600),
            (90030, (RETRY, "rate_limited", False), 600),
            (310000, (FAILED, "robot_security", True), None),
            (300001, (FAILED, "bad_robot", True), None),
            (400101, (FAILED, "bad_robot", True), None),
            (400102, (FAILED, "bad_robot", True), None),
            (400106, (FAILED, "bad_robot", True), None),
            (400013, (FAILED, "bad_robot", True), None),
            (40035, (FAILED, "content_refused", False), None),
            (43004, (FAILED, "content_refused", False), None),
            (400105, (FAILED, "content_refused", False), None),
            (430101, (FAILED, "content_refused", False), None),
            (430102, (FAILED, "content_refused", False), None),
            (430103, (FAILED, "content_refused", False), None),
            (430104, (FAILED, "content_refused", False), None),
            (987654, (FAILED, "client_error", False), None),
        ],
    )
    def test_a_200_that_says_no_is_none(
        self, fake: FakePlatform, code: int, row: Row, wait: float | None
    ) -> None:
        outcome = self.send(fake, no(code))
        assert (outcome.verdict, outcome.error_class, outcome.faults_channel) == row
        assert outcome.retry_after == wait
        assert f"{code} it says why" in outcome.error
        assert len(fake.requests) == 1

    def test_after_a_throttle_nobody_calls_for_ten_minutes(self, fake: FakePlatform) -> None:
        self.send(fake, no(410100))
        outcome = self.send(fake, OK)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "local_rate_limit")
        assert outcome.retry_after == pytest.approx(600, abs=2)
        assert len(fake.requests) == 1

    def test_the_pace_is_kept_without_a_call(self, fake: FakePlatform) -> None:
        fake.script(OK)
        outcomes = [self.make(fake).send(self.message()) for _message in range(12)]
        put_off = [outcome for outcome in outcomes if outcome.verdict == RETRY]
        assert {outcome.error_class for outcome in put_off} == {"local_rate_limit"}
        assert len(fake.requests) == len(outcomes) - len(put_off) < 12

    def test_a_signature_refused_for_our_clock_is_made_by_theirs(
        self, fake: FakePlatform, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        date = "Tue, 14 Nov 2023 22:13:20 GMT"
        monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda _self: date)
        outcome = self.send(fake, no(310000, "sign not match or timestamp is invalid"), OK)
        assert outcome.verdict == Verdict.DELIVERED
        stamps = [parse_qs(urlsplit(seen.path).query)["timestamp"] for seen in fake.requests]
        assert stamps[1] == ["1700000000000"]

    def test_a_robot_is_tested_by_a_message(self, fake: FakePlatform) -> None:
        fake.script(OK)
        assert self.make(fake).check().ok
        assert "test message" in self.texts(fake)[0]


ROBOT_URL = f"https://oapi.dingtalk.com/robot/send?access_token={ROBOT_TOKEN}"


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        (ROBOT_URL, True),
        (ROBOT_URL.replace("https", "http"), False),
        (ROBOT_URL[:-1], False),
        (ROBOT_URL.replace("/robot/send", "/robot/other"), False),
        (f"https://127.0.0.1/robot/send?access_token={ROBOT_TOKEN}", False),
    ],
)
def test_a_robots_address_is_checked(settings: Any, url: str, is_good: bool) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    assert DingTalk.Config({"robot_url": url}).is_valid() == is_good
