from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import orjson
import pytest

from deliveries.outcomes import Verdict
from platforms.senders.bluebubbles import BlueBubbles

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

PASSWORD = "Pass word/&1"
CHAT = "iMessage;-;+15551234567"
GROUP = "iMessage;+;chat123456789"
RETRY, FAILED = Verdict.RETRY, Verdict.FAILED


def done(data: Any = None) -> Answer:
    return Answer.json(200, {"status": 200, "message": "Success", "data": data})


def no(status: int, message: str = "it says why", error: int | None = None) -> Answer:
    body: dict[str, Any] = {
        "status": status,
        "message": "general",
        "error": {"type": "iMessage Error", "message": message},
    }
    if error is not None:
        body["data"] = {"guid": "g", "error": error}
    return Answer.json(status, body)


OK = done({"guid": "B5E6A1B0-0001", "tempGuid": "t", "error": 0})


def chat(guid: str, identifier: str, **more: Any) -> dict[str, Any]:
    return {"guid": guid, "chatIdentifier": identifier, "participants": [], **more}


class TestBlueBubbles(TextSenderCase):
    secret = PASSWORD
    target: ClassVar = {"chat_id": CHAT}
    arrived = OK
    checked = (done("pong"),)

    def make(self, fake: FakePlatform, **config: Any) -> BlueBubbles:
        return BlueBubbles({"server_url": fake.url + "/", "password": PASSWORD, **config})

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["message"] for document in fake.documents if "message" in document]

    def test_nobody_listening_is_retried_and_surely_not_sent(self, fake: FakePlatform) -> None:
        outcome = self.make(fake, server_url="http://127.0.0.1:9").send(self.message())
        assert (outcome.verdict, outcome.error_class) == (RETRY, "connect")
        assert not outcome.ambiguous

    def test_an_address_inside_is_refused_and_flags_the_channel(
        self, fake: FakePlatform, settings: Any
    ) -> None:
        """The own network is allowed; what serves secrets to a cloud's machines is not."""
        settings.OUTBOUND_ALLOW_PRIVATE = False
        assert self.send(fake, self.arrived).verdict == Verdict.DELIVERED
        outcome = self.make(fake, server_url="http://169.254.169.254").send(self.message())
        assert (outcome.verdict, outcome.error_class) == (FAILED, "blocked")
        assert outcome.faults_channel

    def test_the_request_is_the_message_apis(self, fake: FakePlatform) -> None:
        message = self.message("**Deploy** 完成 😀")
        fake.script(OK)
        outcome = self.make(fake).send(message)
        [seen] = fake.requests
        address = urlsplit(seen.path)
        assert (seen.method, address.path) == ("POST", "/api/v1/message/text")
        assert parse_qs(address.query) == {"password": [PASSWORD]}
        name = seen.document["tempGuid"]
        assert UUID(name).version == 5
        assert seen.document == {
            "chatGuid": CHAT,
            "tempGuid": name,
            "message": "Deploy 完成 😀",
            "method": "apple-script",
        }
        assert outcome.provider_ids == {"guid": ["B5E6A1B0-0001"]}

    def test_each_part_has_a_name_that_stays(self, fake: FakePlatform) -> None:
        fake.script(OK)
        message = self.message("word " * 1500)
        self.make(fake).send(message)
        self.make(fake).send(message)
        names = [document["tempGuid"] for document in fake.documents]
        assert names[:2] == names[2:]
        assert names[0] != names[1]

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        [
            (no(400, "Message is already queued!"), RETRY, "in_flight", False),
            (no(400, "tempGuid is in flight"), RETRY, "in_flight", False),
            (no(400, "it says why"), FAILED, "client_error", False),
            (no(401), FAILED, "unauthorized", True),
            (no(403), FAILED, "unauthorized", True),
            (no(404), FAILED, "chat_not_found", False),
            (no(500, error=22), RETRY, "not_delivered", False),
            (no(500), RETRY, "server_error", False),
            (no(504), RETRY, "server_error", False),
            (done({"guid": "g", "error": 22}), FAILED, "not_delivered", False),
            (done(), RETRY, "bad_reply", False),
        ],
    )
    def test_what_the_server_says_becomes_a_verdict(
        self, fake: FakePlatform, answer: Answer, verdict: Verdict, error_class: str, faults: bool
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert len(fake.requests) == 1

    def test_a_message_that_is_queued_already_is_waited_for(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(400, "already queued"))
        assert outcome.retry_after == 10
        assert outcome.ambiguous

    def test_what_the_mac_refuses_gets_one_more_try(self, fake: FakePlatform) -> None:
        fake.script(done([]), no(500, error=22))
        outcome = self.make(fake).send(self.message(number=2, retrying=True))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "not_delivered")

    def test_a_retry_looks_whether_the_text_is_there(self, fake: FakePlatform) -> None:
        there = [
            {"text": "Hello", "isFromMe": True, "error": 0},
            {"text": "other", "isFromMe": False},
        ]
        fake.script(done(there))
        message = self.message("Hello", number=2, retrying=True)
        outcome = self.make(fake).send(message)
        assert outcome.verdict == Verdict.DELIVERED
        [seen] = fake.requests
        assert urlsplit(seen.path).path == "/api/v1/message/query"
        assert seen.document["chatGuid"] == CHAT
        assert seen.document["after"] == int(message.created_at.timestamp() * 1000)

    @pytest.mark.parametrize(
        "there",
        [
            [],
            [{"text": "Hello", "isFromMe": False}],
            [{"text": "Hello", "isFromMe": True, "error": 22}],
            [{"text": "Hello you", "isFromMe": True}],
            [7, {"text": None}],
        ],
    )
    def test_a_retry_sends_what_is_not_there(self, fake: FakePlatform, there: list[Any]) -> None:
        fake.script(done(there), OK)
        outcome = self.make(fake).send(self.message("Hello", number=2, retrying=True))
        assert outcome.verdict == Verdict.DELIVERED
        assert self.texts(fake) == ["Hello"]

    @pytest.mark.parametrize(
        "answer", [Answer(500), Answer(hangs_up=True), Answer(200, {}, b"<html>"), done("x")]
    )
    def test_a_look_that_fails_sends_nothing(self, fake: FakePlatform, answer: Answer) -> None:
        fake.script(answer)
        outcome = self.make(fake).send(self.message(number=2, retrying=True))
        assert outcome.verdict == RETRY
        assert not outcome.ambiguous
        assert self.texts(fake) == []

    def test_a_person_is_the_chat_with_that_person_alone(self, fake: FakePlatform) -> None:
        chats = [
            chat(GROUP, "chat123456789", participants=[{"address": "+15551234567"}]),
            chat("SMS;-;+15551234567", "+15551234567"),
            chat(CHAT, "+15551234567"),
            chat("iMessage;-;+155512345678", "+155512345678"),
        ]
        fake.script(done(chats), OK)
        self.make(fake).send(text_message(target={"chat_id": "+15551234567"}))
        assert fake.documents[1]["chatGuid"] == CHAT

    def test_all_pages_of_chats_are_looked_through(self, fake: FakePlatform) -> None:
        page = [chat(f"iMessage;-;+1555{n:07}", f"+1555{n:07}") for n in range(500)]
        fake.script(done(page), done([chat("iMessage;-;a@b.org", "A@b.org")]), OK)
        self.make(fake).send(text_message(target={"chat_id": "a@B.org"}))
        assert [document.get("offset") for document in fake.documents[:2]] == [0, 500]
        assert fake.documents[2]["chatGuid"] == "iMessage;-;a@b.org"

    def test_a_person_without_a_chat_gets_one(self, fake: FakePlatform) -> None:
        fake.script(done([]), done({"guid": CHAT}), OK)
        message = text_message("word " * 1500, target={"chat_id": "+15551234567"})
        assert self.make(fake).send(message).verdict == Verdict.DELIVERED
        _query, first, second = fake.requests
        assert urlsplit(first.path).path == "/api/v1/chat/new"
        assert first.document["addresses"] == ["+15551234567"]
        assert first.document["service"] == "iMessage"
        assert urlsplit(second.path).path == "/api/v1/message/text"
        assert second.document["chatGuid"] == CHAT

    def test_a_thread_is_a_reply_by_the_private_api(self, fake: FakePlatform) -> None:
        fake.script(OK)
        message = text_message(target={"chat_id": CHAT, "thread_id": "B5E6A1B0-0001"})
        self.make(fake, method="private-api").send(message)
        self.make(fake).send(message)
        first, second = fake.documents
        assert first["selectedMessageGuid"] == "B5E6A1B0-0001"
        assert "selectedMessageGuid" not in second

    @pytest.mark.parametrize(
        "target",
        [
            {"chat_id": "5551234567"},
            {"chat_id": "ada"},
            {"chat_id": "iMessage;-;a b"},
            {"chat_id": CHAT, "thread_id": "a b c d e f g"},
        ],
    )
    def test_a_target_that_imessage_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, str]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "bad_target")
        assert fake.requests == []

    def test_trouble_with_the_home_is_the_channels(self, fake: FakePlatform) -> None:
        fake.script(no(404))
        sender = self.make(fake)
        sender.home["chat_id"] = CHAT
        assert sender.send(text_message()).faults_channel

    def test_a_channel_without_a_password_says_so(self, fake: FakePlatform) -> None:
        sender = self.make(fake, password="")
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
        assert outcome.faults_channel
        assert not sender.check().ok
        assert fake.requests == []

    def test_the_check_is_a_ping(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        assert self.make(fake).check().ok
        [seen] = fake.requests
        assert (seen.method, urlsplit(seen.path).path) == ("GET", "/api/v1/ping")

    @pytest.mark.parametrize(
        "answer",
        [
            done({"guid": "\ud800\x00", "error": 0}),
            done({"guid": 7, "error": {"a": "\ud800"}}),
            Answer.json(400, {"error": {"message": ["\ud800\x00"]}, "message": {}}),
            Answer.json(500, {"error": "no", "data": {"error": "\ud800\x00"}}),
        ],
    )
    def test_a_senseless_body_makes_an_outcome_that_can_be_stored(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        outcome = self.send(fake, answer)
        orjson.dumps([outcome.provider_ids, outcome.progress, outcome.error, outcome.response])


@pytest.mark.parametrize(
    ("data", "good"),
    [
        ({"server_url": "http://127.0.0.1:1234", "password": PASSWORD}, True),
        ({"server_url": "http://127.0.0.1:1234", "password": "abc"}, False),
        ({"server_url": "http://169.254.169.254", "password": PASSWORD}, False),
        ({"server_url": "http://127.0.0.1:1234", "password": PASSWORD, "method": "x"}, False),
        ({"password": PASSWORD}, False),
    ],
)
def test_the_form_knows_a_server(data: dict[str, str], good: bool) -> None:
    assert BlueBubbles.Config(data).is_valid() == good


@pytest.mark.parametrize(
    ("chat_id", "good"),
    [
        (CHAT, True),
        (GROUP, True),
        ("+15551234567", True),
        ("ada@example.org", True),
        ("", True),
        ("ada", False),
    ],
)
def test_the_form_knows_a_home(chat_id: str, good: bool) -> None:
    assert BlueBubbles.Home({"chat_id": chat_id}).is_valid() == good


def test_a_stored_password_does_not_follow_to_another_server() -> None:
    stored = {"server_url": "http://a", "password": PASSWORD}
    assert "password" not in BlueBubbles.prepare_config(stored, {"server_url": "http://b"})
    assert "password" in BlueBubbles.prepare_config(stored, {"server_url": "http://a"})
