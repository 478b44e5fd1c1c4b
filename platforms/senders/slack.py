"""Slack: chat.postMessage as a bot, or an incoming webhook.

https://docs.slack.dev/reference/methods/chat.postMessage
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from platforms import pacing
from platforms.fields import ApiBaseField, SecretField
from platforms.incoming import IncomingWebhookField, TokenOrWebhook, no_credential, refuse_both
from platforms.mrkdwn import defuse_controls, to_slack
from platforms.parts import send_parts
from platforms.places import Place, place_of
from platforms.replies import (
    BAD_REPLY,
    FORBIDDEN,
    RATE_LIMITED,
    REFUSED,
    SERVER_ERROR,
    UNAUTHORIZED,
    Meaning,
    meaning_of,
    outcome_of,
    retry_after,
)
from platforms.sender import Check
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text
from platforms.wire import Wire

TOKEN = re.compile(r"(?:xoxe\.)?xox[bp]-[A-Za-z0-9-]{20,}")
CHANNEL = re.compile(r"[CDGUW][A-Z0-9]{8,20}")
THREAD = re.compile(r"\d{10}\.\d{6}", re.ASCII)
WEBHOOK_LIMIT = 4000  # "text" beyond that is folded away; it is cut above 40,000
PACE = pacing.Rate(per_second=1, burst=10)  # of one channel: docs.slack.dev, rate limits
DEFAULT_WAIT, LONG_WAIT = 30.0, 300.0  # seconds, where Slack names none

NO_CHANNEL = Meaning(Verdict.FAILED, "chat_not_found")
NOT_THERE = Meaning(Verdict.FAILED, "not_in_channel")
ARCHIVED = Meaning(Verdict.FAILED, "chat_gone")
NO_RIGHTS = Meaning(Verdict.FAILED, "no_rights")
# What has come to be of the channel, not of the message; the home's trouble is the channel's.
OF_THE_PLACE = frozenset(
    meaning.error_class for meaning in (NO_CHANNEL, NOT_THERE, ARCHIVED, NO_RIGHTS)
)
# Slack: "it's possible some aspect of the operation succeeded".
FATAL = Meaning(Verdict.RETRY, "server_error", ambiguous=True)
WEBHOOK_GONE = Meaning(Verdict.FAILED, "webhook_gone", faults_channel=True)

# The errors of chat.postMessage, conversations.open and auth.test, on the page above.
ERRORS = {
    **dict.fromkeys(("ratelimited", "rate_limited", "message_limit_exceeded"), RATE_LIMITED),
    **dict.fromkeys(
        ("internal_error", "service_unavailable", "team_added_to_org", "request_timeout"),
        SERVER_ERROR,
    ),
    "fatal_error": FATAL,
    **dict.fromkeys(
        ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"),
        UNAUTHORIZED,
    ),
    **dict.fromkeys(
        (
            "missing_scope",
            "not_allowed_token_type",
            "no_permission",
            "accesslimited",
            "access_denied",
            "app_access_restricted",
            "org_login_required",
            "two_factor_setup_required",
            "ekm_access_denied",
            "team_access_not_granted",
        ),
        FORBIDDEN,
    ),
    **dict.fromkeys(("channel_not_found", "team_not_found", "user_not_found"), NO_CHANNEL),
    "not_in_channel": NOT_THERE,
    "is_archived": ARCHIVED,
    **dict.fromkeys(
        ("messages_tab_disabled", "cannot_reply_to_message", "enterprise_is_restricted"),
        NO_RIGHTS,
    ),
}
WITHOUT_RIGHTS = re.compile(r"restricted_action|slack_connect_\w*blocked")  # whole families
# A workspace that knows no markdown_text sees a message without text, or a bad argument.
NO_MARKDOWN = frozenset(
    {"no_text", "invalid_arguments", "markdown_text_conflict", "msg_blocks_too_long"}
    | {"invalid_blocks", "invalid_blocks_format"}
)
WEBHOOK_ERRORS = {
    "invalid_token": UNAUTHORIZED,
    "action_prohibited": FORBIDDEN,
    "team_disabled": FORBIDDEN,
    **dict.fromkeys(("no_service", "no_service_id", "no_active_hooks", "no_team"), WEBHOOK_GONE),
    **dict.fromkeys(("channel_not_found", "channel_is_archived"), WEBHOOK_GONE),
    "rollup_error": SERVER_ERROR,
}
# What a webhook that is in order says to a post without a message.
IN_ORDER = ("no_text", "invalid_payload", "missing_text_or_fallback_or_attachments")


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply of the Web API, whose body says more than its status."""

    reply: Reply
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        return self.reply.status == 200 and self.body.get("ok") is True

    @property
    def error(self) -> str:
        """Return Slack's word for what is wrong; empty if it says none."""
        error = self.body.get("error")
        return error if isinstance(error, str) else ""


class Slack(TokenOrWebhook):
    """Sends Markdown as a bot; by an incoming webhook Slack's own markup."""

    kind = "slack"
    label = "Slack"
    summary = gettext_lazy("Sends messages to a channel, a thread or a person.")
    check_calls = gettext_lazy(
        "auth.test is called with the bot's token; a webhook is sent a post without a message, "
        "which it refuses. Nothing appears."
    )
    max_length = 11_000  # markdown_text takes 12,000; which unit is not said, so the stricter
    unit = Unit.UTF16
    default_api_base = "https://slack.com/api"
    token_name = "bot_token"  # noqa: S105  a name

    class Config(forms.Form):
        bot_token = SecretField(
            label=gettext_lazy("Bot token"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{TOKEN.pattern}\Z",
                    gettext_lazy("A bot token begins with xoxb- (OAuth & Permissions)."),
                )
            ],
            help_text=gettext_lazy(
                "From “OAuth & Permissions” of the app, with the scope chat:write."
            ),
        )
        webhook_url = IncomingWebhookField(
            path=r"(?:/.*)?/services/T\w+/B\w+/\w+",
            help_text=gettext_lazy("Instead of a token: https://hooks.slack.com/services/…"),
        )
        api_base = ApiBaseField()

        def clean(self) -> dict[str, Any]:
            refuse_both(self.cleaned_data, "bot_token")
            return self.cleaned_data

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("Channel"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{CHANNEL.pattern}\Z",
                    gettext_lazy("A channel is an id such as C0123456789, a person U0123456789."),
                )
            ],
            help_text=gettext_lazy(
                "The id of a channel or a person, from “View channel details”. A webhook has its "
                "own."
            ),
        )
        thread_id = forms.CharField(
            label=gettext_lazy("Thread"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{THREAD.pattern}\Z",
                    gettext_lazy("A thread is the ts of its first message: 1731200000.123456."),
                    flags=re.ASCII,
                )
            ],
        )

    def send(self, message: Message) -> Outcome:
        """Send the text to the channel of the target or the home, in parts if it is long."""
        if not (self.token or self.webhook_url):
            return no_credential()
        place = place_of(message, self.home, "thread_ts")
        if problem := self._problem(place):
            return problem
        if self.webhook_url:
            parts = split(message.text, WEBHOOK_LIMIT)
        else:
            parts = split(defuse_controls(message.text), self.max_length, self.unit)
        if not parts:
            return no_text()
        wire = Wire(self)
        return send_parts(wire, message, parts, self._road(wire, place, message))

    def check(self) -> Check:
        """Call auth.test; a webhook is posted nothing, which tells whether it is there."""
        wire = Wire(self)
        if not (self.token or self.webhook_url):
            return Check(False, no_credential().error)
        try:
            if self.webhook_url:
                return self._checked_webhook(wire)
            me = self._call(wire, "auth.test", {})
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if not me.ok:
            return Check(False, wire.reason(_failure(me)))
        scopes = me.reply.headers.get("x-oauth-scopes", "")
        if scopes and "chat:write" not in re.split(r"[,\s]+", scopes):
            return Check(False, _("The token lacks the scope chat:write; reinstall the app."))
        names = {"user": me.body.get("user", "?"), "team": me.body.get("team", "?")}
        return Check(True, wire.clean(_("Signed in as %(user)s of %(team)s.") % names))

    def _problem(self, place: Place) -> Outcome | None:
        if not self.webhook_url:
            if not place.chat:
                return no_destination("chat_id")
            if not CHANNEL.fullmatch(place.chat):
                return bad_target("chat_id", place.chat)
        if place.thread and not THREAD.fullmatch(place.thread):
            return bad_target("thread_id", place.thread)
        return None

    def _road(self, wire: Wire, place: Place, message: Message) -> Callable[[int, str], Outcome]:
        """Return what sends one part: to the webhook, or as the bot."""
        bucket = pacing.key_of(self.kind, self.token or self.webhook_url, place.chat)
        channels = self._channels(wire, place.chat)

        def send_part(number: int, text: str) -> Outcome:
            if wait := pacing.put_off(bucket, (message.id, number), PACE):
                return wait
            if self.webhook_url:
                return self._post_to_webhook(wire, place, text)
            channel = next(channels)
            if isinstance(channel, Outcome):
                outcome = channel
            else:
                outcome = self._post(wire, {"channel": channel, **_thread(place)}, text)
            is_fault = place.is_home and outcome.error_class in OF_THE_PLACE
            return replace(outcome, faults_channel=True) if is_fault else outcome

        return send_part

    def _channels(self, wire: Wire, chat: str) -> Iterator[str | Outcome]:
        """Give the channel's id for each part; a person's is asked for once."""
        if chat.startswith(("U", "W")):
            opened = self._call(wire, "conversations.open", {"users": chat})
            channel = opened.body.get("channel")
            found = channel.get("id") if isinstance(channel, dict) else None
            if not (opened.ok and isinstance(found, str)):
                yield _failure(opened)
                return
            chat = found
        while True:
            yield chat

    def _post(self, wire: Wire, to: dict[str, str], text: str) -> Outcome:
        """Post as Markdown; in Slack's markup where the workspace refuses that."""
        quiet = {"unfurl_links": False, "unfurl_media": False}
        answer = self._call(wire, "chat.postMessage", {**to, "markdown_text": text, **quiet})
        if answer.error in NO_MARKDOWN:
            letter = {**to, "text": to_slack(text), **quiet}
            answer = self._call(wire, "chat.postMessage", letter)
        if not answer.ok:
            return _failure(answer)
        return Outcome.delivered(provider_ids=_ids(answer))

    def _post_to_webhook(self, wire: Wire, place: Place, text: str) -> Outcome:
        reply = wire.post(self.webhook_url, {"text": to_slack(text), **_thread(place)})
        if reply.status == 200 and reply.text.strip() == "ok":
            return Outcome.delivered()
        return _webhook_failure(reply)

    def _checked_webhook(self, wire: Wire) -> Check:
        reply = wire.post(self.webhook_url, {})
        if reply.status == 400 and reply.text.strip() in IN_ORDER:
            return Check(True, _("The webhook is there."))
        return Check(False, wire.reason(_webhook_failure(reply)))

    def _call(self, wire: Wire, method: str, parameters: dict[str, Any]) -> Answer:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json; charset=utf-8",
        }
        reply = wire.post(f"{self.api_base}/{method}", parameters, headers)
        body = reply.json()
        return Answer(reply, body if isinstance(body, dict) else {})


def _thread(place: Place) -> dict[str, str]:
    return {"thread_ts": place.thread} if place.thread else {}


def _ids(answer: Answer) -> dict[str, Any]:
    """Return what finds the message again, and what Slack remarked."""
    names = ("channel", "ts", "warning")
    ids = {name: value for name in names if isinstance(value := answer.body.get(name), str)}
    if request_id := answer.reply.headers.get("x-slack-req-id"):
        ids["request_id"] = request_id
    return ids


def _failure(answer: Answer) -> Outcome:
    """Return what an answer means that is not ok."""
    meaning = _meaning(answer)
    wait = None
    if meaning is RATE_LIMITED and retry_after(answer.reply.headers) is None:
        wait = LONG_WAIT if answer.error == "message_limit_exceeded" else DEFAULT_WAIT
    detail = answer.error
    if needed := answer.body.get("needed"):
        detail += f" ({needed})"
    return outcome_of(answer.reply, meaning, detail, wait=wait)


def _meaning(answer: Answer) -> Meaning:
    if answer.error in ERRORS:
        return ERRORS[answer.error]
    if WITHOUT_RIGHTS.match(answer.error):
        return NO_RIGHTS
    if answer.reply.status == 200:
        return REFUSED if answer.body.get("ok") is False else BAD_REPLY
    return meaning_of(answer.reply.status)


def _webhook_failure(reply: Reply) -> Outcome:
    """Return what a webhook's answer means, which is one word of plain text."""
    word = reply.text.strip()[:100]
    meaning = WEBHOOK_ERRORS.get(word)
    if meaning is None and reply.status in (404, 410):
        meaning = WEBHOOK_GONE  # the path itself is what was configured
    wait = DEFAULT_WAIT if reply.status == 429 and retry_after(reply.headers) is None else None
    return outcome_of(reply, meaning, word, wait=wait)
