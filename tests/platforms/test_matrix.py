from typing import Any, ClassVar

import pytest

from deliveries.outcomes import Verdict
from platforms.senders.matrix import Matrix, to_html

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

TOKEN = "syt_aGVybWVz_AbCdEfGhIjKlMnOpQrSt_1Ab2Cd"
ROOM = "!AbCdEfGhIjKlMnOpQr:example.org"
QUOTED = "%21AbCdEfGhIjKlMnOpQr%3Aexample.org"
ROOT = "$firstEvent-1_x"
OK = Answer.json(200, {"event_id": "$event1"})
ME = Answer.json(200, {"user_id": "@hermes:example.org", "device_id": "D1"})
JOINED = Answer.json(200, {"joined_rooms": [ROOM, "!other:example.org"]})
DELIVERED, RETRY, FAILED = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


def no(status: int, errcode: str, words: str = "Says why", **rest: Any) -> Answer:
    headers = rest.pop("headers", {})
    return Answer.json(status, {"errcode": errcode, "error": words, **rest}, headers=headers)


class TestMatrix(TextSenderCase):
    secret = TOKEN
    target: ClassVar = {"chat_id": ROOM}
    arrived = OK
    checked = (ME,)

    def make(self, fake: FakePlatform, **home: str) -> Matrix:
        return Matrix({"homeserver": fake.url, "access_token": TOKEN}, home)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["body"] for document in fake.documents]

    def size(self, text: str) -> int:
        return len(text.encode())

    def test_nobody_listening_is_retried_and_surely_not_sent(self, fake: FakePlatform) -> None:
        sender = Matrix({"homeserver": "http://127.0.0.1:9", "access_token": TOKEN})
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (RETRY, "connect")
        assert not outcome.ambiguous

    def test_the_request_is_the_client_server_apis(self, fake: FakePlatform) -> None:
        fake.script(OK)
        message = self.message("**Deploy** <b>\nof `main` 界")
        outcome = self.make(fake).send(message)
        [seen] = fake.requests
        path = f"/_matrix/client/v3/rooms/{QUOTED}/send/m.room.message/{message.id}.1"
        assert (seen.method, seen.path) == ("PUT", path)
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.headers["content-type"] == "application/json"
        assert seen.document == {
            "msgtype": "m.notice",
            "body": "**Deploy** <b>\nof `main` 界",
            "format": "org.matrix.custom.html",
            "formatted_body": "<b>Deploy</b> &lt;b&gt;<br>\nof <code>main</code> 界",
            "m.mentions": {},
        }
        assert outcome.provider_ids == {"event_id": ["$event1"]}

    def test_a_repeat_has_the_same_transaction_and_each_part_its_own(
        self, fake: FakePlatform
    ) -> None:
        fake.script(OK)
        message = self.message("word " * 5000)
        self.make(fake).send(message)
        self.make(fake).send(message)
        transactions = [seen.path.rpartition("/")[2] for seen in fake.requests]
        assert transactions == [f"{message.id}.1", f"{message.id}.2"] * 2

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        [
            (no(401, "M_UNKNOWN_TOKEN"), FAILED, "unauthorized", True),
            (no(401, "M_UNKNOWN_TOKEN", soft_logout=True), FAILED, "unauthorized", True),
            (no(401, "M_MISSING_TOKEN"), FAILED, "unauthorized", True),
            (no(403, "M_USER_DEACTIVATED"), FAILED, "unauthorized", True),
            (no(403, "M_USER_LOCKED"), FAILED, "unauthorized", True),
            (no(403, "M_USER_SUSPENDED"), FAILED, "unauthorized", True),
            (no(403, "M_FORBIDDEN"), FAILED, "no_access", False),
            (no(404, "M_NOT_FOUND"), FAILED, "chat_not_found", False),
            (no(404, "M_UNRECOGNIZED"), FAILED, "chat_not_found", False),
            (no(403, "M_USER_LIMIT_EXCEEDED"), FAILED, "quota", True),
            (no(403, "M_RESOURCE_LIMIT_EXCEEDED"), FAILED, "quota", True),
            (no(413, "M_TOO_LARGE"), FAILED, "client_error", False),
            (no(400, "M_BAD_JSON"), FAILED, "client_error", False),
            (no(400, "M_NOT_JSON"), FAILED, "client_error", False),
            (no(400, "M_INVALID_PARAM"), FAILED, "client_error", False),
            (no(400, "M_BAD_STATE"), FAILED, "client_error", False),
            (no(400, "M_UNKNOWN"), FAILED, "client_error", False),
            (no(500, "M_UNKNOWN"), RETRY, "server_error", False),
            (no(502, "M_UNKNOWN"), RETRY, "server_error", False),
            (Answer(504, {}, b"<html>Gateway Timeout</html>"), RETRY, "server_error", False),
            (Answer(403, {}, b"<html>Forbidden</html>"), FAILED, "forbidden", True),
        ],
    )
    def test_what_the_server_says_becomes_a_verdict(
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

    @pytest.mark.parametrize(
        ("answer", "wait"),
        [
            (no(429, "M_LIMIT_EXCEEDED", headers={"Retry-After": "7"}), 7),
            (no(429, "M_LIMIT_EXCEEDED", retry_after_ms=2500), 2.5),
            (no(429, "M_LIMIT_EXCEEDED", retry_after_ms=2500, headers={"Retry-After": "7"}), 7),
            (no(429, "M_LIMIT_EXCEEDED", retry_after_ms=10**400), 3600),
            (no(429, "M_LIMIT_EXCEEDED", retry_after_ms=float("nan")), None),
            (no(429, "M_LIMIT_EXCEEDED", retry_after_ms="2500"), None),
            (no(429, "M_LIMIT_EXCEEDED"), None),
        ],
    )
    def test_a_rate_limit_waits_as_told(
        self, fake: FakePlatform, answer: Answer, wait: float | None
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "rate_limited")
        assert outcome.retry_after == wait

    def test_who_is_not_in_the_room_is_told_so(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, no(403, "M_FORBIDDEN", "User not in room"))
        assert "M_FORBIDDEN: User not in room" in outcome.error
        assert "in the room" in outcome.error

    @pytest.mark.parametrize("answer", [no(403, "M_FORBIDDEN"), no(404, "M_NOT_FOUND")])
    def test_trouble_with_the_home_room_is_the_channels(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        fake.script(answer)
        assert self.make(fake, chat_id=ROOM).send(text_message()).faults_channel

    def test_an_alias_is_looked_up_once(self, fake: FakePlatform) -> None:
        fake.script(Answer.json(200, {"room_id": ROOM, "servers": []}), OK)
        message = text_message("word " * 5000, target={"chat_id": "#ops:example.org"})
        assert self.make(fake).send(message).verdict == DELIVERED
        lookup, *sent = fake.requests
        assert (lookup.method, lookup.path) == (
            "GET",
            "/_matrix/client/v3/directory/room/%23ops%3Aexample.org",
        )
        assert len(sent) == 2
        assert all(f"/rooms/{QUOTED}/" in seen.path for seen in sent)

    @pytest.mark.parametrize(
        ("answer", "error_class"),
        [
            (no(404, "M_NOT_FOUND"), "chat_not_found"),
            (no(404, "M_UNRECOGNIZED"), "chat_not_found"),
            (Answer.json(200, {"room_id": "../evil"}), "bad_reply"),
            (Answer.json(200, {}), "bad_reply"),
        ],
    )
    def test_an_alias_that_leads_nowhere(
        self, fake: FakePlatform, answer: Answer, error_class: str
    ) -> None:
        outcome = self.send(fake, answer, target={"chat_id": "#ops:example.org"})
        assert outcome.error_class == error_class
        assert len(fake.requests) == 1

    @pytest.mark.parametrize(
        ("target", "home", "thread"),
        [
            ({"chat_id": ROOM, "thread_id": ROOT}, {}, ROOT),
            ({"chat_id": ROOM, "message_thread_id": "$b", "thread_id": ROOT}, {}, "$b"),
            ({}, {"chat_id": ROOM, "thread_id": ROOT}, ROOT),
            ({"chat_id": "{room}"}, {"chat_id": ROOM}, None),
            ({"chat_id": ROOM}, {"chat_id": "!o:example.org", "thread_id": ROOT}, None),
        ],
    )
    def test_where_a_message_goes(
        self,
        fake: FakePlatform,
        target: dict[str, Any],
        home: dict[str, str],
        thread: str | None,
    ) -> None:
        fake.script(OK)
        self.make(fake, **home).send(text_message(target=target))
        [seen] = fake.requests
        assert f"/rooms/{QUOTED}/" in seen.path
        relation = seen.document.get("m.relates_to")
        assert (relation and relation["event_id"]) == thread
        if thread:
            assert relation["rel_type"] == "m.thread"
            assert relation["m.in_reply_to"] == {"event_id": thread}

    @pytest.mark.parametrize(
        "target",
        [
            {"chat_id": "ops"},
            {"chat_id": "@person:example.org"},
            {"chat_id": "#ops"},
            {"chat_id": "!a/../b"},
            {"chat_id": ROOM, "thread_id": "firstEvent"},
        ],
    )
    def test_a_target_that_matrix_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, Any]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "bad_target")
        assert fake.requests == []

    @pytest.mark.parametrize("character", ["&", "\x01", "<", '"', "\\", "😀", "\n> "])
    def test_an_event_is_never_too_large(self, fake: FakePlatform, character: str) -> None:
        self.send(fake, OK, text="x" + character * 20_000)
        assert max(len(seen.body) for seen in fake.requests) < 60_000
        assert all("\x01" not in text for text in self.texts(fake))

    def test_markup_that_leaves_no_room_is_left_out(self, fake: FakePlatform) -> None:
        self.send(fake, OK, text="&" * 15_000)
        [event] = fake.documents
        assert "formatted_body" not in event

    def test_it_may_send_messages_that_ring(self, fake: FakePlatform) -> None:
        fake.script(OK)
        Matrix({"homeserver": fake.url, "access_token": TOKEN, "ping": True}).send(self.message())
        assert fake.documents[0]["msgtype"] == "m.text"

    def test_the_check_looks_at_the_home_room(self, fake: FakePlatform) -> None:
        fake.script(ME, JOINED, no(404, "M_NOT_FOUND"))
        check = self.make(fake, chat_id=ROOM).check()
        assert check.ok
        assert "@hermes:example.org" in check.detail
        assert [seen.path.removeprefix("/_matrix/client/v3/") for seen in fake.requests] == [
            "account/whoami",
            "joined_rooms",
            f"rooms/{QUOTED}/state/m.room.encryption",
        ]

    @pytest.mark.parametrize(
        ("answers", "word"),
        [
            ([ME, Answer.json(200, {"joined_rooms": []})], "invite"),
            ([ME, JOINED, Answer.json(200, {"algorithm": "m.megolm"})], "encrypted"),
            ([ME, JOINED, no(403, "M_FORBIDDEN")], "M_FORBIDDEN"),
            ([ME, no(500, "M_UNKNOWN")], "M_UNKNOWN"),
            ([ME, Answer.json(200, {"joined_rooms": 5})], "200"),
            ([Answer.json(200, {})], "200"),
        ],
    )
    def test_the_check_says_what_is_wrong_with_the_home_room(
        self, fake: FakePlatform, answers: list[Answer], word: str
    ) -> None:
        fake.script(*answers)
        check = self.make(fake, chat_id=ROOM).check()
        assert not check.ok
        assert word in check.detail

    def test_the_check_looks_an_alias_up(self, fake: FakePlatform) -> None:
        fake.script(ME, no(404, "M_NOT_FOUND", "No such alias"))
        check = self.make(fake, chat_id="#ops:example.org").check()
        assert not check.ok
        assert "No such alias" in check.detail


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("a\nb", "a<br>\nb"),
        ("```py\nx\ny\n```\nz", '<pre><code class="language-py">x\ny</code></pre><br>\nz'),
        ("> a\n> b", "<blockquote>a<br>\nb</blockquote>"),
        ("<script>", "&lt;script&gt;"),
    ],
)
def test_markdown_becomes_what_matrix_allows(markdown: str, html: str) -> None:
    assert to_html(markdown) == html


@pytest.mark.parametrize("config", [{}, {"homeserver": "https://x.example"}])
def test_without_a_token_the_channel_is_flagged(config: dict[str, str]) -> None:
    outcome = Matrix(config).send(text_message(target={"chat_id": ROOM}))
    assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
    assert outcome.faults_channel
    assert not Matrix(config).check().ok


@pytest.mark.parametrize(
    ("config", "good"),
    [
        ({"homeserver": "https://93.184.216.34/", "access_token": TOKEN}, True),
        ({"homeserver": "http://93.184.216.34/", "access_token": TOKEN}, False),
        ({"homeserver": "https://10.0.0.5/", "access_token": TOKEN}, False),
        ({"homeserver": "https://93.184.216.34/"}, False),
        ({"access_token": TOKEN}, False),
    ],
)
def test_the_form_knows_a_server_and_its_token(config: dict[str, str], good: bool) -> None:
    assert Matrix.Config(config).is_valid() == good


@pytest.mark.parametrize(
    ("home", "good"),
    [
        ({"chat_id": ROOM, "thread_id": ROOT}, True),
        ({"chat_id": "!withoutDomain"}, True),
        ({"chat_id": "#ops:example.org"}, True),
        ({}, True),
        ({"chat_id": "ops"}, False),
        ({"chat_id": ROOM, "thread_id": "x"}, False),
    ],
)
def test_the_form_knows_a_room(home: dict[str, str], good: bool) -> None:
    assert Matrix.Home(home).is_valid() == good


def test_a_stored_token_does_not_follow_to_another_server() -> None:
    stored = {"homeserver": "https://a.example", "access_token": TOKEN}
    moved = Matrix.prepare_config(stored, {"homeserver": "https://b.example", "access_token": ""})
    assert moved == {"homeserver": "https://b.example"}
