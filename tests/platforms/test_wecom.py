from collections.abc import Iterator
from typing import Any, ClassVar

import orjson
import pytest

from deliveries.outcomes import Verdict
from platforms import pacing, tokens
from platforms.senders.wecom import WeCom

from .fake import Answer, FakePlatform
from .lending import Lender
from .sender_case import TextSenderCase, text_message

KEY = "693a0006-7a0c-4bc4-97a0-0ec2f1fa5aaa"
SECRET = "PlZ9hKpW-3nQvJc_2TtRx7yUuBbNnMm4LlKkJjHhGgF"
TOKEN = "accesstoken000001-lent"
TOKEN_PATH = "/cgi-bin/gettoken"
OK = Answer.json(200, {"errcode": 0, "errmsg": "ok"})
LENT = Answer.json(200, {"errcode": 0, "errmsg": "ok", "access_token": TOKEN, "expires_in": 7200})


def no(code: int, msg: str = "it says why", **more: Any) -> Answer:
    return Answer.json(200, {"errcode": code, "errmsg": msg, **more})


@pytest.fixture(autouse=True)
def no_tokens() -> Iterator[None]:
    tokens.forget_all()
    pacing.forget()
    yield
    tokens.forget_all()
    pacing.forget()


@pytest.fixture
def lender(fake: FakePlatform) -> Lender:
    return Lender(fake, TOKEN_PATH, LENT)


class WeComCase(TextSenderCase):
    arrived = OK

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document[document["msgtype"]]["content"] for document in fake.documents]

    def size(self, text: str) -> int:
        return len(text.encode())

    @pytest.mark.parametrize(
        ("code", "verdict", "error_class", "faults"),
        [
            (45009, Verdict.RETRY, "rate_limited", False),
            (45033, Verdict.RETRY, "rate_limited", False),
            (-1, Verdict.RETRY, "temporary", False),
            (6000, Verdict.RETRY, "temporary", False),
            (40001, Verdict.FAILED, "unauthorized", True),
            (40013, Verdict.FAILED, "unauthorized", True),
            (40091, Verdict.FAILED, "unauthorized", True),
            (40056, Verdict.FAILED, "forbidden", True),
            (60020, Verdict.FAILED, "forbidden", True),
            (48002, Verdict.FAILED, "forbidden", True),
            (50002, Verdict.FAILED, "forbidden", True),
            (50003, Verdict.FAILED, "forbidden", True),
            (301002, Verdict.FAILED, "forbidden", True),
            (60011, Verdict.FAILED, "forbidden", True),
            (93000, Verdict.FAILED, "bad_robot", True),
            (81013, Verdict.FAILED, "chat_gone", False),
            (82001, Verdict.FAILED, "chat_gone", False),
            (86001, Verdict.FAILED, "chat_gone", False),
            (86002, Verdict.FAILED, "chat_gone", False),
            (86003, Verdict.FAILED, "chat_gone", False),
            (86004, Verdict.FAILED, "chat_gone", False),
            (44004, Verdict.FAILED, "client_error", False),
            (45002, Verdict.FAILED, "client_error", False),
            (40058, Verdict.FAILED, "client_error", False),
            (40035, Verdict.FAILED, "client_error", False),
            (47001, Verdict.FAILED, "client_error", False),
            (987654, Verdict.FAILED, "client_error", False),
        ],
    )
    def test_a_200_that_says_no_is_none(
        self, fake: FakePlatform, code: int, verdict: Verdict, error_class: str, faults: bool
    ) -> None:
        outcome = self.send(fake, no(code))
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert f"{code} it says why" in outcome.error
        assert outcome.retry_after == (60 if error_class == "rate_limited" else None)
        assert len(fake.requests) == 1

    def test_a_type_that_is_refused_goes_again_as_text(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(40008), OK, text="**Deploy** done")
        assert outcome.verdict == Verdict.DELIVERED
        assert [document["msgtype"] for document in fake.documents] == ["markdown", "text"]
        assert self.texts(fake) == ["**Deploy** done", "Deploy done"]

    def test_text_that_is_refused_too_has_failed(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(40008))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "client_error")
        assert len(fake.requests) == 2

    def test_a_mention_calls_nobody(self, fake: FakePlatform) -> None:
        self.send(fake, OK, text="<@ada> <@all>")
        assert "<@" not in self.texts(fake)[0]

    def test_the_pace_is_kept_without_a_call(self, fake: FakePlatform) -> None:
        fake.script(self.arrived)
        outcomes = [self.make(fake).send(self.message()) for _message in range(12)]
        put_off = [outcome for outcome in outcomes if outcome.verdict == Verdict.RETRY]
        assert {outcome.error_class for outcome in put_off} == {"local_rate_limit"}
        assert len(fake.requests) == len(outcomes) - len(put_off) < 12

    @pytest.mark.parametrize(
        "answer",
        [
            Answer.json(200, {"errcode": "0"}),
            Answer.json(200, {"errcode": False}),
            Answer.json(200, {"errcode": 10**30, "errmsg": {"a": "\ud800\x00"}}),
            Answer.json(200, {"errcode": 0, "msgid": "\ud800\x00", "invaliduser": ["ada"]}),
            Answer.json(200, {"errcode": 0, "invaliduser": 7, "invalidparty": {}}),
        ],
    )
    def test_a_senseless_body_makes_an_outcome_that_can_be_stored(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        orjson.dumps([outcome.provider_ids, outcome.progress, outcome.error, outcome.response])


class TestWeComRobot(WeComCase):
    secret = KEY
    checked = (OK,)

    def make(self, fake: FakePlatform, **config: Any) -> WeCom:
        return WeCom({"mode": "robot", "key": KEY, "api_base": fake.url, **config})

    def test_an_unrendered_placeholder_is_nowhere_to_go(self, fake: FakePlatform) -> None:
        """A robot has its one group, whatever the target says."""
        outcome = self.send(fake, self.arrived, target={"chat_id": "{a.b}"})
        assert outcome.verdict == Verdict.DELIVERED

    def test_the_request_is_the_robots(self, fake: FakePlatform) -> None:
        self.send(fake, OK, text="**Deploy** 完成 😀")
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", f"/cgi-bin/webhook/send?key={KEY}")
        assert seen.document == {
            "msgtype": "markdown",
            "markdown": {"content": "**Deploy** 完成 😀"},
        }
        assert "完成".encode() in seen.body

    @pytest.mark.parametrize("style", ["text", "markdown_v2"])
    def test_the_style_is_the_channels(self, fake: FakePlatform, style: str) -> None:
        fake.script(OK)
        self.make(fake, style=style).send(self.message("**Deploy**"))
        text = "Deploy" if style == "text" else "**Deploy**"
        assert fake.documents == [{"msgtype": style, style: {"content": text}}]

    def test_a_text_that_is_too_long_is_no_fault_of_the_robot(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(93000, "content exceed max length"))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "client_error")
        assert not outcome.faults_channel

    def test_the_check_sends_a_test_message(self, fake: FakePlatform) -> None:
        fake.script(OK)
        assert self.make(fake).check().ok
        assert "test message" in self.texts(fake)[0]

    def test_a_channel_without_a_key_says_so(self, fake: FakePlatform) -> None:
        sender = self.make(fake, key="")
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "unauthorized")
        assert outcome.faults_channel
        assert not sender.check().ok
        assert fake.requests == []


@pytest.mark.usefixtures("lender")
class TestWeComApp(WeComCase):
    secret = SECRET
    target: ClassVar = {"chat_id": "ada|bob"}
    checked = (Answer.json(200, {"errcode": 0, "errmsg": "ok", "name": "Alerts"}),)

    def make(self, fake: FakePlatform, **config: Any) -> WeCom:
        app = {"corp_id": "ww0123456789abcdef", "agent_id": "1000002", "corp_secret": SECRET}
        return WeCom({"mode": "app", **app, "api_base": fake.url, **config})

    def test_the_request_is_the_message_apis(self, fake: FakePlatform, lender: Lender) -> None:
        answer = Answer.json(200, {"errcode": 0, "errmsg": "ok", "msgid": "m-1"})
        outcome = self.send(fake, answer, text="**Deploy** 完成")
        [asked] = lender.requests
        assert (asked.method, asked.path) == (
            "GET",
            f"{TOKEN_PATH}?corpid=ww0123456789abcdef&corpsecret={SECRET}",
        )
        [seen] = fake.requests
        assert (seen.method, seen.path) == (
            "POST",
            f"/cgi-bin/message/send?access_token={TOKEN}",
        )
        assert seen.document == {
            "touser": "ada|bob",
            "msgtype": "markdown",
            "markdown": {"content": "**Deploy** 完成"},
            "agentid": 1000002,
        }
        assert outcome.provider_ids == {"msgid": ["m-1"]}

    @pytest.mark.parametrize(
        ("chat", "receiver"),
        [
            ("@all", {"touser": "@all"}),
            ("party:2", {"toparty": "2"}),
            ("tag:3", {"totag": "3"}),
        ],
    )
    def test_a_target_is_members_a_party_or_a_tag(
        self, fake: FakePlatform, chat: str, receiver: dict[str, str]
    ) -> None:
        fake.script(OK)
        self.make(fake).send(text_message(target={"chat_id": chat}))
        [letter] = fake.documents
        assert receiver.items() <= letter.items()

    def test_a_chat_has_a_call_of_its_own(self, fake: FakePlatform) -> None:
        fake.script(OK)
        self.make(fake).send(text_message("Hello", target={"chat_id": "chat:ops-1"}))
        [seen] = fake.requests
        assert seen.path == f"/cgi-bin/appchat/send?access_token={TOKEN}"
        assert seen.document == {
            "chatid": "ops-1",
            "msgtype": "markdown",
            "markdown": {"content": "Hello"},
        }

    def test_repeats_are_dropped_only_if_the_channel_wants_it(self, fake: FakePlatform) -> None:
        fake.script(OK)
        self.make(fake).send(self.message())
        self.make(fake, drop_repeats=True).send(self.message())
        first, second = fake.documents
        assert "enable_duplicate_check" not in first
        assert second["enable_duplicate_check"] == 1
        assert second["duplicate_check_interval"] == 1800

    @pytest.mark.parametrize(
        ("chat", "answer"),
        [
            ("Ada|bob", {"invaliduser": "ada|bob"}),
            ("ada|bob", {"invaliduser": "ada", "unlicenseduser": "bob"}),
            ("ada", {"unlicenseduser": "ada"}),
            ("party:2", {"invalidparty": "1|2"}),
            ("tag:3", {"invalidtag": "3"}),
        ],
    )
    def test_a_success_that_reaches_nobody_is_none(
        self, fake: FakePlatform, chat: str, answer: dict[str, str]
    ) -> None:
        fake.script(no(0, "ok", **answer))
        outcome = self.make(fake).send(text_message(target={"chat_id": chat}))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "chat_gone")
        assert not outcome.faults_channel

    def test_a_success_that_reaches_some_names_the_others(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(0, "ok", invaliduser="bob", msgid="m-1"))
        assert outcome.verdict == Verdict.DELIVERED
        assert outcome.provider_ids == {"msgid": ["m-1"], "invaliduser": ["bob"]}

    def test_trouble_with_the_home_is_the_channels(self, fake: FakePlatform) -> None:
        fake.script(no(0, "ok", invaliduser="ada"))
        sender = self.make(fake)
        sender.home["chat_id"] = "ada"
        assert sender.send(text_message()).faults_channel

    @pytest.mark.parametrize("chat", ["a b", "ada||bob", "party:", "../x", "群", "room:1"])
    def test_a_target_that_wecom_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, chat: str
    ) -> None:
        outcome = self.make(fake).send(text_message(target={"chat_id": chat}))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "bad_target")
        assert fake.requests == []

    @pytest.mark.parametrize("code", [40014, 41001, 42001])
    def test_a_token_that_is_refused_is_fetched_anew_at_once(
        self, fake: FakePlatform, lender: Lender, code: int
    ) -> None:
        lender.script(LENT, Answer.json(200, {"errcode": 0, "access_token": "other-token"}))
        outcome = self.send(fake, no(code), OK)
        assert outcome.verdict == Verdict.DELIVERED
        used = [seen.path.rpartition("=")[2] for seen in fake.requests]
        assert used == [TOKEN, "other-token"]
        assert TOKEN not in repr(outcome)
        assert "other-token" not in repr(outcome)

    @pytest.mark.parametrize("answer", [no(40014), no(41001), no(42001), Answer(401)])
    def test_a_second_refusal_of_a_token_faults_the_channel(
        self, fake: FakePlatform, lender: Lender, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "unauthorized")
        assert outcome.faults_channel
        assert len(lender.requests) == len(fake.requests) == 2

    def test_a_token_that_ends_amid_the_parts_doubles_none(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, OK, no(42001), OK, text="word " * 1000)
        assert outcome.verdict == Verdict.DELIVERED
        numbers = [text.rpartition("\n")[2] for text in self.texts(fake)]
        assert numbers == ["(1/3)", "(2/3)", "(2/3)", "(3/3)"]

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        [
            (no(40001), Verdict.FAILED, "unauthorized", True),
            (no(40013), Verdict.FAILED, "unauthorized", True),
            (no(60020), Verdict.FAILED, "forbidden", True),
            (no(301021), Verdict.FAILED, "unauthorized", True),
            (no(45009), Verdict.RETRY, "rate_limited", False),
            (no(-1), Verdict.RETRY, "temporary", False),
            (Answer(502), Verdict.RETRY, "server_error", False),
            (Answer.json(200, {"errcode": 0}), Verdict.RETRY, "bad_reply", False),
            (Answer(hangs_up=True), Verdict.RETRY, "reset", False),
        ],
    )
    def test_without_a_token_nothing_was_sent(
        self,
        fake: FakePlatform,
        lender: Lender,
        answer: Answer,
        verdict: Verdict,
        error_class: str,
        faults: bool,
    ) -> None:
        lender.script(answer)
        outcome = self.send(fake, OK)
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert not outcome.ambiguous
        assert fake.requests == []
        self.assert_without_secret(repr(outcome))

    def test_the_check_names_the_app(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        assert "Alerts" in self.make(fake).check().detail
        [seen] = fake.requests
        assert seen.method == "GET"
        assert seen.path == f"/cgi-bin/agent/get?access_token={TOKEN}&agentid=1000002"


APP = {"mode": "app", "corp_id": "ww0123456789abcdef", "agent_id": "7", "corp_secret": SECRET}


@pytest.mark.parametrize(
    ("data", "good"),
    [
        ({"mode": "robot", "key": KEY}, True),
        (
            {"mode": "robot", "key": f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={KEY}"},
            True,
        ),
        ({"mode": "robot", "key": "https://qyapi.weixin.qq.com/?other=1"}, False),
        ({"mode": "robot", "key": "a key"}, False),
        ({"mode": "robot", "key": KEY, "style": "markdown_v2"}, True),
        (APP, True),
        (APP | {"corp_id": ""}, False),
        (APP | {"corp_id": "x1"}, False),
        (APP | {"agent_id": ""}, False),
        (APP | {"corp_secret": "short"}, False),
        (APP | {"style": "markdown_v2"}, False),
        ({"key": KEY}, False),
    ],
)
def test_the_form_knows_a_credential(data: dict[str, str], good: bool) -> None:
    assert WeCom.Config(data).is_valid() == good


def test_the_key_is_read_out_of_the_address() -> None:
    form = WeCom.Config({"mode": "robot", "key": f"https://x.org/webhook/send?debug=1&key={KEY}"})
    assert form.is_valid()
    assert form.cleaned_data["key"] == KEY


@pytest.mark.parametrize(
    ("chat", "good"),
    [("ada|bob", True), ("@all", True), ("chat:x", True), ("", True), ("a b", False)],
)
def test_the_form_knows_a_home(chat: str, good: bool) -> None:
    assert WeCom.Home({"chat_id": chat}).is_valid() == good
