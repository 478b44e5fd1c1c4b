import json
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import orjson
import pytest

from deliveries.outcomes import Verdict
from platforms import pacing, tokens
from platforms.senders.feishu import Feishu, sign

from .fake import Answer, FakePlatform
from .lending import Lender
from .sender_case import TextSenderCase, text_message

SECRET = "dskLLdkasdjlasdKK0123456789abcdE"
TOKEN = "t-g1044ghJRUIJJ5ELPTQH"
CHAT = "oc_84983ff6516d731e5b5f68d4ea2e1da5"
PERSON = "ou_84983ff6516d731e5b5f68d4ea2e1da5"
HOOK_ID = "cd316482-6e57-4b0a-9d0b-2a3d3e2b0a11"
HOOK_PATH = f"/open-apis/bot/v2/hook/{HOOK_ID}"
TOKEN_PATH = "/open-apis/auth/v3/tenant_access_token/internal"
OK = Answer.json(200, {"code": 0, "msg": "success", "data": {"message_id": "om_1"}})
LENT = Answer.json(200, {"code": 0, "msg": "ok", "tenant_access_token": TOKEN, "expire": 7200})


def no(code: int, status: int = 400, msg: str = "it says why", **headers: str) -> Answer:
    return Answer.json(status, {"code": code, "msg": msg}, headers=headers)


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


PERMANENT = Verdict.FAILED
TEMPORARY = Verdict.RETRY
ERRORS = [
    (no(99991400, 429), TEMPORARY, "rate_limited", False),
    (no(99991400, 400), TEMPORARY, "rate_limited", False),
    (no(11232), TEMPORARY, "rate_limited", False),
    (no(230020), TEMPORARY, "rate_limited", False),
    (no(230049), TEMPORARY, "temporary", False),
    (no(230101), TEMPORARY, "temporary", False),
    (no(99991672), PERMANENT, "forbidden", True),
    (no(230006), PERMANENT, "forbidden", True),
    (no(230027), PERMANENT, "forbidden", True),
    (no(99991401), PERMANENT, "forbidden", True),
    (no(230036), PERMANENT, "forbidden", True),
    (no(230002), PERMANENT, "chat_gone", False),
    (no(230013), PERMANENT, "chat_gone", False),
    (no(230018), PERMANENT, "chat_gone", False),
    (no(230019), PERMANENT, "chat_gone", False),
    (no(230029), PERMANENT, "chat_gone", False),
    (no(230034), PERMANENT, "chat_gone", False),
    (no(230035), PERMANENT, "chat_gone", False),
    (no(230038), PERMANENT, "chat_gone", False),
    (no(230053), PERMANENT, "chat_gone", False),
    (no(230075), PERMANENT, "chat_gone", False),
    (no(232009), PERMANENT, "chat_gone", False),
    (no(230022), PERMANENT, "client_error", False),
    (no(230025), PERMANENT, "client_error", False),
    (no(230028), PERMANENT, "client_error", False),
    (no(230054), PERMANENT, "client_error", False),
    (no(987654321), PERMANENT, "client_error", False),
    (no(987654321, 200), PERMANENT, "client_error", False),
    (no(2200, 500), TEMPORARY, "server_error", False),
]


@pytest.mark.usefixtures("lender")
class TestFeishuApp(TextSenderCase):
    secret = SECRET
    target: ClassVar = {"chat_id": CHAT}
    arrived = OK
    checked = (
        Answer.json(
            200, {"code": 0, "msg": "ok", "bot": {"activate_status": 2, "app_name": "Hermes"}}
        ),
    )

    def make(self, fake: FakePlatform, **config: Any) -> Feishu:
        return Feishu(
            {"app_id": "cli_a1b2c3d4e5f6a7b8", "app_secret": SECRET, "api_base": fake.url, **config}
        )

    def texts(self, fake: FakePlatform) -> list[str]:
        return [
            json.loads(document["content"])["zh_cn"]["content"][0][0]["text"]
            for document in fake.documents
        ]

    def size(self, text: str) -> int:
        return len(text.encode())

    def test_the_request_is_the_message_apis(self, fake: FakePlatform, lender: Lender) -> None:
        message = self.message("**Deploy** 完成 😀")
        fake.script(OK)
        outcome = self.make(fake).send(message)
        [asked] = lender.requests
        assert asked.document == {"app_id": "cli_a1b2c3d4e5f6a7b8", "app_secret": SECRET}
        [seen] = fake.requests
        assert (seen.method, seen.path) == (
            "POST",
            "/open-apis/im/v1/messages?receive_id_type=chat_id",
        )
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.document == {
            "receive_id": CHAT,
            "msg_type": "post",
            "content": json.dumps(
                {
                    "zh_cn": {
                        "title": "",
                        "content": [[{"tag": "md", "text": "**Deploy** 完成 😀"}]],
                    }
                },
                ensure_ascii=False,
            ),
            "uuid": f"{message.id}:1",
        }
        assert "完成".encode() in seen.body
        assert outcome.provider_ids == {"message_id": ["om_1"]}

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        ERRORS,
        ids=[str(orjson.loads(row[0].body)["code"]) for row in ERRORS],
    )
    def test_what_feishu_says_becomes_a_verdict(
        self, fake: FakePlatform, answer: Answer, verdict: Verdict, error_class: str, faults: bool
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert "it says why" in outcome.error
        assert str(orjson.loads(answer.body)["code"]) in outcome.error
        assert len(fake.requests) == 1

    @pytest.mark.parametrize("code", [230001, 230099])
    def test_a_post_that_is_refused_goes_again_as_text(self, fake: FakePlatform, code: int) -> None:
        outcome = self.send(fake, no(code), OK, text="**Deploy** [run](https://example.org)")
        assert outcome.verdict == Verdict.DELIVERED
        first, second = fake.documents
        assert second["msg_type"] == "text"
        assert json.loads(second["content"]) == {"text": "Deploy run (https://example.org)"}
        assert second["uuid"] == first["uuid"] + ":text"
        assert len(second["uuid"]) <= 50

    @pytest.mark.parametrize("code", [230001, 230099])
    def test_text_that_is_refused_too_has_failed(self, fake: FakePlatform, code: int) -> None:
        outcome = self.send(fake, no(code))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "client_error")
        assert len(fake.requests) == 2

    def test_the_wait_of_a_rate_limit_is_the_headers(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(99991400, 429, **{"x-ogw-ratelimit-reset": "17"}))
        assert outcome.retry_after == 17

    @pytest.mark.parametrize("value", ["soon", ""])
    def test_a_rate_limit_without_a_time_is_a_few_seconds(
        self, fake: FakePlatform, value: str
    ) -> None:
        outcome = self.send(fake, no(99991400, 400, **{"x-ogw-ratelimit-reset": value}))
        assert outcome.retry_after == 5

    @pytest.mark.parametrize("code", [99991661, 99991663, 99991664, 99991671])
    def test_a_token_that_is_refused_is_fetched_anew_at_once(
        self, fake: FakePlatform, lender: Lender, code: int
    ) -> None:
        other = Answer.json(200, {"code": 0, "tenant_access_token": "t-other", "expire": 7200})
        lender.script(LENT, other)
        outcome = self.send(fake, no(code), OK)
        assert outcome.verdict == Verdict.DELIVERED
        sent = [seen.headers["authorization"] for seen in fake.requests]
        assert sent == [f"Bearer {TOKEN}", "Bearer t-other"]

    @pytest.mark.parametrize("answer", [no(99991663), Answer(401)])
    def test_a_second_refusal_of_a_token_faults_the_channel(
        self, fake: FakePlatform, lender: Lender, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "unauthorized")
        assert outcome.faults_channel
        assert len(lender.requests) == len(fake.requests) == 2

    def test_a_token_that_ends_amid_the_parts_doubles_none(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, OK, no(99991663), OK, text="word " * 5000)
        assert outcome.verdict == Verdict.DELIVERED
        uuids = [document["uuid"].rpartition(":")[2] for document in fake.documents]
        assert uuids == ["1", "2", "2", "3"]

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        [
            (no(10003, 200), Verdict.FAILED, "unauthorized", True),
            (no(10014, 200), Verdict.FAILED, "unauthorized", True),
            (no(10012, 400), Verdict.FAILED, "unauthorized", True),
            (no(99991400, 429), Verdict.RETRY, "rate_limited", False),
            (Answer(500), Verdict.RETRY, "server_error", False),
            (Answer(200, {}, b"<html>"), Verdict.RETRY, "bad_reply", False),
            (Answer.json(200, {"code": 0}), Verdict.RETRY, "bad_reply", False),
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

    def test_the_token_is_kept_out_of_the_ledger(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(230001, msg=f"your token {TOKEN} is odd"))
        assert TOKEN not in repr(outcome)

    @pytest.mark.parametrize(
        ("chat", "kind"),
        [
            (CHAT, "chat_id"),
            (PERSON, "open_id"),
            (PERSON.replace("ou_", "on_"), "union_id"),
            ("ada@example.org", "email"),
            ("9f3b2c", "user_id"),
        ],
    )
    def test_what_kind_of_id_it_is_shows_in_the_id(
        self, fake: FakePlatform, chat: str, kind: str
    ) -> None:
        fake.script(OK)
        self.make(fake).send(text_message(target={"chat_id": chat}))
        [seen] = fake.requests
        assert seen.path.endswith(f"?receive_id_type={kind}")
        assert seen.document["receive_id"] == chat

    @pytest.mark.parametrize("name", ["message_thread_id", "thread_id"])
    def test_a_thread_is_an_answer_to_its_message(self, fake: FakePlatform, name: str) -> None:
        fake.script(OK)
        self.make(fake).send(text_message(target={"chat_id": CHAT, name: "om_dc13264520392913993"}))
        [seen] = fake.requests
        assert seen.path == "/open-apis/im/v1/messages/om_dc13264520392913993/reply"
        assert seen.document["reply_in_thread"] is True
        assert "receive_id" not in seen.document

    @pytest.mark.parametrize(
        "target",
        [
            {"chat_id": "a b"},
            {"chat_id": "../x"},
            {"chat_id": "群"},
            {"chat_id": CHAT, "thread_id": "7"},
            {"chat_id": CHAT, "thread_id": "om_1/../../x"},
        ],
    )
    def test_a_target_that_feishu_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, Any]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "bad_target")
        assert fake.requests == []

    def test_the_home_is_where_a_message_goes_that_names_no_chat(self, fake: FakePlatform) -> None:
        fake.script(OK)
        sender = self.make(fake)
        sender.home["chat_id"] = PERSON
        sender.send(text_message(target={"chat_id": "{chat.id}"}))
        assert fake.documents[0]["receive_id"] == PERSON

    def test_trouble_with_the_home_chat_is_the_channels(self, fake: FakePlatform) -> None:
        fake.script(no(230002))
        sender = self.make(fake)
        sender.home["chat_id"] = CHAT
        assert sender.send(text_message()).faults_channel

    def test_a_channel_without_a_credential_says_so(self, fake: FakePlatform) -> None:
        sender = self.make(fake, app_secret="")
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "unauthorized")
        assert outcome.faults_channel
        assert not sender.check().ok
        assert fake.requests == []

    @pytest.mark.parametrize(
        ("domain", "base"),
        [
            ("", "https://open.feishu.cn"),
            ("feishu", "https://open.feishu.cn"),
            ("lark", "https://open.larksuite.com"),
        ],
    )
    def test_lark_is_another_address(self, domain: str, base: str) -> None:
        assert Feishu({"domain": domain}).api_base == base
        assert Feishu({"domain": domain, "api_base": "https://x.org"}).api_base == "https://x.org"

    def test_a_mention_calls_nobody(self, fake: FakePlatform) -> None:
        self.send(fake, OK, text='<at user_id="all">all</at> < AT id=all></at>')
        assert "<at" not in self.texts(fake)[0].lower().replace(" ", "")

    def test_a_mention_may_be_allowed(self, fake: FakePlatform) -> None:
        fake.script(OK)
        text = '<at user_id="all">all</at>'
        self.make(fake, defuse_mentions=False).send(self.message(text))
        assert self.texts(fake) == [text]

    def test_the_check_names_the_bot(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        assert "Hermes" in self.make(fake).check().detail
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("GET", "/open-apis/bot/v3/info")

    def test_the_check_says_that_the_secret_is_wrong(
        self, fake: FakePlatform, lender: Lender
    ) -> None:
        lender.script(no(10014, 200, msg="app secret invalid"))
        check = self.make(fake).check()
        assert not check.ok
        assert "app secret invalid" in check.detail


class TestFeishuRobot(TextSenderCase):
    secret = HOOK_ID
    arrived = Answer.json(200, {"code": 0, "msg": "success", "data": {}})
    checked = (arrived,)

    def make(self, fake: FakePlatform, **config: Any) -> Feishu:
        return Feishu({"webhook_url": fake.url + HOOK_PATH, **config})

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["content"]["text"] for document in fake.documents]

    def size(self, text: str) -> int:
        return len(text.encode())

    def test_nobody_listening_is_retried_and_surely_not_sent(self, fake: FakePlatform) -> None:
        sender = self.make(fake, webhook_url="http://127.0.0.1:9" + HOOK_PATH)
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "connect")
        assert not outcome.ambiguous

    def test_an_unrendered_placeholder_is_nowhere_to_go(self, fake: FakePlatform) -> None:
        """A robot has its one group, whatever the target says."""
        outcome = self.send(fake, self.arrived, target={"chat_id": "{a.b}"})
        assert outcome.verdict == Verdict.DELIVERED

    def test_the_request_is_the_robots(self, fake: FakePlatform) -> None:
        self.send(fake, self.arrived, text="**Deploy** 完成")
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", HOOK_PATH)
        assert seen.document == {"msg_type": "text", "content": {"text": "Deploy 完成"}}

    def test_a_robot_with_a_secret_signs_the_second(self, fake: FakePlatform) -> None:
        fake.script(self.arrived)
        self.make(fake, webhook_secret="fs-test-secret").send(self.message())
        [document] = fake.documents
        assert abs(int(document["timestamp"]) - time.time()) < 5
        assert document["sign"] == sign(int(document["timestamp"]), "fs-test-secret")

    def test_the_signature_is_the_one_that_feishu_expects(self) -> None:
        expected = "3HqDa4HUcXCZBXJyyDBeD0kNnJQT43b9Vtdmi0Rogbk="
        assert sign(1700000000, "fs-test-secret") == expected

    def test_an_older_robot_says_status_code(self, fake: FakePlatform) -> None:
        answer = Answer.json(200, {"StatusCode": 0, "StatusMessage": "success"})
        assert self.send(fake, answer).verdict == Verdict.DELIVERED

    @pytest.mark.parametrize(
        ("code", "verdict", "error_class", "faults"),
        [
            (9499, Verdict.FAILED, "client_error", False),
            (19002, Verdict.FAILED, "client_error", False),
            (19001, Verdict.FAILED, "bad_robot", True),
            (19021, Verdict.FAILED, "bad_robot", True),
            (19022, Verdict.FAILED, "bad_robot", True),
            (19024, Verdict.FAILED, "bad_robot", True),
            (11232, Verdict.RETRY, "rate_limited", False),
        ],
    )
    def test_a_200_that_says_no_is_none(
        self, fake: FakePlatform, code: int, verdict: Verdict, error_class: str, faults: bool
    ) -> None:
        outcome = self.send(fake, no(code, 200))
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert "it says why" in outcome.error
        assert outcome.retry_after == (5 if verdict == Verdict.RETRY else None)

    def test_the_body_stays_below_20_kb_whatever_the_text(self, fake: FakePlatform) -> None:
        self.send(fake, self.arrived, text='"\\' * 20_000)
        assert max(len(seen.body) for seen in fake.requests) < 20_480

    def test_the_pace_is_kept_without_a_call(self, fake: FakePlatform) -> None:
        fake.script(self.arrived)
        outcomes = [self.make(fake).send(self.message()) for _message in range(14)]
        put_off = [outcome for outcome in outcomes if outcome.verdict == Verdict.RETRY]
        assert put_off
        assert {outcome.error_class for outcome in put_off} == {"local_rate_limit"}
        assert len(fake.requests) == len(outcomes) - len(put_off)

    def test_the_check_sends_a_test_message(self, fake: FakePlatform) -> None:
        fake.script(self.arrived)
        assert self.make(fake).check().ok
        assert "test message" in self.texts(fake)[0]


@pytest.mark.parametrize(
    "answer",
    [
        Answer.json(200, {"code": "0", "data": {}}),
        Answer.json(200, {"code": False, "data": {}}),
        Answer.json(200, {"code": 0, "data": {"message_id": "\ud800\x00"}}),
        Answer.json(200, {"code": 0, "data": []}),
        Answer.json(400, {"code": 10**30, "msg": {"a": "\ud800"}}),
        no(99991400, 429, **{"x-ogw-ratelimit-reset": "nan"}),
        no(99991400, 429, **{"x-ogw-ratelimit-reset": "1e999"}),
    ],
)
def test_a_senseless_body_makes_an_outcome_that_can_be_stored(
    fake: FakePlatform, lender: Lender, answer: Answer
) -> None:
    fake.script(answer)
    outcome = TestFeishuApp().make(fake).send(text_message(target={"chat_id": CHAT}))
    orjson.dumps([outcome.provider_ids, outcome.progress, outcome.error, outcome.response])
    assert outcome.retry_after is None or 1 <= outcome.retry_after <= 3600


@pytest.mark.parametrize(
    ("data", "good"),
    [
        ({"app_id": "cli_a1b2c3d4e5f6a7b8", "app_secret": SECRET}, True),
        ({"app_id": "a1b2", "app_secret": SECRET}, False),
        ({"app_secret": SECRET}, False),
        ({"webhook_url": f"https://127.0.0.1{HOOK_PATH}"}, True),
        ({"webhook_url": "https://127.0.0.1/hook"}, False),
        (
            {
                "webhook_url": f"https://127.0.0.1{HOOK_PATH}",
                "app_id": "cli_a1b2c3d4e5f6a7b8",
                "app_secret": SECRET,
            },
            False,
        ),
        ({"domain": "mars", "webhook_url": f"https://127.0.0.1{HOOK_PATH}"}, False),
    ],
)
def test_the_form_knows_a_credential(settings: Any, data: dict[str, str], good: bool) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True  # no name has to be looked up
    assert Feishu.Config(data).is_valid() == good


def test_a_robots_address_is_not_called_in_clear_text() -> None:
    form = Feishu.Config({"webhook_url": f"http://open.feishu.cn{HOOK_PATH}"})
    assert form.has_error("webhook_url", "insecure")


@pytest.mark.parametrize(
    ("chat", "good"),
    [(CHAT, True), (PERSON, True), ("ada@example.org", True), ("", True), ("a b", False)],
)
def test_the_form_knows_a_chat(chat: str, good: bool) -> None:
    assert Feishu.Home({"chat_id": chat}).is_valid() == good


def test_entering_a_robot_takes_the_apps_place() -> None:
    stored = {"app_id": "cli_a1b2c3d4e5f6a7b8", "app_secret": SECRET}
    url = f"https://open.feishu.cn{HOOK_PATH}"
    config = Feishu.prepare_config(stored, {"webhook_url": url})
    assert "app_secret" not in config
    assert Feishu(config).webhook_url == url
