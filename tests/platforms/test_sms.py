import base64
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import orjson
import pytest

from deliveries.outcomes import Verdict
from platforms.senders.sms import Sms

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

ACCOUNT = "AC" + "0123456789abcdef" * 2
API_KEY = "SK" + "0123456789abcdef" * 2
SECRET = "fedcba9876543210fedcba9876543210"
OK = Answer.json(201, {"sid": "SM1", "status": "queued", "error_code": None})


def no(code: int, status: int = 400) -> Answer:
    body = {"code": code, "message": "it says why", "more_info": "https://…", "status": status}
    return Answer.json(status, body)


def failed(code: int | None, status: str = "failed") -> Answer:
    body = {"sid": "SM1", "status": status, "error_code": code, "error_message": "it says why"}
    return Answer.json(201, body)


def forms(fake: FakePlatform) -> list[dict[str, str]]:
    return [dict(parse_qsl(seen.body.decode())) for seen in fake.requests]


ERRORS = [
    (no(20429, 429), Verdict.RETRY, "rate_limited", False),
    (no(14107), Verdict.RETRY, "rate_limited", False),
    (no(21611), Verdict.RETRY, "temporary", False),
    (no(20500, 500), Verdict.RETRY, "server_error", False),
    (no(20503, 503), Verdict.RETRY, "server_error", False),
    (no(20003, 401), Verdict.FAILED, "unauthorized", True),
    (no(20005, 403), Verdict.FAILED, "unauthorized", True),
    (no(20404, 404), Verdict.FAILED, "unauthorized", True),
    (no(20008), Verdict.FAILED, "unauthorized", True),
    (no(21606), Verdict.FAILED, "bad_sender", True),
    (no(21603), Verdict.FAILED, "bad_sender", True),
    (no(21212), Verdict.FAILED, "bad_sender", True),
    (no(21659), Verdict.FAILED, "bad_sender", True),
    (no(21408), Verdict.FAILED, "bad_sender", True),
    (no(21608), Verdict.FAILED, "bad_sender", True),
    (no(21703), Verdict.FAILED, "bad_sender", True),
    (no(21704), Verdict.FAILED, "bad_sender", True),
    (no(21211), Verdict.FAILED, "number_unreachable", False),
    (no(21614), Verdict.FAILED, "number_unreachable", False),
    (no(21610), Verdict.FAILED, "number_unreachable", False),
    (no(21612), Verdict.FAILED, "number_unreachable", False),
    (no(21602), Verdict.FAILED, "client_error", False),
    (no(21619), Verdict.FAILED, "client_error", False),
    (no(21617), Verdict.FAILED, "client_error", False),
    (no(21658), Verdict.FAILED, "client_error", False),
    (no(99999), Verdict.FAILED, "client_error", False),
    (failed(30001), Verdict.RETRY, "temporary", False),
    (failed(30008), Verdict.RETRY, "temporary", False),
    (failed(30017), Verdict.RETRY, "temporary", False),
    (failed(30003), Verdict.RETRY, "temporary", False),
    (failed(30004), Verdict.FAILED, "number_unreachable", False),
    (failed(30005, "undelivered"), Verdict.FAILED, "number_unreachable", False),
    (failed(30006), Verdict.FAILED, "number_unreachable", False),
    (failed(30007), Verdict.FAILED, "client_error", False),
    (failed(30034), Verdict.FAILED, "bad_sender", True),
    (failed(None), Verdict.FAILED, "client_error", False),
]


class TestSms(TextSenderCase):
    secret = SECRET
    target: ClassVar = {"chat_id": "+15551234567"}
    arrived = OK
    checked = (Answer.json(200, {"status": "active", "friendly_name": "Ops"}),)

    def make(self, fake: FakePlatform, **config: Any) -> Sms:
        account = {"account_sid": ACCOUNT, "auth_token": SECRET, "phone_number": "+15550000000"}
        return Sms({**account, "api_base": fake.url, **config})

    def texts(self, fake: FakePlatform) -> list[str]:
        return [form["Body"] for form in forms(fake)]

    def size(self, text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    def test_a_megabyte_of_text_is_cut_after_ten_parts(self, fake: FakePlatform) -> None:
        """After three: each costs."""
        outcome = self.send(fake, OK, text="word " * 210_000)
        assert outcome.verdict == Verdict.DELIVERED
        texts = self.texts(fake)
        assert len(texts) == 3
        assert "left out" in texts[-1]
        assert max(map(len, texts)) <= 1600
        assert sum(map(len, texts)) > 3000

    def test_the_notice_of_what_was_left_out_is_in_gsm_too_and_fits(
        self, fake: FakePlatform
    ) -> None:
        self.send(fake, OK, text="x" * 9000)
        last = self.texts(fake)[-1]
        assert "\n... the rest was left out" in last
        assert len(last) <= 1600

    def test_the_request_is_the_message_resources(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, OK, text="**Deploy** 完成 😀 a&b=c")
        [seen] = fake.requests
        assert (seen.method, seen.path) == (
            "POST",
            f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
        )
        login = base64.b64encode(f"{ACCOUNT}:{SECRET}".encode()).decode()
        assert seen.headers["authorization"] == f"Basic {login}"
        assert forms(fake) == [
            {"To": "+15551234567", "From": "+15550000000", "Body": "Deploy 完成 😀 a&b=c"}
        ]
        assert outcome.provider_ids == {"sid": ["SM1"], "status": ["queued"]}

    def test_an_api_key_signs_in_for_the_account(self, fake: FakePlatform) -> None:
        fake.script(OK)
        self.make(fake, api_key_sid=API_KEY).send(self.message())
        [seen] = fake.requests
        login = base64.b64encode(f"{API_KEY}:{SECRET}".encode()).decode()
        assert seen.headers["authorization"] == f"Basic {login}"
        assert ACCOUNT in seen.path

    def test_a_messaging_service_takes_the_numbers_place(self, fake: FakePlatform) -> None:
        fake.script(OK)
        service = "MG" + "0123456789abcdef" * 2
        self.make(fake, phone_number=service).send(self.message())
        [form] = forms(fake)
        assert form["MessagingServiceSid"] == service
        assert "From" not in form

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        ERRORS,
        ids=[
            str(body.get("code", body.get("error_code")))
            for body in (orjson.loads(row[0].body) for row in ERRORS)
        ],
    )
    def test_what_twilio_says_becomes_a_verdict(
        self, fake: FakePlatform, answer: Answer, verdict: Verdict, error_class: str, faults: bool
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert "it says why" in outcome.error
        assert len(fake.requests) == 1

    def test_a_phone_that_is_off_gets_one_more_try(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, failed(30003), number=2, retrying=True)
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "number_unreachable")

    def test_trouble_with_the_home_number_is_the_channels(self, fake: FakePlatform) -> None:
        fake.script(no(21610))
        sender = self.make(fake)
        sender.home["chat_id"] = "+15551234567"
        assert sender.send(text_message()).faults_channel

    def test_the_login_is_kept_out_of_the_ledger(self, fake: FakePlatform) -> None:
        login = base64.b64encode(f"{ACCOUNT}:{SECRET}".encode()).decode()
        answer = Answer.json(401, {"code": 20003, "message": f"bad Authorization: Basic {login}"})
        assert login not in repr(self.send(fake, answer))

    @pytest.mark.parametrize(
        "chat", ["15551234567", "+0123", "+1 555 1234567", "ada", "+１２３４５６７"]
    )
    def test_a_target_that_is_no_number_is_refused_without_a_call(
        self, fake: FakePlatform, chat: str
    ) -> None:
        outcome = self.make(fake).send(text_message(target={"chat_id": chat}))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "bad_target")
        assert fake.requests == []

    def test_typography_becomes_what_a_cheap_segment_holds(self, fake: FakePlatform) -> None:
        self.send(fake, OK, text="“It’s” done – see…\u00a0• one")
        assert self.texts(fake) == ['"It\'s" done - see... - one']

    def test_a_channel_without_a_credential_says_so(self, fake: FakePlatform) -> None:
        sender = self.make(fake, auth_token="")
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "unauthorized")
        assert outcome.faults_channel
        assert not sender.check().ok
        assert fake.requests == []

    def test_the_check_reads_the_account(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        assert "Ops" in self.make(fake).check().detail
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("GET", f"/2010-04-01/Accounts/{ACCOUNT}.json")

    def test_an_account_that_is_suspended_is_not_in_order(self, fake: FakePlatform) -> None:
        fake.script(Answer.json(200, {"status": "suspended"}))
        check = self.make(fake).check()
        assert not check.ok
        assert "suspended" in check.detail

    @pytest.mark.parametrize(
        "answer",
        [
            Answer.json(201, {"sid": "\ud800\x00", "status": ["queued"]}),
            Answer.json(201, {"sid": 7, "status": "queued"}),
            Answer.json(400, {"code": 10**30, "message": {"a": "\ud800\x00"}}),
            Answer.json(400, {"code": True, "message": None}),
        ],
    )
    def test_a_senseless_body_makes_an_outcome_that_can_be_stored(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        orjson.dumps([outcome.provider_ids, outcome.progress, outcome.error, outcome.response])


GOOD = {"account_sid": ACCOUNT, "auth_token": SECRET, "phone_number": "+15550000000"}


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (GOOD, True),
        (GOOD | {"api_key_sid": API_KEY}, True),
        (GOOD | {"phone_number": "12345"}, True),
        (GOOD | {"phone_number": "Hermes Ops"}, True),
        (GOOD | {"phone_number": "MG" + "a" * 32}, True),
        (GOOD | {"phone_number": "12"}, False),
        (GOOD | {"phone_number": "a name that is long"}, False),
        (GOOD | {"account_sid": "AC1"}, False),
        (GOOD | {"api_key_sid": ACCOUNT}, False),
        (GOOD | {"auth_token": "short"}, False),
        (GOOD | {"auth_token": ""}, False),
    ],
)
def test_the_form_knows_an_account(data: dict[str, str], good: bool) -> None:
    assert Sms.Config(data).is_valid() == good


@pytest.mark.parametrize(("chat", "good"), [("+15551234567", True), ("", True), ("555", False)])
def test_the_form_knows_a_number(chat: str, good: bool) -> None:
    assert Sms.Home({"chat_id": chat}).is_valid() == good
