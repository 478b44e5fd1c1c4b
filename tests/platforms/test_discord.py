import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from deliveries.ids import new_id
from deliveries.outcomes import Verdict
from platforms import pacing
from platforms.senders.discord import Discord

from .fake import Answer, FakePlatform
from .sender_case import SenderCase, TextSenderCase, text_message

TOKEN = ".".join(("MTIzNDU2Nzg5MDEyMzQ1Njc4", "GaBcDe", "fGhIjKlMnOpQrStUvWxYz0123456789_-"))
HOOK = "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789-_aBcDeFgHiJkLmNoPqRsTuVwXyZ"
CHANNEL = "112233445566778899"
THREAD = "998877665544332211"
OK = Answer.json(200, {"id": "1234567890123456789", "channel_id": CHANNEL})
DELIVERED, RETRY, FAILED = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED

TABLE = [
    *[(429, code, RETRY, "rate_limited", False) for code in (20016, 20028, 20029, 40003)],
    *[(403, code, RETRY, "rate_limited", False) for code in (20016, 40003, 40062)],
    *[(403, code, RETRY, "temporary", False) for code in (40004, 40006)],
    (500, 130000, RETRY, "temporary", False),
    (401, 0, FAILED, "unauthorized", True),
    (401, 40001, FAILED, "unauthorized", True),
    (401, 20016, FAILED, "unauthorized", True),
    (401, 50027, FAILED, "unauthorized", True),
    (404, 10015, FAILED, "unauthorized", True),
    *[(404, code, FAILED, "chat_gone", False) for code in (10003, 10004, 10008, 10013)],
    (400, 50033, FAILED, "chat_gone", False),
    (403, 50007, FAILED, "cannot_dm", False),
    (403, 50278, FAILED, "cannot_dm", False),
    *[(403, code, FAILED, "forbidden", True) for code in (50001, 50013, 160002, 40333)],
    *[(400, code, FAILED, "client_error", False) for code in (50006, 50035, 50109)],
    (413, 40005, FAILED, "client_error", False),
    *[(400, code, FAILED, "wrong_channel", False) for code in (50008, 50024, 40058, 40067)],
    *[(400, code, FAILED, "wrong_channel", False) for code in range(220001, 220005)],
    *[(400, code, FAILED, "wrong_channel", False) for code in (50083, 160005)],
    *[(400, code, FAILED, "client_error", False) for code in (200000, 200001, 240000, 99999)],
    (500, 0, RETRY, "server_error", False),
]


@pytest.fixture(autouse=True)
def fresh_pace() -> Iterator[None]:
    pacing.forget()
    yield
    pacing.forget()


def no(status: int, code: int, **rest: Any) -> Answer:
    return Answer.json(status, {"code": code, "message": "Says why"}, **rest)


class TestDiscord(TextSenderCase):
    secret = TOKEN
    target: ClassVar = {"chat_id": CHANNEL}
    arrived = OK
    checked = (Answer.json(200, {"id": "1", "username": "hermes"}),)

    def make(self, fake: FakePlatform, **home: str) -> Discord:
        return Discord({"bot_token": TOKEN, "api_base": fake.url}, home)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["content"] for document in fake.documents]

    def size(self, text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    def test_the_request_is_the_rest_apis(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, OK, text="**Deploy** @everyone 界")
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", f"/channels/{CHANNEL}/messages")
        assert seen.headers["authorization"] == f"Bot {TOKEN}"
        assert seen.headers["user-agent"].startswith("DiscordBot (")
        assert len(seen.document.pop("nonce")) == 25
        letter = seen.document
        del letter["nonce"]
        assert letter == {
            "content": "**Deploy** @everyone 界",
            "allowed_mentions": {"parse": []},
            "flags": 4,
            "enforce_nonce": True,
        }
        assert outcome.provider_ids == {"message_id": ["1234567890123456789"]}

    def test_a_repeat_has_the_same_nonce_and_each_part_its_own(self, fake: FakePlatform) -> None:
        fake.script(OK)
        sender = self.make(fake)
        message = self.message("word " * 600, id=new_id())
        sender.send(message)
        sender.send(message)
        sender.send(self.message())
        first, second, *again, other = (document["nonce"] for document in fake.documents)
        assert again == [first, second]
        assert len({first, second, other}) == 3

    @pytest.mark.parametrize(("status", "code", "verdict", "error_class", "faults"), TABLE)
    def test_what_discord_says_becomes_a_verdict(
        self,
        fake: FakePlatform,
        status: int,
        code: int,
        verdict: Verdict,
        error_class: str,
        faults: bool,
    ) -> None:
        outcome = self.send(fake, no(status, code))
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert "Says why" in outcome.error
        assert len(fake.requests) == 1

    @pytest.mark.parametrize(("code", "status"), [(10003, 404), (50007, 403), (40058, 400)])
    def test_trouble_with_the_home_channel_is_the_channels(
        self, fake: FakePlatform, code: int, status: int
    ) -> None:
        fake.script(no(status, code))
        assert self.make(fake, chat_id=CHANNEL).send(text_message()).faults_channel

    @pytest.mark.parametrize(
        ("value", "wait"),
        [(1.25, 1.25), (64, 64), (0.05, 1), (10**400, 3600), (float("nan"), 3), ("5", 3)],
    )
    def test_the_wait_in_the_body_goes_before_the_header(
        self, fake: FakePlatform, value: Any, wait: float | None
    ) -> None:
        answer = Answer.json(429, {"retry_after": value}, headers={"Retry-After": "3"})
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "rate_limited")
        assert outcome.retry_after == wait

    @pytest.mark.parametrize(
        "limited",
        [
            Answer.json(429, {"retry_after": 9.5, "global": True}),
            Answer(429, {"Retry-After": "9.5", "X-RateLimit-Scope": "global"}),
        ],
    )
    def test_a_global_limit_holds_the_whole_channel(
        self, fake: FakePlatform, limited: Answer
    ) -> None:
        assert self.send(fake, limited).error_class == "rate_limited"
        outcome = self.send(fake, OK, target={"chat_id": THREAD})
        assert (outcome.verdict, outcome.error_class) == (RETRY, "local_rate_limit")
        assert outcome.retry_after == pytest.approx(9.5, abs=0.5)
        assert len(fake.requests) == 1

    def test_a_spent_bucket_holds_its_place_before_discord_has_to(self, fake: FakePlatform) -> None:
        spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "4.2"}
        arrived = Answer(OK.status, {**OK.headers, **spent}, OK.body)
        outcome = self.send(fake, arrived, text="word " * 600)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "local_rate_limit")
        assert outcome.retry_after == pytest.approx(4.2, abs=0.2)
        assert outcome.progress["parts_sent"] == 1
        assert len(fake.requests) == 1
        assert self.send(fake, OK, target={"chat_id": THREAD}).verdict == DELIVERED

    @pytest.mark.parametrize("after", ["soon", "", "nan", "-1"])
    def test_a_senseless_reset_holds_for_a_second(self, fake: FakePlatform, after: str) -> None:
        spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": after}
        self.send(fake, Answer(OK.status, spent, OK.body))
        outcome = self.send(fake, OK)
        assert outcome.retry_after == pytest.approx(1, abs=0.2)

    def test_a_persons_channel_is_opened_once(self, fake: FakePlatform) -> None:
        fake.script(Answer.json(200, {"id": THREAD}), OK)
        message = text_message("word " * 600, target={"chat_id": f"user:{CHANNEL}"})
        assert self.make(fake).send(message).verdict == DELIVERED
        assert [seen.path for seen in fake.requests] == [
            "/users/@me/channels",
            f"/channels/{THREAD}/messages",
            f"/channels/{THREAD}/messages",
        ]
        assert fake.documents[0] == {"recipient_id": CHANNEL}

    def test_a_person_that_cannot_be_written_to(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(403, 50278), target={"chat_id": f"user:{CHANNEL}"})
        assert outcome.error_class == "cannot_dm"
        assert len(fake.requests) == 1

    @pytest.mark.parametrize(
        ("target", "home", "channel"),
        [
            ({"chat_id": CHANNEL}, {}, CHANNEL),
            ({"chat_id": int(CHANNEL)}, {}, CHANNEL),
            ({"chat_id": "{c}"}, {"chat_id": CHANNEL}, CHANNEL),
            ({}, {"chat_id": CHANNEL, "thread_id": THREAD}, THREAD),
            ({"chat_id": CHANNEL, "thread_id": THREAD}, {}, THREAD),
            ({"thread_id": THREAD}, {}, THREAD),
            ({"chat_id": CHANNEL, "message_thread_id": THREAD, "thread_id": "1"}, {}, THREAD),
            ({"chat_id": THREAD}, {"chat_id": CHANNEL, "thread_id": "1" * 18}, THREAD),
        ],
    )
    def test_where_a_message_goes(
        self, fake: FakePlatform, target: dict[str, Any], home: dict[str, str], channel: str
    ) -> None:
        fake.script(OK)
        self.make(fake, **home).send(text_message(target=target))
        assert [seen.path for seen in fake.requests] == [f"/channels/{channel}/messages"]

    @pytest.mark.parametrize(
        "target",
        [
            {"chat_id": "general"},
            {"chat_id": "12345"},
            {"chat_id": f"{CHANNEL}/../@me"},
            {"chat_id": "１" * 18},
            {"chat_id": CHANNEL, "thread_id": "x"},
        ],
    )
    def test_a_target_that_discord_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, Any]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "bad_target")
        assert fake.requests == []

    @pytest.mark.parametrize("body", [{"id": 5}, {"id": None}, {"code": 10003}, [1]])
    def test_a_success_without_a_message_is_none(self, fake: FakePlatform, body: Any) -> None:
        outcome = self.send(fake, Answer.json(200, body))
        assert (outcome.verdict, outcome.error_class) == (RETRY, "bad_reply")

    @pytest.mark.parametrize("code", ["50007", 10**30, [], {"a": 1}, True, 1.5])
    def test_a_senseless_code_leaves_the_status(self, fake: FakePlatform, code: Any) -> None:
        outcome = self.send(fake, Answer.json(400, {"code": code, "message": [code]}))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "client_error")
        json.dumps(outcome.error)

    def test_the_check_reads_the_home_channel_too(self, fake: FakePlatform) -> None:
        fake.script(*self.checked, Answer.json(200, {"id": CHANNEL, "name": "alerts"}))
        check = self.make(fake, chat_id=CHANNEL).check()
        assert check.ok
        assert "hermes" in check.detail
        assert "alerts" in check.detail
        assert [seen.path for seen in fake.requests] == ["/users/@me", f"/channels/{CHANNEL}"]

    def test_the_check_fails_when_the_home_channel_is_not_there(self, fake: FakePlatform) -> None:
        fake.script(*self.checked, no(404, 10003))
        check = self.make(fake, chat_id=CHANNEL).check()
        assert not check.ok
        assert "10003" in check.detail


class TestDiscordWebhook(SenderCase):
    secret = HOOK
    arrived = OK
    checked = (Answer.json(200, {"id": CHANNEL, "name": "Captain Hook", "token": HOOK}),)

    def make(self, fake: FakePlatform, **home: str) -> Discord:
        return Discord({"webhook_url": f"{fake.url}/api/webhooks/{CHANNEL}/{HOOK}"}, home)

    def test_nobody_listening_is_retried_and_surely_not_sent(self, fake: FakePlatform) -> None:
        sender = Discord({"webhook_url": f"http://127.0.0.1:9/api/webhooks/{CHANNEL}/{HOOK}"})
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (RETRY, "connect")
        assert not outcome.ambiguous

    @pytest.mark.parametrize(
        ("thread", "query"), [("", "wait=true"), (THREAD, f"wait=true&thread_id={THREAD}")]
    )
    def test_the_request_is_a_webhooks(self, fake: FakePlatform, thread: str, query: str) -> None:
        self.send(fake, OK, text="**a** @here", target={"thread_id": thread})
        [seen] = fake.requests
        assert seen.path == f"/api/webhooks/{CHANNEL}/{HOOK}?{query}"
        assert "authorization" not in seen.headers
        assert seen.document == {
            "content": "**a** @here",
            "allowed_mentions": {"parse": []},
            "flags": 4,
        }

    def test_an_empty_204_is_no_success(self, fake: FakePlatform) -> None:
        assert self.send(fake, Answer(204)).error_class == "bad_reply"

    @pytest.mark.parametrize(("status", "code"), [(401, 50027), (404, 10015)])
    def test_a_webhook_that_is_gone_flags_the_channel(
        self, fake: FakePlatform, status: int, code: int
    ) -> None:
        outcome = self.send(fake, no(status, code))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
        assert outcome.faults_channel

    def test_the_check_reads_the_webhooks_name(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        check = self.make(fake).check()
        assert "Captain Hook" in check.detail
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("GET", f"/api/webhooks/{CHANNEL}/{HOOK}")


def test_without_a_credential_the_channel_is_flagged() -> None:
    outcome = Discord({}).send(text_message(target={"chat_id": CHANNEL}))
    assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
    assert outcome.faults_channel
    assert not Discord({}).check().ok


def test_without_a_channel_there_is_nowhere_to_go() -> None:
    outcome = Discord({"bot_token": TOKEN}).send(text_message())
    assert (outcome.verdict, outcome.error_class) == (FAILED, "no_destination")


@pytest.mark.parametrize(
    ("config", "good"),
    [
        ({"bot_token": TOKEN}, True),
        ({"bot_token": "abc.def"}, False),
        ({"webhook_url": f"https://93.184.216.34/api/webhooks/{CHANNEL}/{HOOK}"}, True),
        ({"webhook_url": f"https://93.184.216.34/api/v10/webhooks/{CHANNEL}/{HOOK}"}, True),
        ({"webhook_url": f"https://93.184.216.34/api/webhooks/{CHANNEL}/{HOOK}/slack"}, False),
        ({"webhook_url": f"https://93.184.216.34/api/webhooks/{CHANNEL}/{HOOK}/github"}, False),
        ({"webhook_url": f"https://93.184.216.34/api/webhooks/{CHANNEL}/short"}, False),
        ({"webhook_url": f"https://10.0.0.1/api/webhooks/{CHANNEL}/{HOOK}"}, False),
    ],
)
def test_the_form_knows_a_credential(config: dict[str, str], good: bool) -> None:
    assert Discord.Config(config).is_valid() == good


@pytest.mark.parametrize(
    ("home", "good"),
    [
        ({"chat_id": CHANNEL, "thread_id": THREAD}, True),
        ({"chat_id": f"user:{CHANNEL}"}, True),
        ({}, True),
        ({"chat_id": "general"}, False),
        ({"thread_id": "x"}, False),
    ],
)
def test_the_form_knows_a_channel(home: dict[str, str], good: bool) -> None:
    assert Discord.Home(home).is_valid() == good
