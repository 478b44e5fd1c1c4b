import time
from collections.abc import Iterator
from typing import Any, ClassVar

import orjson
import pytest

from deliveries.outcomes import Verdict
from platforms import pacing
from platforms.senders.whatsapp import WhatsApp, to_whatsapp

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

TOKEN = "EAAG" + "x1Y2z3" * 20
NUMBER_ID = "106540352242922"
PATH = f"/v24.0/{NUMBER_ID}/messages"
OK = Answer.json(200, {"messaging_product": "whatsapp", "messages": [{"id": "wamid.HBg1"}]})


def no(code: int, status: int = 400) -> Answer:
    error = {
        "message": "it says why",
        "type": "OAuthException",
        "code": code,
        "error_data": {"messaging_product": "whatsapp", "details": "and the details"},
        "fbtrace_id": "Az8or2yhqkZfEZ-_4Qn_Bam",
    }
    return Answer.json(status, {"error": error})


@pytest.fixture(autouse=True)
def no_turns() -> Iterator[None]:
    pacing.forget()
    yield
    pacing.forget()


TEMPORARY, PERMANENT = Verdict.RETRY, Verdict.FAILED
ERRORS = [
    *[(code, TEMPORARY, "rate_limited", False) for code in (4, 80007, 130429, 133016)],
    *[(code, TEMPORARY, "rate_limited", False) for code in (131048, 131056)],
    *[(code, TEMPORARY, "server_error", False) for code in (1, 2, 131000, 131016, 131057)],
    *[(code, PERMANENT, "unauthorized", True) for code in (0, 190)],
    *[(code, PERMANENT, "forbidden", True) for code in (3, 10, 33, 200, 250, 299, 368)],
    *[(code, PERMANENT, "forbidden", True) for code in (131005, 131031, 131042, 133010)],
    (131047, PERMANENT, "window_closed", False),
    *[(code, PERMANENT, "person_unreachable", False) for code in (131021, 131026, 131030)],
    *[(code, PERMANENT, "person_unreachable", False) for code in (131049, 131050)],
    *[(code, PERMANENT, "client_error", False) for code in (100, 131008, 131009, 131051)],
    *[(code, PERMANENT, "client_error", False) for code in (131052, 131053, 132000, 132001)],
    *[(code, PERMANENT, "client_error", False) for code in (132005, 132012, 132014, 999999)],
    *[(code, PERMANENT, "bad_template", True) for code in (132015, 132016)],
]


class TestWhatsApp(TextSenderCase):
    secret = TOKEN
    target: ClassVar = {"chat_id": "+15551234567"}
    arrived = OK
    checked = (
        Answer.json(
            200,
            {"id": NUMBER_ID, "display_phone_number": "+1 555 000", "verified_name": "Ops"},
        ),
    )

    def make(self, fake: FakePlatform, **config: Any) -> WhatsApp:
        return WhatsApp(
            {
                "access_token": TOKEN,
                "phone_number_id": NUMBER_ID,
                "api_base": fake.url,
                **config,
            }
        )

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["text"]["body"] for document in fake.documents]

    def size(self, text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    def test_the_request_is_the_cloud_apis(self, fake: FakePlatform) -> None:
        message = self.message("**Deploy** 完成 😀")
        fake.script(OK)
        outcome = self.make(fake).send(message)
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", PATH)
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.document == {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": "+15551234567",
            "type": "text",
            "text": {"body": "*Deploy* 完成 😀", "preview_url": False},
            "biz_opaque_callback_data": str(message.id),
        }
        assert outcome.provider_ids == {"id": ["wamid.HBg1"]}

    @pytest.mark.parametrize("status", [200, 400])
    @pytest.mark.parametrize(("code", "verdict", "error_class", "faults"), ERRORS)
    def test_the_code_is_the_verdict_whatever_the_status(
        self,
        fake: FakePlatform,
        code: int,
        verdict: Verdict,
        error_class: str,
        faults: bool,
        status: int,
    ) -> None:
        outcome = self.send(fake, no(code, status))
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert "it says why and the details" in outcome.error
        assert len(fake.requests) == 1

    def test_5xx_with_an_unknown_code_is_retried(self, fake: FakePlatform) -> None:
        assert self.send(fake, no(999999, 500)).verdict == Verdict.RETRY

    @pytest.mark.parametrize(("number", "seconds"), [(1, 4), (2, 16), (3, 64), (9, 3600)])
    def test_too_many_to_one_person_wait_longer_each_time(
        self, fake: FakePlatform, number: int, seconds: float
    ) -> None:
        assert self.send(fake, no(131056), number=number).retry_after == seconds

    def test_spam_waits_long(self, fake: FakePlatform) -> None:
        assert self.send(fake, no(131048)).retry_after == 3600

    @pytest.mark.parametrize("status", ["accepted", "held_for_quality_assessment", "paused"])
    def test_what_is_taken_is_delivered_and_its_state_kept(
        self, fake: FakePlatform, status: str
    ) -> None:
        taken = {"messages": [{"id": "wamid.1", "message_status": status}]}
        outcome = self.send(fake, Answer.json(200, taken))
        assert outcome.verdict == Verdict.DELIVERED
        assert outcome.provider_ids["message_status"] == [status]

    def test_outside_the_window_the_template_goes_out_at_once(self, fake: FakePlatform) -> None:
        fake.script(no(131047), OK)
        sender = self.make(fake, template="news", template_language="zh_CN")
        outcome = sender.send(self.message("**Deploy**\n\n\tdone     now\n" + "x" * 2000))
        assert outcome.verdict == Verdict.DELIVERED
        _first, second = fake.documents
        assert second["type"] == "template"
        template = second["template"]
        assert (template["name"], template["language"]) == ("news", {"code": "zh_CN"})
        [component] = template["components"]
        [parameter] = component["parameters"]
        assert parameter["text"].startswith("Deploy done now xxx")
        assert len(parameter["text"]) == 1024

    def test_a_template_that_is_paused_faults_the_channel(self, fake: FakePlatform) -> None:
        fake.script(no(131047), no(132015))
        outcome = self.make(fake, template="news").send(self.message())
        assert (outcome.error_class, outcome.faults_channel) == ("bad_template", True)
        assert len(fake.requests) == 2

    def test_trouble_with_the_home_number_is_the_channels(self, fake: FakePlatform) -> None:
        fake.script(no(131026))
        sender = self.make(fake)
        sender.home["chat_id"] = "15551234567"
        assert sender.send(text_message()).faults_channel

    @pytest.mark.parametrize("name", ["message_thread_id", "thread_id"])
    def test_a_thread_is_a_message_that_is_quoted(self, fake: FakePlatform, name: str) -> None:
        fake.script(OK)
        target = {"chat_id": "15551234567", name: "wamid.HBgLMTU1NTEyMzQ1Njc="}
        self.make(fake).send(text_message(target=target))
        assert fake.documents[0]["context"] == {"message_id": "wamid.HBgLMTU1NTEyMzQ1Njc="}

    @pytest.mark.parametrize(
        "target",
        [
            {"chat_id": "+1 555"},
            {"chat_id": "ada"},
            {"chat_id": "１５５５１２３４５６７"},
            {"chat_id": "15551234567", "thread_id": "7"},
        ],
    )
    def test_a_target_that_whatsapp_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, str]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "bad_target")
        assert fake.requests == []

    def test_the_pace_is_of_one_person(self, fake: FakePlatform) -> None:
        fake.script(OK)
        outcomes = [self.make(fake).send(self.message()) for _message in range(22)]
        put_off = [outcome for outcome in outcomes if outcome.verdict == Verdict.RETRY]
        assert {outcome.error_class for outcome in put_off} == {"local_rate_limit"}
        other = text_message(target={"chat_id": "+15559999999"})
        assert self.make(fake).send(other).verdict == Verdict.DELIVERED

    def test_a_channel_without_a_credential_says_so(self, fake: FakePlatform) -> None:
        sender = self.make(fake, access_token="")
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "unauthorized")
        assert outcome.faults_channel
        assert not sender.check().ok
        assert fake.requests == []

    def test_the_check_reads_the_number(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        detail = self.make(fake, api_version="v23.0").check().detail
        assert "+1 555 000" in detail
        assert "Ops" in detail
        [seen] = fake.requests
        assert seen.method == "GET"
        assert seen.path.startswith(f"/v23.0/{NUMBER_ID}?fields=display_phone_number,")

    def test_the_check_says_that_the_token_has_ended(self, fake: FakePlatform) -> None:
        fake.script(no(190, 401))
        check = self.make(fake).check()
        assert not check.ok
        assert "it says why" in check.detail

    @pytest.mark.parametrize(
        "answer",
        [
            Answer.json(200, {"messages": [{"id": "\ud800\x00", "message_status": {}}]}),
            Answer.json(200, {"messages": [7]}),
            Answer.json(200, {"messages": {}}),
            Answer.json(200, {"error": "no"}),
            Answer.json(400, {"error": {"code": 10**30, "message": "\ud800\x00"}}),
            Answer.json(400, {"error": {"code": True, "error_data": []}}),
        ],
    )
    def test_a_senseless_body_makes_an_outcome_that_can_be_stored(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        orjson.dumps([outcome.provider_ids, outcome.progress, outcome.error, outcome.response])


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("**bold** *it* ~~gone~~ __bold__ _it_", "*bold* _it_ ~gone~ *bold* _it_"),
        ("# Title\ntext", "*Title*\ntext"),
        ("## **Title** ##", "*Title*"),
        ("[the run](https://example.org/1)", "the run https://example.org/1"),
        ("`code *x*` ``a`b``", "`code *x*` `a`b`"),
        ("```python\nx = 1\n```", "```x = 1```"),
        ("2 * 3, snake_case_name", "2 * 3, snake_case_name"),
        ("- one\n- two", "- one\n- two"),
        ("界 **界** 😀", "界 *界* 😀"),
    ],
)
def test_markdown_becomes_whatsapps(text: str, marked: str) -> None:
    assert to_whatsapp(text) == marked
    assert len(marked) <= len(text)


@pytest.mark.parametrize("text", ["*" * 4096, "[" * 4096, "`" * 4095, "**a" * 1300])
def test_a_text_of_marks_takes_no_time(text: str) -> None:
    started = time.monotonic()
    assert len(to_whatsapp(text)) <= len(text)
    assert time.monotonic() - started < 1


GOOD = {"access_token": TOKEN, "phone_number_id": NUMBER_ID}


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (GOOD, True),
        (GOOD | {"api_version": "v23.0", "template": "news_1"}, True),
        (GOOD | {"template_language": "zh_CN"}, True),
        (GOOD | {"access_token": "short"}, False),
        (GOOD | {"phone_number_id": "+15551234567"}, False),
        (GOOD | {"api_version": "23"}, False),
        (GOOD | {"template": "My News"}, False),
        (GOOD | {"template_language": "English"}, False),
    ],
)
def test_the_form_knows_a_number(data: dict[str, str], good: bool) -> None:
    assert WhatsApp.Config(data).is_valid() == good


@pytest.mark.parametrize(("chat", "good"), [("+15551234567", True), ("", True), ("ada", False)])
def test_the_form_knows_a_home(chat: str, good: bool) -> None:
    assert WhatsApp.Home({"chat_id": chat}).is_valid() == good
