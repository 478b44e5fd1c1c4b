import json
from typing import Any, ClassVar

import orjson
import pytest

from deliveries.outcomes import Verdict
from platforms.senders.telegram import Telegram

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw-_x"
OK = Answer.json(200, {"ok": True, "result": {"message_id": 42}})


def no(code: int, description: str, **parameters: Any) -> Answer:
    body = {"ok": False, "error_code": code, "description": description}
    return Answer.json(code, body | ({"parameters": parameters} if parameters else {}))


class TestTelegram(TextSenderCase):
    secret = TOKEN
    target: ClassVar = {"chat_id": "-1001234567890"}
    arrived = OK
    checked = (Answer.json(200, {"ok": True, "result": {"username": "hermes_bot"}}),)

    def make(self, fake: FakePlatform, **home: str) -> Telegram:
        return Telegram({"bot_token": TOKEN}, home)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["text"] for document in fake.documents if "text" in document]

    def size(self, text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    def test_the_request_is_the_bot_apis(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, OK, text="**Deploy** of `main` <ok>")
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", f"/bot{TOKEN}/sendMessage")
        assert seen.document == {
            "chat_id": "-1001234567890",
            "text": "<b>Deploy</b> of <code>main</code> &lt;ok&gt;",
            "link_preview_options": {"is_disabled": True},
            "parse_mode": "HTML",
        }
        assert outcome.provider_ids == {"message_id": ["42"]}

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        [
            (no(401, "Unauthorized"), Verdict.FAILED, "unauthorized", True),
            (no(404, "Not Found"), Verdict.FAILED, "unauthorized", True),
            (no(403, "Forbidden: bot was blocked by the user"), Verdict.FAILED, "chat_gone", False),
            (no(403, "Forbidden: user is deactivated"), Verdict.FAILED, "chat_gone", False),
            (
                no(403, "Forbidden: bot can't initiate conversation with a user"),
                Verdict.FAILED,
                "chat_gone",
                False,
            ),
            (
                no(403, "Forbidden: bot was kicked from the supergroup chat"),
                Verdict.FAILED,
                "chat_gone",
                False,
            ),
            (
                no(403, "Forbidden: bot is not a member of the channel chat"),
                Verdict.FAILED,
                "chat_gone",
                False,
            ),
            (
                no(403, "Forbidden: the group chat was deleted"),
                Verdict.FAILED,
                "chat_gone",
                False,
            ),
            (no(403, "Forbidden: something new"), Verdict.FAILED, "forbidden", False),
            (no(400, "Bad Request: chat not found"), Verdict.FAILED, "chat_not_found", False),
            (no(400, "Bad Request: PEER_ID_INVALID"), Verdict.FAILED, "chat_not_found", False),
            (
                no(400, "Bad Request: not enough rights to send text messages to the chat"),
                Verdict.FAILED,
                "no_rights",
                False,
            ),
            (
                no(400, "Bad Request: need administrator rights in the channel chat"),
                Verdict.FAILED,
                "no_rights",
                False,
            ),
            (no(400, "Bad Request: CHAT_WRITE_FORBIDDEN"), Verdict.FAILED, "no_rights", False),
            (no(400, "Bad Request: TOPIC_CLOSED"), Verdict.FAILED, "topic_closed", False),
            (no(400, "Bad Request: TOPIC_DELETED"), Verdict.FAILED, "topic_closed", False),
            (no(400, "Bad Request: message text is empty"), Verdict.FAILED, "client_error", False),
            (no(400, "Bad Request: message is too long"), Verdict.FAILED, "client_error", False),
            (no(500, "Internal Server Error"), Verdict.RETRY, "server_error", False),
            (no(502, "Bad Gateway"), Verdict.RETRY, "server_error", False),
        ],
        ids=lambda value: json.loads(value.body)["description"] if hasattr(value, "body") else "",
    )
    def test_what_telegram_says_becomes_a_verdict(
        self,
        fake: FakePlatform,
        answer: Answer,
        verdict: Verdict,
        error_class: str,
        faults: bool,
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert json.loads(answer.body)["description"] in outcome.error
        assert len(fake.requests) == 1

    def test_trouble_with_the_home_chat_is_the_channels(self, fake: FakePlatform) -> None:
        fake.script(no(400, "Bad Request: chat not found"))
        outcome = self.make(fake, chat_id="-5").send(text_message())
        assert outcome.error_class == "chat_not_found"
        assert outcome.faults_channel

    def test_the_wait_in_the_body_goes_before_the_header(self, fake: FakePlatform) -> None:
        answer = no(429, "Too Many Requests: retry after 17", retry_after=17)
        answer.headers["Retry-After"] = "3"
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "rate_limited")
        assert outcome.retry_after == 17

    def test_markup_it_cannot_read_is_sent_again_as_plain_text(self, fake: FakePlatform) -> None:
        refusal = no(400, "Bad Request: can't parse entities: unsupported start tag")
        outcome = self.send(fake, refusal, OK, text="**a** <b")
        assert outcome.verdict == Verdict.DELIVERED
        _first, second = fake.documents
        assert second["text"] == "**a** <b"
        assert "parse_mode" not in second

    def test_plain_text_is_tried_only_once(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(400, "Bad Request: can't parse entities"))
        assert outcome.verdict == Verdict.FAILED
        assert len(fake.requests) == 2

    def test_a_topic_that_is_not_there_is_left_out_and_noted(self, fake: FakePlatform) -> None:
        fake.script(no(400, "Bad Request: message thread not found"), OK)
        message = text_message(target={"chat_id": "-5", "message_thread_id": "7"})
        outcome = self.make(fake).send(message)
        assert outcome.verdict == Verdict.DELIVERED
        first, second = fake.documents
        assert first["message_thread_id"] == 7
        assert "message_thread_id" not in second
        assert outcome.provider_ids["topic_not_found"] == ["7"]

    def test_a_group_that_became_another_is_followed_and_remembered(
        self, fake: FakePlatform
    ) -> None:
        moved = no(
            400,
            "Bad Request: group chat was upgraded to a supergroup chat",
            migrate_to_chat_id=-100777,
        )
        fake.script(moved, OK)
        message = text_message("word " * 1000, target={"chat_id": "-5"})
        outcome = self.make(fake).send(message)
        assert outcome.verdict == Verdict.DELIVERED
        assert [d["chat_id"] for d in fake.documents] == ["-5", "-100777", "-100777"]
        assert outcome.progress["moved"] == {"field": "chat_id", "from": "-5", "to": "-100777"}

    def test_a_retry_knows_where_the_group_went(self, fake: FakePlatform) -> None:
        fake.script(OK)
        moved = {"field": "chat_id", "from": "-5", "to": "-100777"}
        message = text_message(target={"chat_id": "-5"}, progress={"moved": moved})
        self.make(fake).send(message)
        assert fake.documents[0]["chat_id"] == "-100777"

    def test_groups_that_point_at_each_other_end(self, fake: FakePlatform) -> None:
        there, back = (
            no(400, "Bad Request: upgraded", migrate_to_chat_id=chat) for chat in (-100, -5)
        )
        fake.script(there, back, there, back, there)
        outcome = self.make(fake).send(text_message(target={"chat_id": "-5"}))
        assert outcome.verdict == Verdict.FAILED
        assert len(fake.requests) == 4

    @pytest.mark.parametrize(
        "answer",
        [
            Answer.json(200, {"ok": True, "result": {"message_id": "\ud800\x00"}}),
            Answer.json(200, {"ok": True, "result": {"message_id": 10**30}}),
            Answer.json(200, {"ok": True, "result": [1]}),
            no(429, "Too Many Requests", retry_after=10**400),
            no(429, "Too Many Requests", retry_after=float("nan")),
            no(400, "Bad Request", migrate_to_chat_id={"a": 1}),
            Answer.json(400, {"ok": False, "error_code": [], "description": {}, "parameters": 1}),
            Answer.json(400, {"ok": False, "error_code": 10**30, "description": "\ud800"}),
        ],
    )
    def test_a_senseless_body_makes_an_outcome_that_can_be_stored(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        orjson.dumps([outcome.provider_ids, outcome.progress, outcome.error, outcome.response])
        assert outcome.retry_after is None or 1 <= outcome.retry_after <= 3600

    def test_a_body_that_says_no_is_no_success(self, fake: FakePlatform) -> None:
        body = {"ok": False, "error_code": 403, "description": "Forbidden: bot was kicked"}
        assert self.send(fake, Answer.json(200, body)).error_class == "chat_gone"

    @pytest.mark.parametrize(
        ("target", "home", "chat_id", "thread_id"),
        [
            ({"chat_id": "5"}, {}, "5", None),
            ({"chat_id": 5, "thread_id": 7}, {}, "5", 7),
            ({"chat_id": "@news", "message_thread_id": "8", "thread_id": "7"}, {}, "@news", 8),
            ({"chat_id": "5", "message_thread_id": "{t}", "thread_id": "7"}, {}, "5", 7),
            ({"chat_id": "5", "message_thread_id": "1"}, {}, "5", None),
            ({}, {"chat_id": "-9", "message_thread_id": "3"}, "-9", 3),
            ({"chat_id": ""}, {"chat_id": "-9"}, "-9", None),
            ({"chat_id": "{chat.id}"}, {"chat_id": "-9"}, "-9", None),
            ({"chat_id": None}, {"chat_id": "-9"}, "-9", None),
            ({"chat_id": {"id": 1}}, {"chat_id": "-9"}, "-9", None),
            ({"thread_id": "4"}, {"chat_id": "-9", "message_thread_id": "3"}, "-9", 4),
            ({"chat_id": "5"}, {"chat_id": "-9", "message_thread_id": "3"}, "5", None),
        ],
    )
    def test_where_a_message_goes(
        self,
        fake: FakePlatform,
        target: dict[str, Any],
        home: dict[str, str],
        chat_id: str,
        thread_id: int | None,
    ) -> None:
        fake.script(OK)
        self.make(fake, **home).send(text_message(target=target))
        [letter] = fake.documents
        assert letter["chat_id"] == chat_id
        assert letter.get("message_thread_id") == thread_id

    @pytest.mark.parametrize(
        "target",
        [
            {"chat_id": "my chat"},
            {"chat_id": "12/../34"},
            {"chat_id": "１２"},
            {"chat_id": "@x"},
            {"chat_id": "5", "message_thread_id": "-1"},
            {"chat_id": "5", "message_thread_id": "general"},
        ],
    )
    def test_a_target_that_telegram_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, Any]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "bad_target")
        assert fake.requests == []

    def test_no_chat_anywhere_flags_the_channel(self, fake: FakePlatform) -> None:
        outcome = self.make(fake).send(text_message())
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "no_destination")
        assert outcome.faults_channel

    def test_a_cut_code_block_is_whole_in_every_part(self, fake: FakePlatform) -> None:
        fake.script(OK)
        text = "```python\n" + "print('x & y')\n" * 400 + "```"
        self.make(fake).send(text_message(text, target={"chat_id": "5"}))
        for letter in self.texts(fake):
            assert letter.startswith('<pre><code class="language-python">')
            assert letter.count("<pre>") == letter.count("</pre>") == 1

    def test_the_check_asks_for_the_home_chat_too(self, fake: FakePlatform) -> None:
        me = Answer.json(200, {"ok": True, "result": {"username": "hermes_bot"}})
        fake.script(me, Answer.json(200, {"ok": True, "result": {"title": "Ops"}}))
        check = self.make(fake, chat_id="-9").check()
        assert check.ok
        assert "hermes_bot" in check.detail
        assert "Ops" in check.detail
        assert [seen.path.rpartition("/")[2] for seen in fake.requests] == ["getMe", "getChat"]

    def test_the_check_fails_when_the_home_chat_is_not_there(self, fake: FakePlatform) -> None:
        me = Answer.json(200, {"ok": True, "result": {"username": "hermes_bot"}})
        fake.script(me, no(400, "Bad Request: chat not found"))
        check = self.make(fake, chat_id="-9").check()
        assert not check.ok
        assert "chat not found" in check.detail


@pytest.mark.parametrize(
    ("token", "good"), [(TOKEN, True), ("123:abc", False), (TOKEN + "\n", True), ("", False)]
)
def test_the_form_knows_a_bot_token(token: str, good: bool) -> None:
    assert Telegram.Config({"bot_token": token}).is_valid() == good


@pytest.mark.parametrize(
    ("home", "good"),
    [
        ({"chat_id": "-1001234567890"}, True),
        ({"chat_id": "@news_channel", "message_thread_id": "5"}, True),
        ({}, True),
        ({"chat_id": "news"}, False),
        ({"chat_id": "5", "message_thread_id": "0"}, False),
    ],
)
def test_the_form_knows_a_chat(home: dict[str, str], good: bool) -> None:
    assert Telegram.Home(home).is_valid() == good
