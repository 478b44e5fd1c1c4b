import json
from typing import Any, ClassVar

import pytest

from deliveries.outcomes import Verdict
from platforms.senders.ntfy import Ntfy

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

TOKEN = "tk_" + "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o"
OK = Answer.json(
    200, {"id": "hwQ2YpKdmg", "time": 1772450444, "event": "message", "topic": "builds"}
)
ACCOUNT = Answer.json(200, {"username": "ops", "role": "user"})
DELIVERED, RETRY, FAILED = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


def no(code: int, words: str = "says why") -> Answer:
    return Answer.json(code // 100, {"code": code, "http": code // 100, "error": words})


ERRORS = [
    (no(40009), FAILED, "client_error", False, None),
    (no(40010), FAILED, "client_error", False, None),
    (no(40101), FAILED, "unauthorized", True, None),
    (no(40301), FAILED, "forbidden", True, None),
    (no(40401), FAILED, "not_found", True, None),
    (no(41301), FAILED, "client_error", False, None),
    (no(41303), FAILED, "client_error", False, None),
    (no(42901), RETRY, "rate_limited", False, None),
    (no(42904), RETRY, "rate_limited", False, None),
    (no(42908), RETRY, "rate_limited", False, 3600.0),
    (no(42909), FAILED, "unauthorized", True, None),
    (no(50001), RETRY, "server_error", False, None),
    (no(50701), FAILED, "no_subscriber", False, None),
    (Answer.json(200, {"code": 40009, "error": "says why"}), FAILED, "client_error", False, None),
]


class TestNtfy(TextSenderCase):
    secret = TOKEN
    target: ClassVar = {"chat_id": "builds"}
    arrived = OK
    checked = (ACCOUNT,)

    def make(self, fake: FakePlatform, **home: str) -> Ntfy:
        return Ntfy({"url": f"{fake.url}/", "token": TOKEN}, home)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["message"] for document in fake.documents]

    def size(self, text: str) -> int:
        return len(text.encode())

    def test_an_address_inside_is_refused_and_flags_the_channel(
        self, fake: FakePlatform, settings: Any
    ) -> None:
        # It often lives at home; what is refused are the addresses that nobody's home is at.
        settings.OUTBOUND_ALLOW_PRIVATE = False
        assert self.send(fake, OK).verdict == DELIVERED
        sender = Ntfy({"url": "http://169.254.169.254"})
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (FAILED, "blocked")
        assert outcome.faults_channel

    def test_the_request_is_ntfys(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, OK, text="**Deploy** 完成 😀")
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", "/")
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.document == {
            "topic": "builds",
            "markdown": True,
            "message": "**Deploy** 完成 😀",
        }
        assert outcome.provider_ids == {"id": ["hwQ2YpKdmg"]}

    def test_a_target_may_have_a_title_and_a_priority(self, fake: FakePlatform) -> None:
        target = {"title": "Build", "priority": "5", "chat_id": "{x}"}
        fake.script(OK)
        self.make(fake, chat_id="home").send(text_message(target=target))
        [document] = fake.documents
        assert document["topic"] == "home"
        assert (document["title"], document["priority"]) == ("Build", 5)

    @pytest.mark.parametrize(
        ("target", "error_class"),
        [
            ({}, "no_destination"),
            ({"chat_id": "a b"}, "bad_target"),
            ({"chat_id": "a/../b"}, "bad_target"),
            ({"chat_id": "x" * 65}, "bad_target"),
            ({"chat_id": "a", "priority": "9"}, "bad_target"),
        ],
    )
    def test_a_target_that_ntfy_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, str], error_class: str
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (FAILED, error_class)
        assert fake.requests == []

    @pytest.mark.parametrize(("answer", "verdict", "error_class", "faults", "wait"), ERRORS)
    def test_what_ntfy_says_becomes_a_verdict(
        self,
        fake: FakePlatform,
        answer: Answer,
        verdict: Verdict,
        error_class: str,
        faults: bool,
        wait: float | None,
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert (outcome.faults_channel, outcome.retry_after) == (faults, wait)
        assert "says why" in outcome.error

    @pytest.mark.parametrize("character", ['"', "\\", "\x01", "界", "😀"])
    def test_no_body_is_larger_than_the_server_takes(
        self, fake: FakePlatform, character: str
    ) -> None:
        self.send(fake, OK, text="x" + character * 9000)
        for seen in fake.requests:
            assert len(seen.body) <= 8192
            assert len(json.loads(seen.body)["message"].encode()) <= 4096

    def test_without_a_token_it_publishes_as_a_stranger(self, fake: FakePlatform) -> None:
        fake.script(OK)
        assert Ntfy({"url": fake.url}).send(self.message()).verdict == DELIVERED
        assert "authorization" not in fake.requests[0].headers
        fake.script(Answer.json(200, {"username": "*", "role": "anonymous"}))
        assert Ntfy({"url": fake.url}).check().ok

    def test_the_check_names_the_account(self, fake: FakePlatform) -> None:
        fake.script(ACCOUNT)
        assert "ops" in self.make(fake).check().detail
        assert fake.requests[0].path == "/v1/account"


@pytest.mark.parametrize(
    ("config", "good"),
    [
        ({"url": "https://ntfy.sh", "token": TOKEN}, True),
        ({"url": "http://192.168.1.7:8080"}, True),
        ({"url": "http://169.254.169.254"}, False),
        ({"url": "ftp://192.168.1.7"}, False),
        ({"url": "https://ntfy.sh", "token": "password"}, False),
        ({"token": TOKEN}, False),
    ],
)
def test_the_form_knows_a_server_and_a_token(config: dict[str, str], good: bool) -> None:
    assert Ntfy.Config(config).is_valid() == good


@pytest.mark.parametrize(("topic", "good"), [("builds", True), ("", True), ("a b", False)])
def test_the_form_knows_a_topic(topic: str, good: bool) -> None:
    assert Ntfy.Home({"chat_id": topic}).is_valid() == good
