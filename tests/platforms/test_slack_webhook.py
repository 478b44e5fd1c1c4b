from collections.abc import Iterator

import pytest

from deliveries.outcomes import Verdict
from platforms import pacing
from platforms.senders.slack import Slack

from .fake import Answer, FakePlatform
from .sender_case import SenderCase

HOOK = "Zm9yZXZlcmFuZGV2ZXIxMjM0"
CHANNEL = "C0123456789"
DELIVERED, RETRY, FAILED = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


@pytest.fixture(autouse=True)
def fresh_pace() -> Iterator[None]:
    pacing.forget()
    yield
    pacing.forget()


class TestSlackWebhook(SenderCase):
    secret = HOOK
    arrived = Answer(200, {"Content-Type": "text/html"}, b"ok")
    checked = (Answer(400, {}, b"no_text"),)

    def make(self, fake: FakePlatform, **home: str) -> Slack:
        return Slack({"webhook_url": f"{fake.url}/services/T012/B012/{HOOK}"}, home)

    def test_nobody_listening_is_retried_and_surely_not_sent(self, fake: FakePlatform) -> None:
        sender = Slack({"webhook_url": f"http://127.0.0.1:9/services/T012/B012/{HOOK}"})
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (RETRY, "connect")
        assert not outcome.ambiguous

    def test_the_request_is_a_webhooks(self, fake: FakePlatform) -> None:
        target = {"thread_id": "1731200000.000001", "chat_id": CHANNEL}
        outcome = self.send(fake, self.arrived, text="**a** <!here>", target=target)
        assert outcome.verdict == DELIVERED
        [seen] = fake.requests
        assert seen.path == f"/services/T012/B012/{HOOK}"
        assert seen.document == {"text": "*a* &lt;!here&gt;", "thread_ts": "1731200000.000001"}
        assert "authorization" not in seen.headers

    @pytest.mark.parametrize(
        ("status", "word", "verdict", "error_class", "faults"),
        [
            (400, "invalid_payload", FAILED, "client_error", False),
            (400, "no_text", FAILED, "client_error", False),
            (400, "too_many_attachments", FAILED, "client_error", False),
            (400, "invalid_token", FAILED, "unauthorized", True),
            (403, "action_prohibited", FAILED, "forbidden", True),
            (403, "team_disabled", FAILED, "forbidden", True),
            (404, "no_service", FAILED, "webhook_gone", True),
            (404, "no_active_hooks", FAILED, "webhook_gone", True),
            (404, "channel_not_found", FAILED, "webhook_gone", True),
            (404, "<html>not found</html>", FAILED, "webhook_gone", True),
            (410, "channel_is_archived", FAILED, "webhook_gone", True),
            (500, "rollup_error", RETRY, "server_error", False),
            (200, "<html>Please log in</html>", RETRY, "bad_reply", False),
            (200, "", RETRY, "bad_reply", False),
        ],
    )
    def test_what_the_webhook_says_becomes_a_verdict(
        self,
        fake: FakePlatform,
        status: int,
        word: str,
        verdict: Verdict,
        error_class: str,
        faults: bool,
    ) -> None:
        outcome = self.send(fake, Answer(status, {}, word.encode()))
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert word in outcome.error

    def test_429_without_a_hint_waits_half_a_minute(self, fake: FakePlatform) -> None:
        assert self.send(fake, Answer(429)).retry_after == 30

    @pytest.mark.parametrize("character", ["x", "界", "😀", "&"])
    def test_a_long_text_goes_in_parts(self, fake: FakePlatform, character: str) -> None:
        self.send(fake, self.arrived, text=character * 4000)
        self.send(fake, self.arrived, text=character * 4001)
        one, first, second = (document["text"] for document in fake.documents)
        assert "(1/" not in one
        assert first.endswith("(1/2)")
        assert second.endswith("(2/2)")

    def test_the_check_posts_no_message(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        self.make(fake).check()
        assert fake.documents == [{}]
