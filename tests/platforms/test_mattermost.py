from typing import Any, ClassVar

import pytest

from deliveries.outcomes import Verdict
from platforms.senders.mattermost import Mattermost

from .fake import Answer, FakePlatform
from .sender_case import SenderCase, TextSenderCase, text_message

TOKEN = "ab12cd34ef56gh78ij90kl12mn"
HOOK = "zy98xw76vu54ts32rq10po98nm"
CHANNEL = "c" * 26
ROOT = "r" * 26
POST = "p" * 26
OK = Answer.json(201, {"id": POST, "channel_id": CHANNEL})
DELIVERED, RETRY, FAILED = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


def no(status: int, error: str, words: str = "Says why.", **rest: Any) -> Answer:
    body = {"id": error, "message": words, "request_id": "q1", "status_code": status}
    return Answer.json(status, body, **rest)


class TestMattermost(TextSenderCase):
    secret = TOKEN
    target: ClassVar = {"chat_id": CHANNEL}
    arrived = OK
    checked = (Answer.json(200, {"id": "u1", "username": "hermes"}),)

    def make(self, fake: FakePlatform, **home: str) -> Mattermost:
        return Mattermost({"url": fake.url, "token": TOKEN}, home)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["message"] for document in fake.documents]

    def test_the_request_is_the_rest_apis(self, fake: FakePlatform) -> None:
        message = self.message("**Deploy** for @channel 界", target={"chat_id": CHANNEL})
        fake.script(OK)
        outcome = self.make(fake).send(message)
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", "/api/v4/posts")
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.document == {
            "channel_id": CHANNEL,
            "message": "**Deploy** for @\u200bchannel 界",
            "pending_post_id": f"{message.id}:1",
        }
        assert outcome.provider_ids == {"post_id": [POST]}

    def test_each_part_has_a_key_that_stays(self, fake: FakePlatform) -> None:
        fake.script(OK)
        message = self.message("word " * 4000)
        self.make(fake).send(message)
        self.make(fake).send(message)
        keys = [document["pending_post_id"] for document in fake.documents]
        assert keys == [f"{message.id}:1", f"{message.id}:2"] * 2

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults"),
        [
            (
                no(401, "api.context.session_expired.app_error"),
                FAILED,
                "unauthorized",
                True,
            ),
            (no(401, "api.context.invalid_token.error"), FAILED, "unauthorized", True),
            (no(403, "api.context.permissions.app_error"), FAILED, "no_rights", False),
            (Answer(403, {}, b"<html>Forbidden</html>"), FAILED, "forbidden", True),
            (no(404, "app.channel.get.existing.app_error"), FAILED, "not_found", False),
            (
                no(400, "api.post.create_post.channel_root_id.app_error"),
                FAILED,
                "thread_not_found",
                False,
            ),
            (no(400, "api.post.create_post.root_id.app_error"), FAILED, "thread_not_found", False),
            (
                no(400, "api.post.create_post.town_square_read_only"),
                FAILED,
                "no_rights",
                False,
            ),
            (
                no(400, "api.post.create_post.can_not_post_to_deleted.error"),
                FAILED,
                "chat_gone",
                False,
            ),
            (
                no(400, "model.post.is_valid.message_length.app_error"),
                FAILED,
                "client_error",
                False,
            ),
            (no(400, "model.post.is_valid.msg.app_error"), FAILED, "client_error", False),
            (no(501, "api.post.disabled.app_error"), FAILED, "disabled", True),
            (no(500, "app.post.save.app_error"), RETRY, "server_error", False),
            (Answer(502, {}, b"<html>Bad Gateway</html>"), RETRY, "server_error", False),
        ],
    )
    def test_what_mattermost_says_becomes_a_verdict(
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

    def test_a_post_that_is_being_written_is_asked_for_soon(self, fake: FakePlatform) -> None:
        pending = no(500, "api.post.deduplicate_create_post.pending")
        message = self.message()
        fake.script(pending, OK)
        outcome = self.make(fake).send(message)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "rate_limited")
        assert outcome.retry_after == 2
        self.make(fake).send(message)
        first, second = fake.documents
        assert first["pending_post_id"] == second["pending_post_id"]

    @pytest.mark.parametrize(
        ("headers", "wait"),
        [
            ({"X-RateLimit-Reset": "4"}, 4),
            ({"X-RateLimit-Reset": "4", "Retry-After": "9"}, 9),
            ({"X-RateLimit-Reset": "soon"}, None),
            ({"X-RateLimit-Reset": "nan"}, None),
            ({}, None),
        ],
    )
    def test_a_rate_limit_waits_for_its_reset(
        self, fake: FakePlatform, headers: dict[str, str], wait: float | None
    ) -> None:
        outcome = self.send(fake, Answer(429, headers, b"limit exceeded"))
        assert (outcome.verdict, outcome.error_class) == (RETRY, "rate_limited")
        assert outcome.retry_after == wait

    @pytest.mark.parametrize(
        "answer",
        [
            no(403, "api.context.permissions.app_error"),
            no(404, "app.channel.get.existing.app_error"),
            no(400, "api.post.create_post.can_not_post_to_deleted.error"),
        ],
    )
    def test_trouble_with_the_home_channel_is_the_channels(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        fake.script(answer)
        assert self.make(fake, chat_id=CHANNEL).send(text_message()).faults_channel

    @pytest.mark.parametrize(
        ("target", "home", "channel", "root"),
        [
            ({"chat_id": CHANNEL}, {}, CHANNEL, None),
            ({"chat_id": "{c}"}, {"chat_id": CHANNEL}, CHANNEL, None),
            ({}, {"chat_id": CHANNEL, "thread_id": ROOT}, CHANNEL, ROOT),
            ({"thread_id": POST}, {"chat_id": CHANNEL, "thread_id": ROOT}, CHANNEL, POST),
            ({"root_id": POST}, {"chat_id": CHANNEL}, CHANNEL, POST),
            ({"chat_id": POST}, {"chat_id": CHANNEL, "thread_id": ROOT}, POST, None),
        ],
    )
    def test_where_a_message_goes(
        self,
        fake: FakePlatform,
        target: dict[str, Any],
        home: dict[str, str],
        channel: str,
        root: str | None,
    ) -> None:
        fake.script(OK)
        self.make(fake, **home).send(text_message(target=target))
        [post] = fake.documents
        assert post["channel_id"] == channel
        assert post.get("root_id") == root

    @pytest.mark.parametrize(
        "target",
        [{"chat_id": "town-square"}, {"chat_id": CHANNEL, "thread_id": "1"}, {"chat_id": "../me"}],
    )
    def test_a_target_that_mattermost_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, Any]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "bad_target")
        assert fake.requests == []

    def test_mentions_may_be_allowed(self, fake: FakePlatform) -> None:
        fake.script(OK)
        config = {"url": fake.url, "token": TOKEN, "defuse_mentions": False}
        Mattermost(config).send(self.message("@all"))
        assert self.texts(fake) == ["@all"]

    def test_the_check_reads_the_home_channel_too(self, fake: FakePlatform) -> None:
        fake.script(*self.checked, Answer.json(200, {"id": CHANNEL, "display_name": "Alerts"}))
        check = self.make(fake, chat_id=CHANNEL).check()
        assert check.ok
        assert "hermes" in check.detail
        assert "Alerts" in check.detail
        paths = [seen.path for seen in fake.requests]
        assert paths == ["/api/v4/users/me", f"/api/v4/channels/{CHANNEL}"]

    def test_the_check_fails_when_the_home_channel_is_not_there(self, fake: FakePlatform) -> None:
        fake.script(*self.checked, no(404, "app.channel.get.existing.app_error", "Not there."))
        check = self.make(fake, chat_id=CHANNEL).check()
        assert not check.ok
        assert "Not there." in check.detail


class TestMattermostWebhook(SenderCase):
    secret = HOOK
    arrived = Answer(200, {}, b"ok")
    checked = (no(400, "web.incoming_webhook.text.app_error", "No text specified"),)

    def make(self, fake: FakePlatform, **home: str) -> Mattermost:
        return Mattermost({"webhook_url": f"{fake.url}/hooks/{HOOK}"}, home)

    def test_nobody_listening_is_retried_and_surely_not_sent(self, fake: FakePlatform) -> None:
        outcome = Mattermost({"webhook_url": f"http://127.0.0.1:9/hooks/{HOOK}"}).send(
            self.message()
        )
        assert (outcome.verdict, outcome.error_class) == (RETRY, "connect")
        assert not outcome.ambiguous

    def test_the_request_is_a_webhooks(self, fake: FakePlatform) -> None:
        assert self.send(fake, self.arrived, text="**a**").verdict == DELIVERED
        [seen] = fake.requests
        assert seen.path == f"/hooks/{HOOK}"
        assert seen.document == {"text": "**a**"}
        assert "authorization" not in seen.headers

    @pytest.mark.parametrize(
        ("answer", "error_class", "faults"),
        [
            (no(400, "web.incoming_webhook.invalid.app_error", "Oh no"), "webhook_gone", True),
            (no(400, "", "Invalid webhook"), "webhook_gone", True),
            (Answer(400, {}, b"Invalid webhook"), "webhook_gone", True),
            (no(404, "whatever"), "webhook_gone", True),
            (no(403, "web.incoming_webhook.permissions.app_error"), "disabled", True),
            (no(501, "web.incoming_webhook.disabled.app_error"), "disabled", True),
            (no(400, "web.incoming_webhook.text.length.app_error"), "client_error", False),
        ],
    )
    def test_what_the_webhook_says_is_final(
        self, fake: FakePlatform, answer: Answer, error_class: str, faults: bool
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (FAILED, error_class)
        assert outcome.faults_channel == faults

    @pytest.mark.parametrize("body", [b"", b"<html>Sign in</html>", b'{"ok": true}'])
    def test_a_success_that_cannot_be_read_is_none(self, fake: FakePlatform, body: bytes) -> None:
        assert self.send(fake, Answer(200, {}, body)).error_class == "bad_reply"

    def test_the_check_posts_no_message(self, fake: FakePlatform) -> None:
        fake.script(*self.checked)
        self.make(fake).check()
        assert fake.documents == [{}]


@pytest.mark.parametrize("config", [{}, {"token": TOKEN}, {"url": "https://chat.example.com"}])
def test_without_a_credential_the_channel_is_flagged(config: dict[str, str]) -> None:
    outcome = Mattermost(config).send(text_message(target={"chat_id": CHANNEL}))
    assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
    assert outcome.faults_channel
    assert not Mattermost(config).check().ok


def test_without_a_channel_there_is_nowhere_to_go() -> None:
    outcome = Mattermost({"url": "https://x.example", "token": TOKEN}).send(text_message())
    assert (outcome.verdict, outcome.error_class) == (FAILED, "no_destination")


@pytest.mark.parametrize(
    ("config", "good"),
    [
        ({"url": "https://93.184.216.34/", "token": TOKEN}, True),
        ({"url": "http://93.184.216.34/", "token": TOKEN}, False),
        ({"url": "https://192.168.1.5/", "token": TOKEN}, False),
        ({"token": TOKEN}, False),
        ({"url": "https://93.184.216.34/", "token": "short"}, False),
        ({"webhook_url": f"https://93.184.216.34/hooks/{HOOK}"}, True),
        ({"webhook_url": f"https://93.184.216.34/mattermost/hooks/{HOOK}"}, True),
        ({"webhook_url": "https://93.184.216.34/hooks/short"}, False),
    ],
)
def test_the_form_knows_a_server_and_its_credential(config: dict[str, str], good: bool) -> None:
    assert Mattermost.Config(config).is_valid() == good


@pytest.mark.parametrize(
    ("home", "good"),
    [
        ({"chat_id": CHANNEL, "thread_id": ROOT}, True),
        ({}, True),
        ({"chat_id": "town-square"}, False),
        ({"chat_id": CHANNEL, "thread_id": "1"}, False),
    ],
)
def test_the_form_knows_a_channel(home: dict[str, str], good: bool) -> None:
    assert Mattermost.Home(home).is_valid() == good


def test_a_stored_token_does_not_follow_to_another_server() -> None:
    stored = {"url": "https://a.example", "token": TOKEN}
    moved = Mattermost.prepare_config(stored, {"url": "https://b.example", "token": ""})
    assert moved == {"url": "https://b.example"}
    entered = {"url": "https://b.example", "token": "n" * 26}
    assert Mattermost.prepare_config(stored, entered) == entered
    assert Mattermost.prepare_config(stored, {"url": "https://a.example", "token": ""}) == stored
