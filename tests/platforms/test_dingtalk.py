"""DingTalk's roads, each by itself; one after the other: see test_dingtalk_roads."""

import json
from collections.abc import Iterator
from typing import ClassVar

import orjson
import pytest

from deliveries.outcomes import Verdict
from platforms import pacing, tokens
from platforms.senders.dingtalk import DingTalk

from .dingtalk import (
    CLIENT_ID,
    FAILED,
    GROUP_CHAT,
    LENT,
    OK,
    RETRY,
    SECRET,
    SENT,
    STAFF,
    TOKEN,
    TOKEN_PATH,
    Row,
    api_no,
    app,
    no,
    roads,
)
from .fake import Answer, FakePlatform
from .lending import Lender
from .sender_case import TextSenderCase, text_message

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


class DingTalkCase(TextSenderCase):
    checked = (OK,)

    def size(self, text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    @pytest.mark.parametrize(
        "answer",
        [
            Answer.json(200, {"errcode": "0"}),
            Answer.json(200, {"errcode": False}),
            Answer.json(200, {"errcode": 10**30, "errmsg": {"a": "\ud800\x00"}}),
            Answer.json(200, {"processQueryKey": "\ud800\x00", "invalidStaffIdList": 7}),
            Answer.json(200, {"processQueryKey": 7, "errcode": 0}),
            Answer.json(403, {"code": {"a": 1}, "accessdenieddetail": ["x"]}),
        ],
    )
    def test_a_senseless_body_makes_an_outcome_that_can_be_stored(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        orjson.dumps([outcome.provider_ids, outcome.progress, outcome.error, outcome.response])

    def test_a_page_for_people_means_five_minutes_of_silence(self, fake: FakePlatform) -> None:
        page = Answer(403, {"Content-Type": "text/html"}, b"<!doctype html><p>1111</p>")
        outcome = self.send(fake, page)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "bad_reply")
        assert outcome.retry_after == 300


class ApiCase(DingTalkCase):
    secret = SECRET
    arrived = SENT
    road: ClassVar[str]

    def make(self, fake: FakePlatform) -> DingTalk:
        return app(fake)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [json.loads(document["msgParam"])["text"] for document in fake.documents]

    def assert_without_secret(self, *texts: str) -> None:
        super().assert_without_secret(*texts)
        for text in texts:
            assert TOKEN not in text

    @pytest.mark.parametrize(
        "answer",
        [Answer.json(401, {"code": "x"}), Answer(500), Answer(hangs_up=True), Answer(302)],
        ids=["unauthorized", "server error", "hangs up", "redirect"],
    )
    def test_a_check_that_finds_something_wrong_says_what(
        self, fake: FakePlatform, answer: Answer, lender: Lender
    ) -> None:
        """The check is the token call."""
        lender.script(answer)
        check = self.make(fake).check()
        assert not check.ok
        assert check.detail

    def test_a_check_asks_anew_although_a_token_is_held(
        self, fake: FakePlatform, lender: Lender
    ) -> None:
        self.send(fake, SENT)
        lender.script(api_no(400, "invalidClientIdOrSecret"))
        assert not self.make(fake).check().ok
        assert len(lender.requests) == 2

    # -- the rows of the table for the OpenAPI (facts/channels.md §13.9) --

    @pytest.mark.parametrize(
        ("status", "code", "row"),
        [
            (403, "Forbidden.AccessDenied.QpsLimitForApi", (RETRY, "rate_limited", False)),
            (403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", (RETRY, "rate_limited", False)),
            (403, "Forbidden.AccessDenied.ApiCountLimit", (FAILED, "quota", True)),
            (
                403,
                "Forbidden.AccessDenied.AccessTokenPermissionDenied",
                (FAILED, "forbidden", True),
            ),
            (403, "Forbidden.AccessDenied.IpNotInWhiteList", (FAILED, "forbidden", True)),
            (400, "staffId.notExisted", (FAILED, "user_unknown", False)),
            (400, "invalidParameter.userIds.empty", (FAILED, "user_unknown", False)),
            (400, "openConversationId.notExisted", (FAILED, "chat_gone", False)),
            (400, "invalidParameter.openConversationId.invalid", (FAILED, "chat_gone", False)),
            (400, "group.disbanded", (FAILED, "chat_gone", False)),
            (400, "robot.notInGroup", (FAILED, "chat_gone", False)),
            (404, "resource.not.found", (FAILED, "bad_robot", True)),
            (400, "invalidParameter.robotCode.empty", (FAILED, "bad_robot", True)),
            (400, "bot.stopped", (FAILED, "bad_robot", True)),
            (400, "template.stopped", (FAILED, "bad_robot", True)),
            (400, "invalidParameter.msgKey.invalid", (FAILED, "content_refused", False)),
            (400, "invalidParameter.msgParam.invalid", (FAILED, "content_refused", False)),
            (400, "invalidParameter.param.invalid", (FAILED, "content_refused", False)),
            (500, "systemError", (RETRY, "server_error", False)),
            (503, "ServiceUnavailable", (RETRY, "server_error", False)),
            (400, "something.new", (FAILED, "client_error", False)),
        ],
    )
    def test_a_code_means_what_its_row_says(
        self, fake: FakePlatform, status: int, code: str, row: Row
    ) -> None:
        outcome = self.send(fake, api_no(status, code))
        assert (outcome.verdict, outcome.error_class, outcome.faults_channel) == row
        assert f"{code} it says why (req-1)" in outcome.error
        assert outcome.retry_after == (5 if row[1] == "rate_limited" else None)
        assert roads(outcome) == [self.road]
        assert len(fake.requests) == 1

    @pytest.mark.parametrize(
        ("number", "row"),
        [
            (90002, (RETRY, "rate_limited", False)),
            (90018, (RETRY, "rate_limited", False)),
            (90019, (RETRY, "rate_limited", False)),
            (90020, (FAILED, "quota", True)),
            (987654, (FAILED, "client_error", False)),
        ],
    )
    def test_a_number_in_a_success_means_what_its_row_says(
        self, fake: FakePlatform, number: int, row: Row
    ) -> None:
        outcome = self.send(fake, no(number))
        assert (outcome.verdict, outcome.error_class, outcome.faults_channel) == row

    def test_the_permission_that_is_missing_is_named(self, fake: FakePlatform) -> None:
        code = "Forbidden.AccessDenied.AccessTokenPermissionDenied"
        detail = {"requiredScopes": ["qyapi_robot_sendmsg"]}
        outcome = self.send(fake, api_no(403, code, accessdenieddetail=detail))
        assert "[qyapi_robot_sendmsg]" in outcome.error

    @pytest.mark.parametrize(
        "refusal",
        [Answer(401), api_no(400, "InvalidAuthentication"), no(88), no(40014)],
        ids=["401", "InvalidAuthentication", "88", "40014"],
    )
    def test_a_token_that_is_refused_is_fetched_anew_at_once(
        self, fake: FakePlatform, lender: Lender, refusal: Answer
    ) -> None:
        lender.script(LENT, Answer.json(200, {"accessToken": "another-token-2"}))
        outcome = self.send(fake, refusal, SENT)
        assert outcome.verdict == Verdict.DELIVERED
        used = [seen.headers["x-acs-dingtalk-access-token"] for seen in fake.requests]
        assert used == [TOKEN, "another-token-2"]

    def test_a_token_that_is_refused_twice_flags_the_channel(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, api_no(401, "InvalidAuthentication"))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
        assert outcome.faults_channel
        assert len(fake.requests) == 2

    @pytest.mark.parametrize(
        "code", ["invalidClientIdOrSecret", "invalid.client", "unauthorized.client", "other"]
    )
    def test_wrong_credentials_flag_the_channel_and_send_nothing(
        self, fake: FakePlatform, lender: Lender, code: str
    ) -> None:
        lender.script(api_no(400, code))
        outcome = self.send(fake, SENT)
        assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
        assert outcome.faults_channel
        assert fake.requests == []

    def test_a_token_call_that_is_slowed_down_is_made_later(
        self, fake: FakePlatform, lender: Lender
    ) -> None:
        lender.script(api_no(403, "Forbidden.AccessDenied.QpsLimitForApi"))
        outcome = self.send(fake, SENT)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "rate_limited")
        assert not outcome.faults_channel

    def test_the_token_is_fetched_once_for_many(self, fake: FakePlatform, lender: Lender) -> None:
        fake.script(SENT)
        for _message in range(3):
            self.make(fake).send(self.message())
        [asked] = lender.requests
        assert asked.document == {"appKey": CLIENT_ID, "appSecret": SECRET}

    def test_fifteen_thousand_bytes_hold_the_longest_part(self, fake: FakePlatform) -> None:
        for character in ("😀", "界", '"', "\\", "\n\n-"):
            fake.requests.clear()
            self.send(fake, SENT, text=character * (3800 // self.size(character)))
            for document in fake.documents:
                assert len(document["msgParam"].encode()) < 15_000


class TestToAGroup(ApiCase):
    target: ClassVar = {"chat_id": GROUP_CHAT}
    road = "group"

    def test_the_request_is_the_group_message(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, SENT, text="**Deploy** 完成 😀\n- one")
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", "/v1.0/robot/groupMessages/send")
        letter = seen.document
        assert json.loads(letter.pop("msgParam")) == {
            "title": "Deploy 完成 😀",
            "text": "**Deploy** 完成 😀\n\n- one",
        }
        assert letter == {
            "robotCode": CLIENT_ID,
            "openConversationId": GROUP_CHAT,
            "msgKey": "sampleMarkdown",
        }
        assert outcome.provider_ids == {"road": ["group"], "processQueryKey": ["pqk-1"]}


class TestToAPerson(ApiCase):
    target: ClassVar = {"chat_id": f"user:{STAFF}"}
    road = "person"

    def test_the_request_is_the_message_for_one(self, fake: FakePlatform) -> None:
        self.send(fake, SENT)
        [seen] = fake.requests
        assert seen.path == "/v1.0/robot/oToMessages/batchSend"
        assert seen.document == {
            "robotCode": CLIENT_ID,
            "userIds": [STAFF],
            "msgKey": "sampleMarkdown",
            "msgParam": '{"title": "Hello", "text": "Hello"}',
        }

    @pytest.mark.parametrize(
        ("name", "row", "wait"),
        [
            ("invalidStaffIdList", (FAILED, "user_unknown", False), None),
            ("flowControlledStaffIdList", (RETRY, "rate_limited", False), 60),
            ("filteredStaffIdList", (FAILED, "filtered", False), None),
        ],
    )
    def test_a_success_that_lists_the_person_is_none(
        self, fake: FakePlatform, name: str, row: Row, wait: float | None
    ) -> None:
        outcome = self.send(fake, Answer.json(200, {"processQueryKey": "pqk-1", name: [STAFF]}))
        assert (outcome.verdict, outcome.error_class, outcome.faults_channel) == row
        assert outcome.retry_after == wait
        assert name in outcome.error


def test_a_channel_without_any_credential_says_so(fake: FakePlatform) -> None:
    sender = DingTalk({"api_base": fake.url})
    outcome = sender.send(text_message(target={"chat_id": GROUP_CHAT}))
    assert (outcome.verdict, outcome.faults_channel) == (FAILED, True)
    assert not sender.check().ok
    assert fake.requests == []


@pytest.mark.parametrize("chat", ["x", "cid1", "user:", "user:a b", "../x", "群", "@all"])
def test_a_target_that_dingtalk_cannot_have_is_refused_without_a_call(
    fake: FakePlatform, chat: str
) -> None:
    outcome = app(fake).send(text_message(target={"chat_id": chat}))
    assert (outcome.verdict, outcome.error_class) == (FAILED, "bad_target")
    assert fake.requests == []


@pytest.mark.parametrize(
    "answer",
    [api_no(400, "group.disbanded"), Answer.json(200, {"processQueryKey": "k"})],
    ids=["gone", "fine"],
)
def test_trouble_with_the_home_is_the_channels(fake: FakePlatform, answer: Answer) -> None:
    fake.script(answer)
    sender = app(fake)
    sender.home["chat_id"] = GROUP_CHAT
    outcome = sender.send(text_message())
    assert outcome.faults_channel == (outcome.verdict == FAILED)


def test_the_robot_code_may_be_another_than_the_client_id(fake: FakePlatform) -> None:
    fake.script(SENT)
    app(fake, robot_code="dingrobot1").send(text_message(target={"chat_id": GROUP_CHAT}))
    assert fake.documents[0]["robotCode"] == "dingrobot1"


def test_a_secret_without_its_id_is_refused() -> None:
    form = DingTalk.Config({"client_secret": SECRET})
    assert not form.is_valid()
    assert list(form.errors) == ["client_id"]
