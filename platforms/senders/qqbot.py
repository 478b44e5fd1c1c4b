"""QQ bot: messages to people, groups and channels, by an official bot.

https://bot.q.qq.com/wiki/develop/api-v2/server-inter/message/send-receive/send.html
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from platforms.coded import Answer, meaning_in, read
from platforms.fields import ApiBaseField, SecretField
from platforms.incoming import no_credential
from platforms.parts import send_parts
from platforms.places import Place, place_of
from platforms.plain import to_plain
from platforms.replies import (
    FORBIDDEN,
    RATE_LIMITED,
    REFUSED,
    UNAUTHORIZED,
    Meaning,
    outcome_of,
)
from platforms.sender import Check, Sender
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.tokens import Grant, TokenWire, key_of, lifetime_of
from platforms.wire import Wire

SANDBOX = "https://sandbox.api.sgroup.qq.com"
TOKENS = "https://bots.qq.com"
# The scene is written out: a wrong guess would cost quota.
CHAT = re.compile(r"(c2c|group):([0-9A-F]{32})|(channel|dm):(\d{1,24})", re.ASCII)
MESSAGE_ID = re.compile(r"[\w.:!+/=-]{1,256}", re.ASCII)
PATHS = {
    "c2c": "/v2/users/{}/messages",
    "group": "/v2/groups/{}/messages",
    "channel": "/channels/{}/messages",
    "dm": "/dms/{}/messages",
}
# <@ID>, <qqbot-at-user …> and @everyone call people.
AT = re.compile(r"<(?=@|qqbot-at)|@(?=everyone\b)")
ZERO_WIDTH_SPACE = "\u200b"

AUDITED = (304023, 304024)  # taken, and looked at by somebody before it appears
DOUBTFUL = Meaning(Verdict.RETRY, "platform_error")
NO_PUSH = Meaning(Verdict.FAILED, "push_not_allowed")
WINDOW_CLOSED = Meaning(Verdict.FAILED, "window_closed")
DUPLICATE = Meaning(Verdict.FAILED, "duplicate")
TOKEN_REFUSED = (11241, 11243, 11251)
MARKDOWN_REFUSED = (50055, 50056)
MESSAGE_GONE = (40034024, 304027)
SAME_AGAIN = 40054005
DOUBTFUL_TRIES = 2  # "retry at most once", says the page of error codes

# https://bot.q.qq.com/wiki/develop/api-v2/openapi/error/error.html
CODES = {
    **dict.fromkeys((22009, 20028, 304045, 304049, 304050, 1100100, 1100308), RATE_LIMITED),
    **dict.fromkeys((11242, 11252, 11263, 11281, 1100300), DOUBTFUL),
    **dict.fromkeys(TOKEN_REFUSED, UNAUTHORIZED),
    **dict.fromkeys((11253, 11254, 11264, 11265), FORBIDDEN),
    **dict.fromkeys((50006, *MARKDOWN_REFUSED, 304003), REFUSED),
    **dict.fromkeys((1100101, 1100102, 1100103, 1100104), REFUSED),
    **dict.fromkeys((40034102, 40034105), NO_PUSH),
    **dict.fromkeys(MESSAGE_GONE, WINDOW_CLOSED),
    SAME_AGAIN: DUPLICATE,
}


class QQBot(Sender):
    """Sends as an answer where the target names a message, else by itself."""

    kind = "qqbot"
    addresses = ("api_base", "token_base")
    label = gettext_lazy("QQ bot")
    summary = gettext_lazy("Sends messages to people, groups and channels on QQ, as a bot.")
    check_calls = gettext_lazy("A token is fetched and the bot is looked up. Nothing is sent.")
    max_length = 2000
    unit = Unit.UTF16
    default_api_base = "https://api.sgroup.qq.com"
    advanced = ("api_base", "token_base")

    class Config(forms.Form):
        app_id = forms.CharField(
            label=gettext_lazy("AppID"),
            validators=[RegexValidator(r"\A[0-9]{6,12}\Z", gettext_lazy("An AppID is a number."))],
        )
        client_secret = SecretField(
            label=gettext_lazy("AppSecret"),
            validators=[
                RegexValidator(r"\A\S{16,64}\Z", gettext_lazy("It has 16 to 64 characters."))
            ],
        )
        sandbox = forms.BooleanField(
            label=gettext_lazy("Sandbox"),
            required=False,
            help_text=gettext_lazy("For a bot that is not released: only its test chats."),
        )
        markdown = forms.BooleanField(
            label=gettext_lazy("Send Markdown"),
            required=False,
            help_text=gettext_lazy(
                "If QQ has granted it to the bot. What it refuses goes as text."
            ),
        )
        defuse_mentions = forms.BooleanField(
            label=gettext_lazy("Defuse @mentions"),
            required=False,
            initial=True,
            help_text=gettext_lazy("<@…> in the text calls nobody. Payloads are not trusted."),
        )
        api_base = ApiBaseField()
        token_base = ApiBaseField(label=gettext_lazy("Token address"))

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("Chat"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A(?:{CHAT.pattern})\Z",
                    gettext_lazy("Write c2c:…, group:…, channel:… or dm:…."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy(
                "Where messages go when a route names no chat_id: c2c:OPENID, group:OPENID, "
                "channel:ID or dm:GUILD_ID."
            ),
        )

    @property
    def api_base(self) -> str:
        """Return the address of the API or of its sandbox, or the one that stands in for it."""
        base = super().api_base
        return SANDBOX if self.config.get("sandbox") and base == self.default_api_base else base

    def send(self, message: Message) -> Outcome:
        """Send the text to the chat of the target or the home, in parts if it is long."""
        if not self.config.get("client_secret"):
            return no_credential()
        place = place_of(message, self.home, "msg_id")
        if not place.chat:
            return no_destination("chat_id")
        if not CHAT.fullmatch(place.chat):
            return bad_target("chat_id", place.chat)
        if place.thread and not MESSAGE_ID.fullmatch(place.thread):
            return bad_target("msg_id", place.thread)
        text = message.text
        if self.config.get("defuse_mentions", True):
            text = AT.sub(lambda found: found[0] + ZERO_WIDTH_SPACE, text)
        parts = split(text, self.max_length, self.unit)
        if not parts:
            return no_text()
        wire = self._wire()
        return send_parts(
            wire,
            message,
            parts,
            lambda number, text: self._send_part(wire, message, place, number, text),
        )

    def check(self) -> Check:
        """Look the bot up."""
        if not self.config.get("client_secret"):
            return Check(False, no_credential().error)
        wire = self._wire()
        try:
            answer = self._call(wire, "GET", "/users/@me")
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if isinstance(answer, Outcome):
            return Check(False, wire.reason(answer))
        if not _ids(answer):
            return Check(False, wire.reason(_failure(answer)))
        return Check(True, _("The bot is %s.") % wire.clean(str(answer.body.get("username", "?"))))

    def _wire(self) -> TokenWire:
        app = (str(self.config.get("app_id")), str(self.config.get("client_secret")))
        return TokenWire(self, key_of(self.kind, self._token_base, *app), self._fetch)

    @property
    def _token_base(self) -> str:
        return str(self.config.get("token_base") or TOKENS)

    def _fetch(self, wire: Wire) -> Grant | Outcome:
        """Fetch an app access token."""
        document = {
            "appId": value_of(self.config, "app_id"),
            "clientSecret": self.config["client_secret"],
        }
        answer = _read(wire.post(f"{self._token_base}/app/getAppAccessToken", document))
        token = answer.body.get("access_token")
        if answer.reply.status == 200 and isinstance(token, str) and token:
            return Grant(token, lifetime_of(answer.body.get("expires_in")))
        if answer.code and answer.code not in CODES and answer.reply.status < 500:
            # Whatever else it says here, it says of the bot: 100007, 100016 …
            return outcome_of(answer.reply, UNAUTHORIZED, answer.words)
        return _failure(answer)

    def _send_part(
        self, wire: TokenWire, message: Message, place: Place, number: int, text: str
    ) -> Outcome:
        """Send one part; what is refused goes again as text, or as no answer to a message."""
        found = CHAT.fullmatch(place.chat)
        scene, name = (found[1] or found[3], found[2] or found[4]) if found else ("", "")
        is_markdown = bool(self.config.get("markdown"))
        answers_to = place.thread

        def say() -> Answer | Outcome:
            letter = _letter(text, is_markdown)
            if answers_to:
                letter["msg_id"] = answers_to
            if scene in ("c2c", "group"):
                letter["msg_seq"] = _sequence(message, number)
            return self._call(wire, "POST", PATHS[scene].format(name), letter)

        answer = say()
        while isinstance(answer, Answer):
            if answer.code in MARKDOWN_REFUSED and is_markdown:
                is_markdown = False
            elif answer.code in MESSAGE_GONE and answers_to:
                answers_to = ""
            else:
                break
            answer = say()
        if isinstance(answer, Outcome):
            return answer
        if ids := _ids(answer):
            return Outcome.delivered(provider_ids=ids)
        if answer.code == SAME_AGAIN and message.retrying:
            return Outcome.delivered()  # the part arrived before; its answer got lost
        outcome = _failure(answer, message.number)
        # The home's trouble is the channel's.
        at_home = place.is_home and outcome.error_class == NO_PUSH.error_class
        return replace(outcome, faults_channel=True) if at_home else outcome

    def _call(
        self, wire: TokenWire, method: str, path: str, document: Mapping[str, Any] | None = None
    ) -> Answer | Outcome:
        def call(token: str) -> Answer:
            headers = {"Authorization": f"QQBot {token}"}
            url = self.api_base + path
            if document is None:
                return _read(wire.call(method, url, headers))
            return _read(wire.post(url, document, headers))

        return wire.with_token(call, _is_token_refused)


def _letter(text: str, is_markdown: bool) -> dict[str, Any]:
    if is_markdown:
        return {"msg_type": 2, "markdown": {"content": text}}
    return {"msg_type": 0, "content": to_plain(text)}


def _sequence(message: Message, number: int) -> int:
    """Return a number that is a part's own and stays: answers to one message must differ in it."""
    digest = blake2b(message.id.bytes, digest_size=4).digest()
    return int.from_bytes(digest) % 4_000 * 16 + number


def _read(reply: Reply) -> Answer:
    return read(reply, ("code", "err_code"), ("message",))


def _ids(answer: Answer) -> dict[str, str]:
    """Return what the message is called now; empty if QQ has not taken it."""
    if answer.reply.status == 200 and answer.body.get("id") and not answer.code:
        return {"id": str(answer.body["id"])}
    if answer.reply.status in (201, 202) and answer.code in AUDITED:
        data = answer.body.get("data")
        audit = data.get("message_audit") if isinstance(data, dict) else None
        audit_id = audit.get("audit_id") if isinstance(audit, dict) else None
        return {"audit_id": str(audit_id or "?")}
    return {}


def _is_token_refused(answer: Answer) -> bool:
    return answer.reply.status == 401 or answer.code in TOKEN_REFUSED


def _failure(answer: Answer, tries: int = 1) -> Outcome:
    """Return what an answer means that is not a success."""
    meaning = meaning_in(CODES, answer)
    if meaning is DOUBTFUL and tries >= DOUBTFUL_TRIES:
        meaning = replace(DOUBTFUL, verdict=Verdict.FAILED)
    trace = answer.reply.headers.get("X-Tps-trace-ID", "")
    return outcome_of(answer.reply, meaning, f"{answer.words} {trace}".strip())
