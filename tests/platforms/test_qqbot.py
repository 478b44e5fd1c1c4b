from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import orjson
import pytest

from deliveries.outcomes import Verdict
from platforms import tokens
from platforms.senders.qqbot import QQBot

from .fake import Answer, FakePlatform
from .lending import Lender
from .sender_case import TextSenderCase, text_message

SECRET = "aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpP"
TOKEN = "lent-access-token-1"
TOKEN_PATH = "/app/getAppAccessToken"
OPENID = "0123456789ABCDEF0123456789ABCDEF"
OK = Answer.json(200, {"id": "ROBOT1.0_x", "timestamp": 1700000000})
LENT = Answer.json(200, {"access_token": TOKEN, "expires_in": "7200"})
RETRY, FAILED = Verdict.RETRY, Verdict.FAILED


def no(code: int, status: int = 400, name: str = "code") -> Answer:
    body = {name: code, "message": "it says why", "trace_id": "t"}
    return Answer.json(status, body, headers={"X-Tps-trace-ID": "trace-7"})


@pytest.fixture(autouse=True)
def no_tokens() -> Iterator[None]:
    tokens.forget_all()
    yield
    tokens.forget_all()


@pytest.fixture(autouse=True)
def lender(fake: FakePlatform) -> Lender:
    return Lender(fake, TOKEN_PATH, LENT)


class TestQQBot(TextSenderCase):
    secret = SECRET
    target: ClassVar = {"chat_id": f"c2c:{OPENID}"}
    arrived = OK
    checked = (Answer.json(200, {"id": "1", "username": "Hermes"}),)

    def make(self, fake: FakePlatform, **config: Any) -> QQBot:
        bot = {"app_id": "102000001", "client_secret": SECRET}
        return QQBot({**bot, "api_base": fake.url, "token_base": fake.url, **config})

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["content"] for document in fake.documents]

    def size(self, text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    def test_the_request_is_the_message_apis(self, fake: FakePlatform, lender: Lender) -> None:
        outcome = self.send(fake, OK, text="**Deploy** 完成 😀")
        [asked] = lender.requests
        assert asked.document == {"appId": "102000001", "clientSecret": SECRET}
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", f"/v2/users/{OPENID}/messages")
        assert seen.headers["authorization"] == f"QQBot {TOKEN}"
        letter = seen.document
        assert 1 <= letter.pop("msg_seq") <= 65_535
        assert letter == {"msg_type": 0, "content": "Deploy 完成 😀"}
        assert outcome.provider_ids == {"id": ["ROBOT1.0_x"]}

    @pytest.mark.parametrize(
        ("chat", "path"),
        [
            (f"group:{OPENID}", f"/v2/groups/{OPENID}/messages"),
            ("channel:1234567", "/channels/1234567/messages"),
            ("dm:7654321", "/dms/7654321/messages"),
        ],
    )
    def test_each_scene_has_its_path(self, fake: FakePlatform, chat: str, path: str) -> None:
        fake.script(OK)
        self.make(fake).send(text_message(target={"chat_id": chat}))
        assert fake.requests[0].path == path

    @pytest.mark.parametrize("name", ["message_thread_id", "thread_id", "msg_id"])
    def test_a_message_is_answered(self, fake: FakePlatform, name: str) -> None:
        fake.script(OK)
        self.make(fake).send(text_message(target={**self.target, name: "ROBOT1.0_abc"}))
        assert fake.documents[0]["msg_id"] == "ROBOT1.0_abc"

    def test_each_part_has_a_number_that_stays(self, fake: FakePlatform) -> None:
        fake.script(OK)
        message = self.message("word " * 700)
        self.make(fake).send(message)
        self.make(fake).send(message)
        self.make(fake).send(replace(message, id=text_message().id))
        numbers = [document["msg_seq"] for document in fake.documents]
        assert numbers[:2] == numbers[2:4]
        assert numbers[1] == numbers[0] + 1

    @pytest.mark.parametrize("name", ["code", "err_code"])
    @pytest.mark.parametrize(
        ("code", "verdict", "error_class", "faults"),
        [
            *[(code, RETRY, "rate_limited", False) for code in (22009, 20028, 304045, 304049)],
            *[(code, RETRY, "rate_limited", False) for code in (304050, 1100100, 1100308)],
            *[(code, RETRY, "platform_error", False) for code in (11242, 11252, 11263, 11281)],
            (1100300, RETRY, "platform_error", False),
            *[(code, FAILED, "forbidden", True) for code in (11253, 11254, 11264, 11265)],
            *[(code, FAILED, "client_error", False) for code in (50006, 50055, 50056, 304003)],
            *[(code, FAILED, "client_error", False) for code in range(1100101, 1100105)],
            *[(code, FAILED, "push_not_allowed", False) for code in (40034102, 40034105)],
            *[(code, FAILED, "window_closed", False) for code in (40034024, 304027)],
            (40054005, FAILED, "duplicate", False),
            (99999999, FAILED, "client_error", False),
        ],
    )
    def test_what_qq_says_becomes_a_verdict(
        self,
        fake: FakePlatform,
        code: int,
        verdict: Verdict,
        error_class: str,
        faults: bool,
        name: str,
    ) -> None:
        outcome = self.send(fake, no(code, name=name))
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert f"{code} it says why trace-7" in outcome.error
        assert len(fake.requests) == 1

    @pytest.mark.parametrize("code", [11242, 1100300])
    def test_a_doubtful_fault_gets_one_more_try(self, fake: FakePlatform, code: int) -> None:
        outcome = self.send(fake, no(code), number=2)
        assert (outcome.verdict, outcome.error_class) == (FAILED, "platform_error")

    def test_a_code_in_a_200_is_no_success(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, Answer.json(200, {"id": "1", "code": 50006, "message": "no"}))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "client_error")

    @pytest.mark.parametrize("status", [201, 202])
    @pytest.mark.parametrize("code", [304023, 304024])
    def test_what_is_looked_at_first_is_delivered(
        self, fake: FakePlatform, status: int, code: int
    ) -> None:
        body = {"code": code, "data": {"message_audit": {"audit_id": "a-1"}}}
        outcome = self.send(fake, Answer.json(status, body))
        assert outcome.verdict == Verdict.DELIVERED
        assert outcome.provider_ids == {"audit_id": ["a-1"]}

    def test_a_202_that_is_not_qqs_is_none(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, Answer(202, {}, b"<html>queued</html>"))
        assert (outcome.verdict, outcome.error_class) == (RETRY, "bad_reply")

    @pytest.mark.parametrize("code", [50055, 50056])
    def test_markdown_that_is_refused_goes_again_as_text(
        self, fake: FakePlatform, code: int
    ) -> None:
        fake.script(no(code), OK)
        outcome = self.make(fake, markdown=True).send(self.message("**Deploy** done"))
        assert outcome.verdict == Verdict.DELIVERED
        first, second = fake.documents
        assert (first["msg_type"], first["markdown"]) == (2, {"content": "**Deploy** done"})
        assert (second["msg_type"], second["content"]) == (0, "Deploy done")

    @pytest.mark.parametrize("code", [40034024, 304027])
    def test_an_answer_that_comes_too_late_goes_out_by_itself(
        self, fake: FakePlatform, code: int
    ) -> None:
        target = {**self.target, "msg_id": "ROBOT1.0_abc"}
        outcome = self.send(fake, no(code), OK, target=target)
        assert outcome.verdict == Verdict.DELIVERED
        first, second = fake.documents
        assert first["msg_id"] == "ROBOT1.0_abc"
        assert "msg_id" not in second

    def test_an_answer_that_comes_too_late_where_none_is_allowed(self, fake: FakePlatform) -> None:
        target = {**self.target, "msg_id": "ROBOT1.0_abc"}
        outcome = self.send(fake, no(304027), no(40034102), target=target)
        assert (outcome.verdict, outcome.error_class) == (FAILED, "push_not_allowed")

    def test_a_repeated_number_on_a_retry_is_the_part_itself(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(40054005), number=2, retrying=True)
        assert outcome.verdict == Verdict.DELIVERED

    @pytest.mark.parametrize("code", [11241, 11243, 11251])
    def test_a_token_that_is_refused_is_fetched_anew_at_once(
        self, fake: FakePlatform, lender: Lender, code: int
    ) -> None:
        lender.script(LENT, Answer.json(200, {"access_token": "other", "expires_in": "7200"}))
        outcome = self.send(fake, no(code), OK)
        assert outcome.verdict == Verdict.DELIVERED
        sent = [seen.headers["authorization"] for seen in fake.requests]
        assert sent == [f"QQBot {TOKEN}", "QQBot other"]

    @pytest.mark.parametrize("answer", [no(11241), no(11243), no(11251), Answer(401)])
    def test_a_second_refusal_of_a_token_faults_the_channel(
        self, fake: FakePlatform, lender: Lender, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
        assert outcome.faults_channel
        assert len(lender.requests) == len(fake.requests) == 2

    def test_a_token_that_ends_amid_the_parts_doubles_none(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, OK, no(11243, 401), OK, text="word " * 1000)
        assert outcome.verdict == Verdict.DELIVERED
        numbers = [text.rpartition("\n")[2] for text in self.texts(fake)]
        assert numbers == ["(1/3)", "(2/3)", "(2/3)", "(3/3)"]

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        [
            (no(100007, 200), FAILED, "unauthorized", True),
            (no(100016, 400), FAILED, "unauthorized", True),
            (no(22009, 429), RETRY, "rate_limited", False),
            (Answer(500), RETRY, "server_error", False),
            (Answer(200, {}, b"<html>"), RETRY, "bad_reply", False),
            (Answer(hangs_up=True), RETRY, "reset", False),
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

    def test_trouble_with_the_home_is_the_channels(self, fake: FakePlatform) -> None:
        fake.script(no(40034102))
        sender = self.make(fake)
        sender.home["chat_id"] = f"c2c:{OPENID}"
        assert sender.send(text_message()).faults_channel

    @pytest.mark.parametrize(
        "target",
        [
            {"chat_id": OPENID},
            {"chat_id": "c2c:short"},
            {"chat_id": "channel:../x"},
            {"chat_id": "channel:１２"},
            {"chat_id": f"c2c:{OPENID}", "msg_id": "a b"},
        ],
    )
    def test_a_target_that_qq_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, str]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "bad_target")
        assert fake.requests == []

    def test_a_mention_calls_nobody(self, fake: FakePlatform) -> None:
        self.send(fake, OK, text='<@123> <qqbot-at-user id="1" /> @everyone a@b.org')
        [text] = self.texts(fake)
        for call in ("<@", "<qqbot-at", "@everyone"):
            assert call not in text
        assert "a@b.org" in text

    def test_a_channel_without_a_credential_says_so(self, fake: FakePlatform) -> None:
        sender = self.make(fake, client_secret="")
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
        assert outcome.faults_channel
        assert not sender.check().ok
        assert fake.requests == []

    def test_the_check_names_the_bot(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        assert "Hermes" in self.make(fake).check().detail
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("GET", "/users/@me")

    @pytest.mark.parametrize(
        "answer",
        [
            Answer.json(200, {"id": "\ud800\x00"}),
            Answer.json(200, {"id": {}}),
            Answer.json(202, {"code": 304023, "data": {"message_audit": [1]}}),
            Answer.json(400, {"code": 10**30, "message": ["\ud800\x00"]}),
            Answer.json(400, {"code": "11241", "message": None}),
        ],
    )
    def test_a_senseless_body_makes_an_outcome_that_can_be_stored(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        orjson.dumps([outcome.provider_ids, outcome.progress, outcome.error, outcome.response])


def test_the_sandbox_is_another_address() -> None:
    assert QQBot().api_base == "https://api.sgroup.qq.com"
    assert QQBot({"sandbox": True}).api_base == "https://sandbox.api.sgroup.qq.com"
    assert QQBot({"sandbox": True, "api_base": "https://x.org"}).api_base == "https://x.org"


GOOD = {"app_id": "102000001", "client_secret": SECRET}


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (GOOD, True),
        (GOOD | {"app_id": "bot"}, False),
        (GOOD | {"client_secret": "short"}, False),
        (GOOD | {"token_base": "http://169.254.169.254"}, False),
    ],
)
def test_the_form_knows_a_bot(data: dict[str, str], good: bool) -> None:
    assert QQBot.Config(data).is_valid() == good


@pytest.mark.parametrize(
    ("chat", "good"),
    [(f"c2c:{OPENID}", True), ("channel:12", True), ("", True), (OPENID, False)],
)
def test_the_form_knows_a_home(chat: str, good: bool) -> None:
    assert QQBot.Home({"chat_id": chat}).is_valid() == good


def test_a_stored_secret_does_not_follow_to_another_token_address() -> None:
    moved = QQBot.prepare_config(GOOD, {"app_id": "102000001", "token_base": "https://x.org"})
    assert "client_secret" not in moved
    back = QQBot.prepare_config(GOOD | {"token_base": "https://x.org"}, {"app_id": "102000001"})
    assert "client_secret" not in back
    assert "client_secret" in QQBot.prepare_config(GOOD, {"app_id": "102000001"})
