"""Feishu (Lark): messages by an app, or by a group's custom robot.

https://open.feishu.cn/document/server-docs/im-v1/message/create
https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
"""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from platforms import pacing
from platforms.coded import Answer, meaning_in, read
from platforms.fields import ApiBaseField, SecretField
from platforms.incoming import IncomingWebhookField, TokenOrWebhook, no_credential, refuse_both
from platforms.parts import send_parts
from platforms.places import Place, place_of
from platforms.plain import to_plain
from platforms.replies import (
    RATE_LIMITED,
    REFUSED,
    TEMPORARY,
    UNAUTHORIZED,
    Meaning,
    outcome_of,
    retry_after,
)
from platforms.sender import Check
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text
from platforms.tokens import Grant, TokenWire, key_of, lifetime_of
from platforms.wire import Wire

LARK = "https://open.larksuite.com"
HOOK_PATH = r"/open-apis/bot/v2/hook/[0-9a-f-]{36}"
CHAT_ID = re.compile(r"(?:oc|ou|on)_[0-9a-f]{32}")
PERSON = re.compile(r"[\w.+-]{1,64}(?:@[\w.-]{1,190})?", re.ASCII)
MESSAGE_ID = re.compile(r"om_\w{1,100}", re.ASCII)
ID_TYPES = {"oc_": "chat_id", "ou_": "open_id", "on_": "union_id"}
# <at user_id="all"></at> calls everybody.
AT = re.compile(r"<(?=\s*/?\s*at\b)", re.IGNORECASE)
ZERO_WIDTH_SPACE = "\u200b"
FREQUENCY_WAIT = 5.0  # seconds, where no header names any
# 100 a minute and 5 a second, for each robot: so never more than these in any minute.
ROBOT_RATE = pacing.Rate(90 / 60, 10)

NO_RIGHTS = Meaning(Verdict.FAILED, "forbidden", faults_channel=True)
CHAT_GONE = Meaning(Verdict.FAILED, "chat_gone")
BAD_ROBOT = Meaning(Verdict.FAILED, "bad_robot", faults_channel=True)
TOKEN_REFUSED = (99991661, 99991663, 99991664, 99991671)
# Content that is no good as a post may be as text.
CONTENT_REFUSED = (230001, 230099)

# The error tables of the pages above, and of "Generic error codes".
CODES = {
    **dict.fromkeys((99991400, 11232, 230020), RATE_LIMITED),
    **dict.fromkeys((230049, 230101), TEMPORARY),  # under way already, under the same uuid
    **dict.fromkeys(TOKEN_REFUSED, UNAUTHORIZED),
    **dict.fromkeys((99991672, 230006, 230027, 99991401, 230036), NO_RIGHTS),
    **dict.fromkeys(
        (230002, 230013, 230018, 230019, 230029, 230034, 230035, 230038, 230053, 230075, 232009),
        CHAT_GONE,
    ),
    **dict.fromkeys((230001, 230022, 230025, 230028, 230054, 230099), REFUSED),
    **dict.fromkeys((9499, 19002), REFUSED),
    **dict.fromkeys((19001, 19021, 19022, 19024), BAD_ROBOT),
}


class Feishu(TokenOrWebhook):
    """Sends as a post with Markdown, and as text what Feishu cannot read as such."""

    kind = "feishu"
    label = gettext_lazy("Feishu / Lark")
    summary = gettext_lazy("Sends messages to a chat or a person as an app, or to a robot's group.")
    check_calls = gettext_lazy(
        "As an app: a token is fetched and the bot is looked up; nothing is sent. By a group's "
        "robot: a short test message is sent, as there is no other way."
    )
    # A post takes 30 KB and a robot 20 KB of body, where styles and escapes count double.
    max_length = 10_000
    unit = Unit.BYTES
    default_api_base = "https://open.feishu.cn"
    token_name = "app_secret"  # noqa: S105 - a field's name

    class Config(forms.Form):
        domain = forms.ChoiceField(
            label=gettext_lazy("Platform"),
            choices=[("feishu", gettext_lazy("Feishu")), ("lark", "Lark")],
            required=False,
        )
        app_id = forms.CharField(
            label=gettext_lazy("App ID"),
            required=False,
            validators=[
                RegexValidator(
                    r"\Acli_[a-z0-9]{16,}\Z", gettext_lazy("An app ID looks like cli_a1b2c3….")
                )
            ],
        )
        app_secret = SecretField(
            label=gettext_lazy("App secret"),
            required=False,
            help_text=gettext_lazy("For an app; with it a route can name any chat the bot is in."),
        )
        webhook_url = IncomingWebhookField(
            path=HOOK_PATH,
            label=gettext_lazy("Robot's webhook address"),
            help_text=gettext_lazy("Instead of an app: of a custom robot, for its group only."),
        )
        webhook_secret = SecretField(
            label=gettext_lazy("Robot's signing secret"),
            required=False,
            help_text=gettext_lazy("If the robot's security settings ask for a signature."),
        )
        defuse_mentions = forms.BooleanField(
            label=gettext_lazy("Defuse @mentions"),
            required=False,
            initial=True,
            help_text=gettext_lazy("<at> in the text calls nobody. Payloads are not trusted."),
        )
        api_base = ApiBaseField()

        def clean(self) -> dict[str, Any]:
            """Refuse an app and a robot in one channel, and an app secret without its ID."""
            cleaned = super().clean() or self.cleaned_data
            refuse_both(cleaned, "app_secret")
            if cleaned.get("app_secret") and not cleaned.get("app_id") and "app_id" in cleaned:
                self.add_error("app_id", _("Enter the ID of the app that the secret is of."))
            return cleaned

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("Chat"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A(?:{CHAT_ID.pattern}|{PERSON.pattern})\Z",
                    gettext_lazy("A chat is oc_…, a person ou_…, on_…, an address or a user ID."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy(
                "For an app: where messages go when a route names no chat_id. oc_… is a group, "
                "ou_… or on_… a person; an e-mail address or a user ID will do too."
            ),
        )

    @property
    def api_base(self) -> str:
        """Return the address of Feishu or of Lark, or the one that stands in for it."""
        base = super().api_base
        is_lark = self.config.get("domain") == "lark" and base == self.default_api_base
        return LARK if is_lark else base

    def send(self, message: Message) -> Outcome:
        """Send the text to the chat of the target or the home, or to the robot's group."""
        place = place_of(message, self.home)
        if not self.webhook_url and (failure := self._misplaced(place)):
            return failure
        text = message.text
        if self.config.get("defuse_mentions", True):
            text = AT.sub("<" + ZERO_WIDTH_SPACE, text)
        parts = split(text, self.max_length, self.unit)
        if not parts:
            return no_text()
        wire = self._wire()

        def send_part(number: int, text: str) -> Outcome:
            if self.webhook_url:
                return self._to_robot(wire, (message.id, number), text)
            return self._to_chat(wire, place, f"{message.id}:{number}", text)

        return send_parts(wire, message, parts, send_part)

    def check(self) -> Check:
        """Look the bot up as an app; say something as a robot."""
        if not (self.webhook_url or self.token):
            return Check(False, no_credential().error)
        wire = self._wire()
        try:
            if self.webhook_url:
                answer: Answer | Outcome = self._say(wire, _("This is a test message from Hermes."))
            else:
                answer = self._call(wire, "GET", "/open-apis/bot/v3/info")
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if isinstance(answer, Outcome):
            return Check(False, wire.reason(answer))
        if not answer.ok:
            return Check(False, wire.reason(_failure(answer)))
        if self.webhook_url:
            return Check(True, _("The robot has sent a test message."))
        bot = answer.body.get("bot")
        name = bot.get("app_name") if isinstance(bot, dict) else None
        return Check(True, _("The bot is %s.") % wire.clean(str(name or "?")))

    def _misplaced(self, place: Place) -> Outcome | None:
        """Return why nothing can be sent to this place by an app; None if it can."""
        if not self.token:
            return no_credential()
        if place.thread and not MESSAGE_ID.fullmatch(place.thread):
            return bad_target("thread_id", place.thread)
        if not place.chat and not place.thread:
            return no_destination("chat_id")
        if place.chat and not (CHAT_ID.fullmatch(place.chat) or PERSON.fullmatch(place.chat)):
            return bad_target("chat_id", place.chat)
        return None

    def _wire(self) -> TokenWire:
        key = key_of(self.kind, self.api_base, str(self.config.get("app_id")), self.token)
        return TokenWire(self, key, self._fetch)

    def _fetch(self, wire: Wire) -> Grant | Outcome:
        """Fetch a tenant_access_token."""
        document = {"app_id": self.config.get("app_id", ""), "app_secret": self.token}
        url = f"{self.api_base}/open-apis/auth/v3/tenant_access_token/internal"
        answer = _read(wire.post(url, document))
        token = answer.body.get("tenant_access_token")
        if answer.ok and isinstance(token, str) and token:
            return Grant(token, lifetime_of(answer.body.get("expire")))
        if answer.code and answer.code not in CODES and answer.reply.status < 500:
            # Whatever else it says here, it says of the app: 10003, 10012, 10014 …
            return outcome_of(answer.reply, UNAUTHORIZED, answer.words)
        return _failure(answer)

    def _to_chat(self, wire: TokenWire, place: Place, uuid: str, text: str) -> Outcome:
        """Send one part; one whose content is refused goes again as text."""
        post = {"zh_cn": {"title": "", "content": [[{"tag": "md", "text": text}]]}}
        answer = self._post(wire, place, "post", post, uuid)
        if isinstance(answer, Answer) and answer.code in CONTENT_REFUSED:
            answer = self._post(wire, place, "text", {"text": to_plain(text)}, f"{uuid}:text")
        if isinstance(answer, Outcome):
            return answer
        data = answer.body.get("data")
        if not answer.ok or not isinstance(data, dict):
            failure = _failure(answer)
            # The home chat's trouble is the channel's.
            at_home = place.is_home and failure.error_class == CHAT_GONE.error_class
            return replace(failure, faults_channel=True) if at_home else failure
        return Outcome.delivered(provider_ids={"message_id": str(data.get("message_id", ""))})

    def _post(
        self, wire: TokenWire, place: Place, kind: str, content: Mapping[str, Any], uuid: str
    ) -> Answer | Outcome:
        """Send to a chat, or in answer to a message; under one uuid it goes out once an hour."""
        letter = {
            "msg_type": kind,
            "content": json.dumps(content, ensure_ascii=False),
            "uuid": uuid,
        }
        path = "/open-apis/im/v1/messages"
        if place.thread:
            path = f"{path}/{place.thread}/reply"
            return self._call(wire, "POST", path, {**letter, "reply_in_thread": True})
        path = f"{path}?receive_id_type={_id_type(place.chat)}"
        return self._call(wire, "POST", path, {"receive_id": place.chat, **letter})

    def _call(
        self, wire: TokenWire, method: str, path: str, document: Mapping[str, Any] | None = None
    ) -> Answer | Outcome:
        def call(token: str) -> Answer:
            headers = {"Authorization": f"Bearer {token}"}
            url = self.api_base + path
            if document is None:
                return _read(wire.call(method, url, headers))
            return _read(wire.post(url, document, headers))

        return wire.with_token(call, _is_token_refused)

    def _to_robot(self, wire: Wire, turn: Hashable, text: str) -> Outcome:
        key = pacing.key_of(self.kind, self.webhook_url)
        if later := pacing.put_off(key, turn, ROBOT_RATE):
            return later
        answer = self._say(wire, to_plain(text))
        return Outcome.delivered() if answer.ok else _failure(answer)

    def _say(self, wire: Wire, text: str) -> Answer:
        letter: dict[str, Any] = {"msg_type": "text", "content": {"text": text}}
        if secret := self.config.get("webhook_secret"):
            timestamp = int(time.time())
            letter |= {"timestamp": str(timestamp), "sign": sign(timestamp, secret)}
        return _read(wire.post(self.webhook_url, letter))


def sign(timestamp: int, secret: str) -> str:
    """Return a robot's signature: the text that others sign is the key here."""
    key = f"{timestamp}\n{secret}".encode()
    return base64.b64encode(hmac.digest(key, b"", hashlib.sha256)).decode()


def _id_type(chat: str) -> str:
    if CHAT_ID.fullmatch(chat):
        return ID_TYPES[chat[:3]]
    return "email" if "@" in chat else "user_id"


def _read(reply: Reply) -> Answer:
    # Older robots say StatusCode for code.
    return read(reply, ("code", "StatusCode"), ("msg", "StatusMessage"))


def _is_token_refused(answer: Answer) -> bool:
    return answer.reply.status == 401 or answer.code in TOKEN_REFUSED


def _failure(answer: Answer) -> Outcome:
    """Return what an answer means that is not a success."""
    meaning = meaning_in(CODES, answer)
    wait = _wait(answer.reply) if meaning is RATE_LIMITED and answer.code else None
    return outcome_of(answer.reply, meaning, answer.words, wait=wait)


def _wait(reply: Reply) -> float:
    """Return the seconds to wait that a header names, else a few."""
    try:
        return float(reply.headers["x-ogw-ratelimit-reset"])
    except (KeyError, ValueError):
        return retry_after(reply.headers) or FREQUENCY_WAIT
