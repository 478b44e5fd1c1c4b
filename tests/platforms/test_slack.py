import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from deliveries.outcomes import Verdict
from platforms import pacing
from platforms.senders.slack import Slack

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

TOKEN = "-".join(("xoxb", "123456789012", "1234567890123", "AbCdEfGhIjKlMnOpQrStUvWx"))
HOOK = "Zm9yZXZlcmFuZGV2ZXIxMjM0"
CHANNEL = "C0123456789"
OK = Answer.json(200, {"ok": True, "channel": CHANNEL, "ts": "1731200000.123456"})
DELIVERED, RETRY, FAILED = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


@pytest.fixture(autouse=True)
def fresh_pace() -> Iterator[None]:
    pacing.forget()
    yield
    pacing.forget()


def no(error: str, **rest: Any) -> Answer:
    return Answer.json(200, {"ok": False, "error": error}, **rest)


def rows(errors: str, *meaning: Any) -> list[Any]:
    """Return one row of the table for each error, as pytest takes them."""
    return [pytest.param(error, *meaning, id=error) for error in errors.split()]


class TestSlack(TextSenderCase):
    secret = TOKEN
    target: ClassVar = {"chat_id": CHANNEL}
    arrived = OK
    checked = (Answer.json(200, {"ok": True, "user": "hermes", "team": "Acme"}),)

    def make(self, fake: FakePlatform, **home: str) -> Slack:
        return Slack({"bot_token": TOKEN, "api_base": fake.url}, home)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["markdown_text"] for document in fake.documents]

    def size(self, text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    def test_the_request_is_the_web_apis(self, fake: FakePlatform) -> None:
        outcome = self.send(fake, OK, text="**Deploy** of `main` 界")
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", "/chat.postMessage")
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.headers["content-type"] == "application/json; charset=utf-8"
        assert seen.document == {
            "channel": CHANNEL,
            "markdown_text": "**Deploy** of `main` 界",
            "unfurl_links": False,
            "unfurl_media": False,
        }
        assert outcome.provider_ids == {"channel": [CHANNEL], "ts": ["1731200000.123456"]}

    @pytest.mark.parametrize(
        ("error", "verdict", "error_class", "faults", "ambiguous"),
        [
            *rows(
                "internal_error service_unavailable team_added_to_org request_timeout",
                RETRY,
                "server_error",
                False,
                False,
            ),
            *rows("fatal_error", RETRY, "server_error", False, True),
            *rows(
                "invalid_auth not_authed token_revoked token_expired account_inactive",
                FAILED,
                "unauthorized",
                True,
                False,
            ),
            *rows(
                "missing_scope not_allowed_token_type no_permission accesslimited access_denied "
                "app_access_restricted org_login_required two_factor_setup_required "
                "ekm_access_denied team_access_not_granted",
                FAILED,
                "forbidden",
                True,
                False,
            ),
            *rows("channel_not_found team_not_found", FAILED, "chat_not_found", False, False),
            *rows("not_in_channel", FAILED, "not_in_channel", False, False),
            *rows("is_archived", FAILED, "chat_gone", False, False),
            *rows(
                "messages_tab_disabled restricted_action restricted_action_read_only_channel "
                "restricted_action_thread_only_channel cannot_reply_to_message "
                "slack_connect_canvas_sharing_blocked slack_connect_blocked_file_type_blocked "
                "enterprise_is_restricted",
                FAILED,
                "no_rights",
                False,
                False,
            ),
            *rows(
                "no_text msg_too_long msg_blocks_too_long invalid_blocks invalid_blocks_format "
                "markdown_text_conflict too_many_attachments invalid_arguments invalid_metadata "
                "attachment_payload_limit_exceeded something_new",
                FAILED,
                "client_error",
                False,
                False,
            ),
        ],
    )
    def test_what_slack_says_becomes_a_verdict(
        self,
        fake: FakePlatform,
        error: str,
        verdict: Verdict,
        error_class: str,
        faults: bool,
        ambiguous: bool,
    ) -> None:
        outcome = self.send(fake, no(error))
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert (outcome.faults_channel, outcome.ambiguous) == (faults, ambiguous)
        assert error in outcome.error
        assert outcome.retry_after is None

    @pytest.mark.parametrize(
        ("answer", "wait"),
        [
            (no("ratelimited"), 30),
            (no("rate_limited"), 30),
            (no("ratelimited", headers={"Retry-After": "12"}), 12),
            (no("message_limit_exceeded"), 300),
            (Answer(429), 30),
            (Answer(429, {"Retry-After": "3"}), 3),
        ],
    )
    def test_a_rate_limit_waits_as_told_or_half_a_minute(
        self, fake: FakePlatform, answer: Answer, wait: float
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "rate_limited")
        assert outcome.retry_after == wait

    def test_a_missing_scope_is_named(self, fake: FakePlatform) -> None:
        body = {"ok": False, "error": "missing_scope", "needed": "chat:write.public"}
        assert "chat:write.public" in self.send(fake, Answer.json(200, body)).error

    @pytest.mark.parametrize("error", ["channel_not_found", "not_in_channel", "is_archived"])
    def test_trouble_with_the_home_channel_is_the_channels(
        self, fake: FakePlatform, error: str
    ) -> None:
        fake.script(no(error))
        assert self.make(fake, chat_id=CHANNEL).send(text_message()).faults_channel

    @pytest.mark.parametrize("error", ["no_text", "invalid_arguments", "msg_blocks_too_long"])
    def test_markdown_that_a_workspace_refuses_goes_in_slacks_markup(
        self, fake: FakePlatform, error: str
    ) -> None:
        outcome = self.send(fake, no(error), OK, text="**a** <!channel> [b](https://x.dev)")
        assert outcome.verdict == DELIVERED
        _first, second = fake.documents
        assert second["text"] == "*a* &lt;\u200b!channel&gt; <https://x.dev|b>"
        assert "markdown_text" not in second

    def test_slacks_markup_is_tried_only_once(self, fake: FakePlatform) -> None:
        assert self.send(fake, no("no_text")).verdict == FAILED
        assert len(fake.requests) == 2

    def test_a_text_calls_nobody(self, fake: FakePlatform) -> None:
        self.send(fake, OK, text="<!channel> <@U0123456789>")
        assert self.texts(fake) == ["<\u200b!channel> <\u200b@U0123456789>"]

    def test_a_warning_and_the_requests_id_are_kept(self, fake: FakePlatform) -> None:
        body = {"ok": True, "channel": CHANNEL, "ts": "1.2", "warning": "missing_charset"}
        outcome = self.send(fake, Answer.json(200, body, headers={"X-Slack-Req-Id": "abc"}))
        assert outcome.provider_ids["warning"] == ["missing_charset"]
        assert outcome.provider_ids["request_id"] == ["abc"]

    def test_a_persons_conversation_is_opened_once(self, fake: FakePlatform) -> None:
        opened = Answer.json(200, {"ok": True, "channel": {"id": "D0123456789"}})
        fake.script(opened, OK)
        message = text_message("word " * 4000, target={"chat_id": "U0123456789"})
        assert self.make(fake).send(message).verdict == DELIVERED
        assert [seen.path for seen in fake.requests] == [
            "/conversations.open",
            "/chat.postMessage",
            "/chat.postMessage",
        ]
        first, *posts = fake.documents
        assert first == {"users": "U0123456789"}
        assert {post["channel"] for post in posts} == {"D0123456789"}

    @pytest.mark.parametrize(
        ("answer", "error_class"),
        [
            (no("user_not_found"), "chat_not_found"),
            (no("missing_scope"), "forbidden"),
            (Answer.json(200, {"ok": True}), "bad_reply"),
            (Answer.json(200, {"ok": True, "channel": {"id": 5}}), "bad_reply"),
        ],
    )
    def test_a_person_that_cannot_be_written_to(
        self, fake: FakePlatform, answer: Answer, error_class: str
    ) -> None:
        outcome = self.send(fake, answer, target={"chat_id": "U0123456789"})
        assert outcome.error_class == error_class
        assert len(fake.requests) == 1

    @pytest.mark.parametrize(
        ("target", "home", "channel", "thread"),
        [
            ({"chat_id": "C0000000001"}, {}, "C0000000001", None),
            ({"chat_id": "{c}"}, {"chat_id": CHANNEL}, CHANNEL, None),
            ({}, {"chat_id": CHANNEL, "thread_id": "1731200000.000001"}, CHANNEL, "1"),
            ({"thread_id": "1731200000.000002"}, {"chat_id": CHANNEL}, CHANNEL, "2"),
            ({"thread_ts": "1731200000.000003"}, {"chat_id": CHANNEL}, CHANNEL, "3"),
            (
                {"message_thread_id": "1731200000.000004", "thread_id": "1731200000.000002"},
                {"chat_id": CHANNEL},
                CHANNEL,
                "4",
            ),
            (
                {"chat_id": "G0000000001"},
                {"chat_id": CHANNEL, "thread_id": "1731200000.000001"},
                "G0000000001",
                None,
            ),
        ],
    )
    def test_where_a_message_goes(
        self,
        fake: FakePlatform,
        target: dict[str, Any],
        home: dict[str, str],
        channel: str,
        thread: str | None,
    ) -> None:
        fake.script(OK)
        self.make(fake, **home).send(text_message(target=target))
        [letter] = fake.documents
        assert letter["channel"] == channel
        assert letter.get("thread_ts") == (f"1731200000.00000{thread}" if thread else None)

    @pytest.mark.parametrize(
        "target",
        [
            {"chat_id": "#general"},
            {"chat_id": "general"},
            {"chat_id": CHANNEL, "thread_id": "1731200000"},
            {"chat_id": CHANNEL, "thread_id": 1731200000},
        ],
    )
    def test_a_target_that_slack_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, Any]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "bad_target")
        assert fake.requests == []

    def test_who_writes_too_fast_comes_back_later(self, fake: FakePlatform) -> None:
        fake.script(OK)
        sender = self.make(fake)
        for _number in range(10):
            assert sender.send(self.message()).verdict == DELIVERED
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (RETRY, "local_rate_limit")
        assert outcome.retry_after == pytest.approx(1, abs=0.9)
        assert len(fake.requests) == 10
        elsewhere = self.message(target={"chat_id": "C0000000001"})
        assert sender.send(elsewhere).verdict == DELIVERED

    def test_the_check_wants_the_scope_for_writing(self, fake: FakePlatform) -> None:
        body = {"ok": True, "user": "hermes", "team": "Acme"}
        fake.script(Answer.json(200, body, headers={"X-OAuth-Scopes": "channels:read,users:read"}))
        check = self.make(fake).check()
        assert not check.ok
        assert "chat:write" in check.detail

    def test_the_check_names_bot_and_workspace(self, fake: FakePlatform) -> None:
        body = {"ok": True, "user": "hermes", "team": "Acme"}
        fake.script(Answer.json(200, body, headers={"X-OAuth-Scopes": "chat:write, im:write"}))
        check = self.make(fake).check()
        assert check.ok
        assert "hermes" in check.detail
        assert "Acme" in check.detail
        assert fake.requests[0].path == "/auth.test"

    @pytest.mark.parametrize("body", [b'{"ok": false, "error": 5}', b'{"ok": false, "error": []}'])
    def test_a_senseless_error_is_final(self, fake: FakePlatform, body: bytes) -> None:
        assert self.send(fake, Answer(200, {}, body)).error_class == "client_error"


def test_without_a_credential_the_channel_is_flagged() -> None:
    outcome = Slack({}).send(text_message(target={"chat_id": CHANNEL}))
    assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
    assert outcome.faults_channel
    assert not Slack({}).check().ok


@pytest.mark.parametrize(
    ("config", "good"),
    [
        ({"bot_token": TOKEN}, True),
        ({"bot_token": f"xoxe.{TOKEN}"}, True),
        ({"bot_token": "xapp-1-A012-123-abc"}, False),
        ({"bot_token": "123"}, False),
        ({"webhook_url": "https://93.184.216.34/services/T012/B012/abc"}, True),
        ({"webhook_url": "http://93.184.216.34/services/T012/B012/abc"}, False),
        ({"webhook_url": "https://93.184.216.34/services/T012/B012/abc?x=1"}, False),
        ({"webhook_url": "https://93.184.216.34/hooks/abc"}, False),
        ({"webhook_url": "https://127.0.0.1/services/T012/B012/abc"}, False),
        ({"bot_token": TOKEN, "webhook_url": "https://93.184.216.34/services/T0/B0/x"}, False),
        ({}, True),  # what is stored stays
    ],
)
def test_the_form_knows_a_credential(config: dict[str, str], good: bool) -> None:
    assert Slack.Config(config).is_valid() == good


@pytest.mark.parametrize(
    ("home", "good"),
    [
        ({"chat_id": CHANNEL, "thread_id": "1731200000.123456"}, True),
        ({"chat_id": "U0123456789"}, True),
        ({}, True),
        ({"chat_id": "#general"}, False),
        ({"chat_id": CHANNEL, "thread_id": "12"}, False),
    ],
)
def test_the_form_knows_a_channel(home: dict[str, str], good: bool) -> None:
    assert Slack.Home(home).is_valid() == good


def test_the_credential_that_was_entered_takes_the_others_place() -> None:
    hook = "https://hooks.slack.com/services/T0/B0/x"
    assert Slack.prepare_config({"bot_token": TOKEN}, {"webhook_url": hook}) == {
        "webhook_url": hook
    }
    assert Slack.prepare_config({"webhook_url": hook}, {"bot_token": TOKEN}) == {"bot_token": TOKEN}
    stored = {"bot_token": TOKEN}
    assert Slack.prepare_config(stored, {"bot_token": "", "webhook_url": ""}) == stored


def test_the_page_before_a_check_does_not_show_the_webhook() -> None:
    hook = f"https://hooks.slack.com/services/T0/B0/{HOOK}"
    assert Slack({"webhook_url": hook}).called_address() == "https://hooks.slack.com"
    assert Slack({"bot_token": TOKEN}).called_address() == "https://slack.com/api"


@pytest.mark.parametrize("answer", [OK, no("fatal_error"), Answer(500)])
def test_an_outcome_can_be_stored(fake: FakePlatform, answer: Answer) -> None:
    fake.script(answer)
    sender = Slack({"bot_token": TOKEN, "api_base": fake.url})
    outcome = sender.send(text_message("\x00\x07 \ud83d 界", target={"chat_id": CHANNEL}))
    json.dumps([outcome.provider_ids, outcome.progress]).encode()
    outcome.request.encode()
