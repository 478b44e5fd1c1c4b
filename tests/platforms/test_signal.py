import base64
from typing import Any, ClassVar

import orjson
import pytest

from deliveries.outcomes import Verdict
from platforms.senders.signal import Signal

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

ACCOUNT = "+15550000000"
PASSWORD = "proxy-Pa55/word"
PERSON = "+15551234567"
GROUP = base64.b64encode(bytes(range(32))).decode()
REST_GROUP = f"group.{base64.b64encode(GROUP.encode()).decode()}"
SENT = {"timestamp": 1700000000000, "results": [{"type": "SUCCESS"}]}
RETRY, FAILED = Verdict.RETRY, Verdict.FAILED


def result(**fields: Any) -> Answer:
    return Answer.json(200, {"jsonrpc": "2.0", "id": "1", "result": fields})


def error(code: int, *results: dict[str, Any], message: str = "it says why") -> Answer:
    said: dict[str, Any] = {"code": code, "message": message, "data": None}
    if results:
        said["data"] = {"response": {"timestamp": 1, "results": list(results)}}
    return Answer.json(200, {"jsonrpc": "2.0", "id": "1", "error": said})


def of(kind: str, **fields: Any) -> dict[str, Any]:
    return {"recipientAddress": {"number": PERSON}, "type": kind, **fields}


class SignalCase(TextSenderCase):
    secret = PASSWORD
    target: ClassVar = {"chat_id": PERSON}
    server: ClassVar[str]

    def make(self, fake: FakePlatform, **config: Any) -> Signal:
        account = {"account": ACCOUNT, "username": "hermes", "password": PASSWORD}
        return Signal({"http_url": fake.url + "/", "server": self.server, **account, **config})

    def size(self, text: str) -> int:
        return len(text.encode())

    def test_nobody_listening_is_retried_and_surely_not_sent(self, fake: FakePlatform) -> None:
        outcome = self.make(fake, http_url="http://127.0.0.1:9").send(self.message())
        assert (outcome.verdict, outcome.error_class) == (RETRY, "connect")
        assert not outcome.ambiguous

    def test_an_address_inside_is_refused_and_flags_the_channel(
        self, fake: FakePlatform, settings: Any
    ) -> None:
        """The own network is allowed; what serves secrets to a cloud's machines is not."""
        settings.OUTBOUND_ALLOW_PRIVATE = False
        assert self.send(fake, self.arrived).verdict == Verdict.DELIVERED
        outcome = self.make(fake, http_url="http://169.254.169.254").send(self.message())
        assert (outcome.verdict, outcome.error_class) == (FAILED, "blocked")
        assert outcome.faults_channel

    def test_trouble_with_the_home_is_the_channels(self, fake: FakePlatform) -> None:
        fake.script(error(-1, of("UNREGISTERED_FAILURE")))
        sender = self.make(fake)
        sender.home["chat_id"] = PERSON
        assert sender.send(text_message()).faults_channel

    @pytest.mark.parametrize(
        "chat",
        ["15551234567", "ada", "group:xyz", "group.eHl6eHl6eHl6eHl6eHl6eHl6eHl6eHl6eHl6eHl6"],
    )
    def test_a_target_that_signal_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, chat: str
    ) -> None:
        outcome = self.make(fake).send(text_message(target={"chat_id": chat}))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "bad_target")
        assert fake.requests == []

    def test_a_login_is_sent_only_if_there_is_one(self, fake: FakePlatform) -> None:
        fake.script(self.arrived)
        self.make(fake).send(self.message())
        self.make(fake, password="").send(self.message())
        first, second = fake.requests
        login = base64.b64encode(f"hermes:{PASSWORD}".encode()).decode()
        assert first.headers["authorization"] == f"Basic {login}"
        assert "authorization" not in second.headers

    def test_an_account_that_the_server_lacks_is_not_in_order(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        check = self.make(fake, account="+15557777777").check()
        assert not check.ok
        assert "+15557777777" in check.detail

    @pytest.mark.parametrize(
        "answer",
        [
            result(timestamp="\ud800\x00"),
            result(timestamp=1, results=[7, {"type": ["\ud800"]}]),
            result(timestamp=1, results={}),
            error(10**30, message="\ud800\x00"),
            error(-5, of("RATE_LIMIT_FAILURE", retryAfterSeconds=10**400)),
            error(-5, of("RATE_LIMIT_FAILURE", retryAfterSeconds=float("nan"))),
            error(-5, of("RATE_LIMIT_FAILURE", retryAfterSeconds=True)),
            Answer.json(200, {"error": {"code": [], "message": {}, "data": [1]}}),
            Answer.json(400, {"error": "\ud800\x00", "challenge_tokens": "x"}),
        ],
    )
    def test_a_senseless_body_makes_an_outcome_that_can_be_stored(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        orjson.dumps([outcome.provider_ids, outcome.progress, outcome.error, outcome.response])
        assert outcome.retry_after is None or 1 <= outcome.retry_after <= 3600


class TestSignalDaemon(SignalCase):
    server = "rpc"
    arrived = result(**SENT)
    checked = (
        Answer.json(200, {"jsonrpc": "2.0", "id": "check", "result": [{"number": ACCOUNT}]}),
    )

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["params"]["message"] for document in fake.documents]

    def test_the_request_is_json_rpc(self, fake: FakePlatform) -> None:
        message = self.message("**Deploy** 完成 😀")
        fake.script(self.arrived)
        outcome = self.make(fake).send(message)
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", "/api/v1/rpc")
        assert seen.document == {
            "jsonrpc": "2.0",
            "id": f"{message.id}:1",
            "method": "send",
            "params": {"account": ACCOUNT, "recipient": [PERSON], "message": "Deploy 完成 😀"},
        }
        assert outcome.provider_ids == {"timestamp": ["1700000000000"]}

    @pytest.mark.parametrize("chat", [GROUP, f"group:{GROUP}", REST_GROUP])
    def test_a_group_has_its_own_field(self, fake: FakePlatform, chat: str) -> None:
        fake.script(self.arrived)
        self.make(fake).send(text_message(target={"chat_id": chat}))
        params = fake.documents[0]["params"]
        assert params["groupId"] == GROUP
        assert "recipient" not in params

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        [
            (error(-3), RETRY, "temporary", False),
            (error(-1, of("NETWORK_FAILURE")), RETRY, "temporary", False),
            (error(-5), RETRY, "rate_limited", False),
            (error(-5, of("RATE_LIMIT_FAILURE", token="t")), FAILED, "captcha_needed", True),
            (error(-6), FAILED, "captcha_needed", True),
            (error(-4), FAILED, "untrusted_key", True),
            (error(-1, of("IDENTITY_FAILURE")), FAILED, "untrusted_key", True),
            (error(-1, of("UNREGISTERED_FAILURE")), FAILED, "receiver_unreachable", False),
            (error(-1, of("INVALID_PRE_KEY_FAILURE")), RETRY, "pre_key", False),
            (error(-1), FAILED, "client_error", False),
            (error(-32600), FAILED, "client_error", False),
            (error(-32601), FAILED, "client_error", False),
            (error(-32602), FAILED, "client_error", False),
            (error(-32700), FAILED, "client_error", False),
            (error(-32603), RETRY, "internal_error", False),
            (error(-99), FAILED, "client_error", False),
            (result(timestamp=1, results=[of("NETWORK_FAILURE")]), RETRY, "temporary", False),
            (
                result(timestamp=1, results=[of("UNREGISTERED_FAILURE")]),
                FAILED,
                "receiver_unreachable",
                False,
            ),
            (result(timestamp=1, results=[of("SOMETHING_NEW")]), FAILED, "client_error", False),
            (result(), RETRY, "bad_reply", False),
        ],
    )
    def test_a_200_that_says_no_is_none(
        self, fake: FakePlatform, answer: Answer, verdict: Verdict, error_class: str, faults: bool
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert len(fake.requests) == 1

    def test_the_wait_of_a_rate_limit_is_the_longest_named(self, fake: FakePlatform) -> None:
        slow = of("RATE_LIMIT_FAILURE", retryAfterSeconds=90)
        fast = of("RATE_LIMIT_FAILURE", retryAfterSeconds=5)
        outcome = self.send(fake, error(-5, fast, slow))
        assert outcome.retry_after == 90

    @pytest.mark.parametrize(
        ("answer", "last"),
        [(error(-1, of("INVALID_PRE_KEY_FAILURE")), 3), (error(-32603), 2)],
    )
    def test_some_faults_get_a_few_tries_only(
        self, fake: FakePlatform, answer: Answer, last: int
    ) -> None:
        assert self.send(fake, answer, number=last - 1).verdict == RETRY
        assert self.send(fake, answer, number=last).verdict == FAILED

    def test_a_group_that_gets_it_in_part_has_got_it(self, fake: FakePlatform) -> None:
        answer = result(timestamp=7, results=[of("SUCCESS"), of("UNREGISTERED_FAILURE")])
        outcome = self.send(fake, answer)
        assert outcome.verdict == Verdict.DELIVERED
        assert outcome.provider_ids["not_reached"] == ["['UNREGISTERED_FAILURE']"]

    def test_a_daemon_for_one_account_does_not_name_it(self, fake: FakePlatform) -> None:
        fake.script(error(-32601, message="Method not implemented"))
        assert self.make(fake).check().ok


class TestSignalRest(SignalCase):
    server = "rest"
    arrived = Answer.json(201, {"timestamp": "1700000000000"})
    checked = (Answer.json(200, [ACCOUNT]),)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["message"] for document in fake.documents]

    def test_the_request_is_the_rest_apis(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, self.arrived, text="**Deploy** 完成")
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", "/v2/send")
        assert seen.document == {
            "number": ACCOUNT,
            "recipients": [PERSON],
            "message": "Deploy 完成",
            "text_mode": "normal",
        }
        assert outcome.provider_ids == {"timestamp": ["1700000000000"]}

    @pytest.mark.parametrize("chat", [GROUP, f"group:{GROUP}", REST_GROUP])
    def test_a_group_is_written_in_the_rest_apis_way(self, fake: FakePlatform, chat: str) -> None:
        fake.script(self.arrived)
        self.make(fake).send(text_message(target={"chat_id": chat}))
        assert fake.documents[0]["recipients"] == [REST_GROUP]

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        [
            (
                Answer.json(400, {"error": "Failed to send message due to rate limiting"}),
                RETRY,
                "rate_limited",
                False,
            ),
            (Answer.json(400, {"error": "Rate limit hit"}), RETRY, "rate_limited", False),
            (
                Answer.json(400, {"error": "Unregistered user"}),
                FAILED,
                "receiver_unreachable",
                False,
            ),
            (Answer.json(400, {"error": "Untrusted Identity"}), FAILED, "untrusted_key", True),
            (Answer.json(400, {"error": "something else"}), RETRY, "unknown_error", False),
            (
                Answer.json(429, {"error": "limit", "challenge_tokens": ["t"], "account": "a"}),
                FAILED,
                "captcha_needed",
                True,
            ),
            (Answer.json(500, {"error": "broken"}), RETRY, "server_error", False),
        ],
    )
    def test_what_the_server_says_becomes_a_verdict(
        self, fake: FakePlatform, answer: Answer, verdict: Verdict, error_class: str, faults: bool
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert orjson.loads(answer.body)["error"] in outcome.error

    def test_an_unknown_refusal_gets_one_more_try(self, fake: FakePlatform) -> None:
        answer = Answer.json(400, {"error": "something else"})
        outcome = self.send(fake, answer, number=2, retrying=True)
        assert (outcome.verdict, outcome.error_class) == (FAILED, "unknown_error")

    def test_trouble_with_the_home_is_the_channels(self, fake: FakePlatform) -> None:
        fake.script(Answer.json(400, {"error": "Unregistered user"}))
        sender = self.make(fake)
        sender.home["chat_id"] = PERSON
        assert sender.send(text_message()).faults_channel


@pytest.mark.parametrize(
    ("data", "good"),
    [
        ({"http_url": "http://127.0.0.1:8080", "account": ACCOUNT}, True),
        ({"http_url": "http://127.0.0.1:8080", "account": ACCOUNT, "server": "rest"}, True),
        ({"http_url": "http://169.254.169.254", "account": ACCOUNT}, False),
        ({"http_url": "http://127.0.0.1:8080", "account": "15550000000"}, False),
        ({"http_url": "http://127.0.0.1:8080", "account": ACCOUNT, "server": "x"}, False),
        ({"account": ACCOUNT}, False),
    ],
)
def test_the_form_knows_a_server(data: dict[str, str], good: bool) -> None:
    assert Signal.Config(data).is_valid() == good


@pytest.mark.parametrize(
    ("chat", "good"),
    [
        (PERSON, True),
        (GROUP, True),
        (REST_GROUP, True),
        ("u:ada.42", True),
        ("84983ff6-516d-731e-5b5f-68d4ea2e1da5", True),
        ("", True),
        ("ada", False),
    ],
)
def test_the_form_knows_a_home(chat: str, good: bool) -> None:
    assert Signal.Home({"chat_id": chat}).is_valid() == good


def test_a_stored_password_does_not_follow_to_another_server() -> None:
    stored = {"http_url": "http://a", "account": ACCOUNT, "password": PASSWORD}
    moved = Signal.prepare_config(stored, {"http_url": "http://b", "account": ACCOUNT})
    assert "password" not in moved
    same = Signal.prepare_config(stored, {"http_url": "http://a", "account": ACCOUNT})
    assert same["password"] == PASSWORD
