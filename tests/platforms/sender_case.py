"""What every sender that calls a platform does, whichever it is; inherited by its tests."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

from deliveries.ids import new_id
from deliveries.outcomes import Message, Outcome, Verdict
from platforms.sender import Sender

from .fake import Answer, FakePlatform


def text_message(text: str = "Hello", **facts: Any) -> Message:
    event = new_id()
    defaults: dict[str, Any] = {
        "id": new_id(),
        "event_type": "message.new",
        "payload": {"type": "text", "text": text},
        "created_at": datetime.now(UTC),
        "event_id": event,
        "trace": event,
    }
    return Message(**defaults | facts)


class SenderCase:
    """The common case. A subclass says how its sender is made and what success looks like."""

    secret: ClassVar[str]
    target: ClassVar[dict[str, Any]] = {}
    #: The platform's answer to a message that it took.
    arrived: ClassVar[Answer]
    #: The platform's answers to a check that finds everything in order.
    checked: ClassVar[tuple[Answer, ...]]

    def make(self, fake: FakePlatform) -> Sender:
        raise NotImplementedError

    def message(self, text: str = "Hello", **facts: Any) -> Message:
        return text_message(text, **{"target": self.target, **facts})

    def send(self, fake: FakePlatform, *answers: Answer, **facts: Any) -> Outcome:
        fake.script(*answers)
        return self.make(fake).send(self.message(**facts))

    def send_hurried(self, fake: FakePlatform, *answers: Answer) -> Outcome:
        fake.script(*answers)
        sender = self.make(fake)
        sender.budget = 0.25
        return sender.send(self.message())

    def test_a_message_that_arrives_is_delivered(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, self.arrived)
        assert outcome.verdict == Verdict.DELIVERED
        assert outcome.error == outcome.error_class == ""
        assert outcome.status == self.arrived.status

    def test_a_slow_platform_is_retried_as_perhaps_arrived(self, fake: FakePlatform) -> None:
        outcome = self.send_hurried(fake, replace(self.arrived, delay=5))
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "timeout")
        assert outcome.ambiguous

    def test_a_dripping_answer_does_not_outlast_the_budget(self, fake: FakePlatform) -> None:
        drip = Answer(200, {}, b" " * 10_000, drip=0.05)
        outcome = self.send_hurried(fake, drip)
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "timeout")

    def test_a_connection_that_breaks_is_retried_as_perhaps_arrived(
        self, fake: FakePlatform
    ) -> None:
        outcome = self.send(fake, Answer(hangs_up=True))
        assert outcome.verdict == Verdict.RETRY
        assert outcome.ambiguous

    def test_an_answer_cut_short_is_retried(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, replace(self.arrived, missing=10))
        assert outcome.verdict == Verdict.RETRY
        assert outcome.ambiguous

    def test_nobody_listening_is_retried_and_surely_not_sent(self, fake: FakePlatform) -> None:
        sender = self.make(fake)
        free_port = "http://127.0.0.1:9"
        sender.config |= {"api_base": free_port, "url": free_port}
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "connect")
        assert not outcome.ambiguous

    def test_an_address_inside_is_refused_and_flags_the_channel(
        self, fake: FakePlatform, settings: Any
    ) -> None:
        settings.OUTBOUND_ALLOW_PRIVATE = False
        outcome = self.send(fake, self.arrived)
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "blocked")
        assert outcome.faults_channel
        assert fake.requests == []

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("7", 7), ("2.5", 2.5), ("0", 1), ("-5", 1), ("86400", 3600), ("inf", 3600)],
    )
    def test_429_waits_for_retry_after(
        self, fake: FakePlatform, value: str, seconds: float
    ) -> None:
        outcome = self.send(fake, Answer(429, {"Retry-After": value}))
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "rate_limited")
        assert outcome.retry_after == seconds

    def test_retry_after_may_be_a_date(self, fake: FakePlatform) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        outcome = self.send(fake, Answer(429, {"Retry-After": date}))
        assert outcome.retry_after == pytest.approx(90, abs=3)

    @pytest.mark.parametrize("value", ["soon", "nan", ""])
    def test_a_senseless_retry_after_leaves_the_ladder(
        self, fake: FakePlatform, value: str
    ) -> None:
        outcome = self.send(fake, Answer(503, {"Retry-After": value}))
        assert outcome.verdict == Verdict.RETRY
        assert outcome.retry_after is None

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 520])
    def test_5xx_is_retried(self, fake: FakePlatform, status: int) -> None:
        outcome = self.send(fake, Answer(status))
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "server_error")
        assert outcome.ambiguous == (status in (502, 504))

    @pytest.mark.parametrize("status", [408, 425])
    def test_the_temporary_4xx_are_retried(self, fake: FakePlatform, status: int) -> None:
        assert self.send(fake, Answer(status)).verdict == Verdict.RETRY

    @pytest.mark.parametrize("status", [400, 413, 415, 418, 422, 501])
    def test_other_refusals_are_final(self, fake: FakePlatform, status: int) -> None:
        outcome = self.send(fake, Answer(status))
        assert outcome.verdict == Verdict.FAILED
        assert not outcome.faults_channel

    def test_a_redirect_is_not_followed_and_flags_the_channel(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, Answer(302, {"Location": f"{fake.url}/elsewhere"}))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "redirected")
        assert outcome.faults_channel
        assert all(seen.path != "/elsewhere" for seen in fake.requests)

    def test_a_huge_answer_is_kept_short(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, Answer(400, {}, b"x" * 3_000_000))
        assert outcome.verdict == Verdict.FAILED
        assert len(outcome.response) <= 4096

    def test_an_answer_of_strange_bytes_can_be_stored(self, fake: FakePlatform) -> None:
        body = b'{"message": "\\ud800\\u0000 \xff", "description": "\\ud800\\u0000"}'
        outcome = self.send(fake, Answer(400, {}, body))
        for text in (outcome.error, outcome.request, outcome.response):
            assert "\x00" not in text
            text.encode()

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
    def test_no_secret_is_kept(
        self, fake: FakePlatform, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        caplog.set_level(logging.DEBUG)
        # The platform echoes it, raw and quoted, as error pages do.
        said = f"bad credentials: {self.secret} {quote(self.secret, safe='')}"
        answer = Answer.json(status, {"ok": False, "description": said, "message": said})
        outcome = self.send(fake, answer)
        self.assert_without_secret(repr(outcome), caplog.text)
        check = self.make(fake).check()
        self.assert_without_secret(repr(check), caplog.text)

    def test_no_secret_is_kept_of_a_call_that_failed(
        self, fake: FakePlatform, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        outcome = self.send(fake, Answer(hangs_up=True))
        self.assert_without_secret(repr(outcome), caplog.text)

    def test_the_sender_names_its_secrets(self, fake: FakePlatform) -> None:
        assert self.secret in self.make(fake).secrets()

    def test_a_check_that_finds_everything_in_order(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        check = self.make(fake).check()
        assert check.ok, check.detail
        assert check.detail

    @pytest.mark.parametrize(
        "answer",
        [
            Answer.json(401, {"ok": False, "error_code": 401, "description": "Unauthorized"}),
            Answer(500),
            Answer(hangs_up=True),
            Answer(302, {"Location": "/x"}),
        ],
        ids=["unauthorized", "server error", "hangs up", "redirect"],
    )
    def test_a_check_that_finds_something_wrong_says_what(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        fake.script(answer)
        check = self.make(fake).check()
        assert not check.ok
        assert check.detail

    def assert_without_secret(self, *texts: str) -> None:
        for text in texts:
            assert self.secret not in text
            assert quote(self.secret, safe="") not in text


class TextSenderCase(SenderCase):
    """The common case of platforms that take a text, in parts if it is long."""

    def texts(self, fake: FakePlatform) -> list[str]:
        """Return the texts that the platform was sent, in order."""
        raise NotImplementedError

    def size(self, text: str) -> int:
        """Return the length of a text as the platform counts it."""
        return len(text)

    @pytest.mark.parametrize(
        "body",
        [b"<html>Please log in</html>", b'{"ok": tr', b"", b"\xff\xfe\x00", b"[]", b"null", b'"x"'],
    )
    def test_a_success_that_cannot_be_read_is_none(self, fake: FakePlatform, body: bytes) -> None:
        outcome = self.send(fake, Answer(200, {"Content-Type": "text/html"}, body))
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "bad_reply")
        assert outcome.ambiguous

    @pytest.mark.parametrize("text", ["", "   \n\n\t "])
    def test_a_message_without_text_is_refused_without_a_call(
        self, fake: FakePlatform, text: str
    ) -> None:
        outcome = self.send(fake, self.arrived, text=text)
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "empty_message")
        assert fake.requests == []

    @pytest.mark.parametrize("character", ["x", "界", "😀", "é"])
    def test_a_text_at_the_limit_goes_in_one_part(self, fake: FakePlatform, character: str) -> None:
        limit = type(self.make(fake)).max_length
        text = character * (limit // self.size(character))
        assert self.send(fake, self.arrived, text=text).verdict == Verdict.DELIVERED
        assert len(self.texts(fake)) == 1

    @pytest.mark.parametrize("character", ["x", "界", "😀"])
    def test_a_text_beyond_the_limit_goes_in_two(self, fake: FakePlatform, character: str) -> None:
        limit = type(self.make(fake)).max_length
        text = character * (limit // self.size(character) + 1)
        assert self.send(fake, self.arrived, text=text).verdict == Verdict.DELIVERED
        first, second = self.texts(fake)
        assert "(1/2)" in first
        assert "(2/2)" in second
        assert max(map(self.size, (first, second))) <= limit + 80
        assert (first + second).count(character) == len(text)

    def test_a_megabyte_of_text_is_cut_after_ten_parts(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, self.arrived, text="word " * 210_000)
        assert outcome.verdict == Verdict.DELIVERED
        texts = self.texts(fake)
        assert len(texts) == 10
        assert "left out" in texts[-1]

    def test_a_retry_goes_on_at_the_part_that_failed(self, fake: FakePlatform) -> None:
        limit = type(self.make(fake)).max_length
        message = self.message("word " * (limit // 2))
        fake.script(self.arrived, Answer(429, {"Retry-After": "5"}))
        failed = self.make(fake).send(message)
        assert failed.verdict == Verdict.RETRY
        assert failed.progress["parts_sent"] == 1
        before = len(self.texts(fake))

        fake.script(self.arrived)
        again = self.make(fake).send(replace(message, progress=failed.progress))
        assert again.verdict == Verdict.DELIVERED
        assert "(2/3)" in self.texts(fake)[before]
        assert again.progress["parts_sent"] == 0

    def test_parts_that_do_not_fit_into_the_time_follow_soon(self, fake: FakePlatform) -> None:
        fake.script(self.arrived)
        sender = self.make(fake)
        sender.budget = 1.0  # less than is left for a second part to be begun
        outcome = sender.send(self.message("word " * type(sender).max_length))
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "local_rate_limit")
        assert outcome.retry_after == 1.0
        assert outcome.progress["parts_sent"] == 1

    def test_an_unrendered_placeholder_is_nowhere_to_go(self, fake: FakePlatform) -> None:
        target = dict.fromkeys(self.target, "{a.b}")
        outcome = self.send(fake, self.arrived, target=target)
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "no_destination")
        assert outcome.faults_channel
        assert fake.requests == []
