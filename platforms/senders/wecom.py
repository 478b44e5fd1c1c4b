"""WeCom: messages to a group by its robot, or to members and chats by an app.

https://developer.work.weixin.qq.com/document/path/99110
https://developer.work.weixin.qq.com/document/path/90236
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from platforms import pacing
from platforms.coded import Answer, meaning_in, read
from platforms.fields import ApiBaseField, SecretField
from platforms.incoming import no_credential
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
from platforms.sender import Check, Sender
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text
from platforms.tokens import Grant, TokenWire, key_of, lifetime_of
from platforms.wire import Wire

ROBOT, APP = "robot", "app"
KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
USERS = re.compile(r"(?=.{1,2000}\Z)@all|[\w.@-]{1,64}(?:\|[\w.@-]{1,64})*", re.ASCII)
GROUP = re.compile(r"(chat|party|tag):([\w-]{1,64})", re.ASCII)
# <@userid> in Markdown calls a person.
AT = re.compile(r"<(?=@)")
ZERO_WIDTH_SPACE = "\u200b"
REPEATS = 1800  # seconds for which WeCom drops equal messages, if it is asked to
FREQUENCY_WAIT = 60.0  # seconds: the limits are of a minute
# 20 a minute for a robot, 30 for each member, where the rest is dropped without a word: so never
# more than these in any minute.
ROBOT_RATE = pacing.Rate(10 / 60, 10)
APP_RATE = pacing.Rate(20 / 60, 10)

NO_RIGHTS = Meaning(Verdict.FAILED, "forbidden", faults_channel=True)
BAD_ROBOT = Meaning(Verdict.FAILED, "bad_robot", faults_channel=True)
CHAT_GONE = Meaning(Verdict.FAILED, "chat_gone")
TOKEN_REFUSED = (40014, 41001, 42001)
WRONG_TYPE = 40008  # of message: an older client or server knows no markdown_v2
BAD_WEBHOOK = 93000  # of a robot; said of a text that is too long as well

# https://developer.work.weixin.qq.com/document/path/90313
CODES = {
    **dict.fromkeys((45009, 45033), RATE_LIMITED),
    **dict.fromkeys((-1, 6000), TEMPORARY),
    **dict.fromkeys((*TOKEN_REFUSED, 40001, 40013, 40091), UNAUTHORIZED),
    **dict.fromkeys((40056, 60020, 48002, 50002, 50003, 301002, 60011), NO_RIGHTS),
    **dict.fromkeys((81013, 82001, 86001, 86002, 86003, 86004), CHAT_GONE),
    **dict.fromkeys((WRONG_TYPE, 40035, 40058, 44004, 45002, 47001), REFUSED),
    BAD_WEBHOOK: BAD_ROBOT,
}


class WeCom(Sender):
    """Sends as Markdown or as text; a success names those whom it does not reach."""

    kind = "wecom"
    label = "WeCom"
    summary = gettext_lazy("Sends messages to a group by its robot, or to members by an app.")
    check_calls = gettext_lazy(
        "As an app: a token is fetched and the app is looked up; nothing is sent. By a group's "
        "robot: a short test message is sent, as there is no other way."
    )
    max_length = 2048  # of text; an app's longer one is cut without a word
    unit = Unit.BYTES
    default_api_base = "https://qyapi.weixin.qq.com"

    class Config(forms.Form):
        mode = forms.ChoiceField(
            label=gettext_lazy("Send by"),
            choices=[
                (ROBOT, gettext_lazy("a group's robot")),
                (APP, gettext_lazy("an app of the company")),
            ],
        )
        key = SecretField(
            label=gettext_lazy("Robot's key or webhook address"),
            required=False,
            help_text=gettext_lazy(
                "For a robot: https://…/cgi-bin/webhook/send?key=…, or the key."
            ),
        )
        corp_id = forms.CharField(
            label=gettext_lazy("Company ID"),
            required=False,
            validators=[
                RegexValidator(
                    r"\Aw[wx][0-9a-f]{16}\Z", gettext_lazy("A company ID looks like ww0123…")
                )
            ],
            help_text=gettext_lazy("For an app, as the two that follow."),
        )
        agent_id = forms.CharField(
            label=gettext_lazy("App's AgentId"),
            required=False,
            validators=[
                RegexValidator(r"\A[1-9]\d{0,9}\Z", gettext_lazy("An AgentId is a number."))
            ],
        )
        corp_secret = SecretField(
            label=gettext_lazy("App's secret"),
            required=False,
            validators=[
                RegexValidator(r"\A[\w-]{43}\Z", gettext_lazy("A secret has 43 characters."))
            ],
        )
        style = forms.ChoiceField(
            label=gettext_lazy("Messages as"),
            choices=[
                ("markdown", "Markdown"),
                ("markdown_v2", gettext_lazy("Markdown v2 (robots, newer clients)")),
                ("text", gettext_lazy("plain text")),
            ],
            initial="markdown",
            required=False,
        )
        defuse_mentions = forms.BooleanField(
            label=gettext_lazy("Defuse @mentions"),
            required=False,
            initial=True,
            help_text=gettext_lazy("<@…> in the text calls nobody. Payloads are not trusted."),
        )
        drop_repeats = forms.BooleanField(
            label=gettext_lazy("Let WeCom drop repeats"),
            required=False,
            help_text=gettext_lazy(
                "For an app: of equal messages within half an hour, only the first arrives. It "
                "spares doubles after a lost answer, and loses what is said twice on purpose."
            ),
        )
        api_base = ApiBaseField()

        def clean_key(self) -> str:
            """Return the key, out of the address if that was given."""
            value = str(self.cleaned_data["key"])
            key = parse_qs(urlsplit(value).query).get("key", [value])[0]
            if key and not KEY.fullmatch(key):
                raise forms.ValidationError(_("This is no key of a robot."), code="invalid")
            return key

        def clean(self) -> dict[str, Any]:
            """Ask for what an app needs besides its secret."""
            cleaned = super().clean() or self.cleaned_data
            if cleaned.get("mode") == APP:
                for name in ("corp_id", "agent_id"):
                    if cleaned.get(name) == "":
                        self.add_error(name, _("An app needs this."))
            if cleaned.get("mode") == APP and cleaned.get("style") == "markdown_v2":
                self.add_error("style", _("Only robots send Markdown v2."))
            return cleaned

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("Members or chat"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A(?:{GROUP.pattern}|{USERS.pattern})\Z",
                    gettext_lazy("Write ada|bob, @all, party:2, tag:3 or chat:ID."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy(
                "For an app: where messages go when a route names no chat_id. User IDs (ada|bob), "
                "@all, party:2, tag:3, or chat:ID of a chat that the app made."
            ),
        )

    def send(self, message: Message) -> Outcome:
        """Send the text to the robot's group, or to the members or the chat of target or home."""
        if not self._credential:
            return no_credential()
        place = place_of(message, self.home)
        if not self._is_robot and not place.chat:
            return no_destination("chat_id")
        if not self._is_robot and not (GROUP.fullmatch(place.chat) or USERS.fullmatch(place.chat)):
            return bad_target("chat_id", place.chat)
        text = message.text
        if self.config.get("defuse_mentions", True):
            text = AT.sub("<" + ZERO_WIDTH_SPACE, text)
        parts = split(text, self.max_length, self.unit)
        if not parts:
            return no_text()
        wire = self._wire()
        return send_parts(
            wire,
            message,
            parts,
            lambda number, text: self._send_part(wire, place, (message.id, number), text),
        )

    def check(self) -> Check:
        """Look the app up; say something as a robot."""
        if not self._credential:
            return Check(False, no_credential().error)
        wire = self._wire()
        try:
            if self._is_robot:
                test = _("This is a test message from Hermes.")
                answer = self._say(wire, "", "text", test)
            else:
                agent_id = str(self.config.get("agent_id", ""))
                answer = self._call(wire, "/cgi-bin/agent/get", agentid=agent_id)
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if isinstance(answer, Outcome):
            return Check(False, wire.reason(answer))
        if not answer.ok:
            return Check(False, wire.reason(_failure(answer)))
        if self._is_robot:
            return Check(True, _("The robot has sent a test message."))
        return Check(True, _("The app is %s.") % wire.clean(str(answer.body.get("name", "?"))))

    @property
    def _is_robot(self) -> bool:
        return self.config.get("mode") != APP

    @property
    def _credential(self) -> str:
        return str(self.config.get("key" if self._is_robot else "corp_secret") or "")

    def _wire(self) -> TokenWire:
        company = str(self.config.get("corp_id"))
        key = key_of(self.kind, self.api_base, company, self._credential)
        return TokenWire(self, key, self._fetch)

    def _fetch(self, wire: Wire) -> Grant | Outcome:
        """Fetch an access token."""
        company = str(self.config.get("corp_id", ""))
        query = urlencode({"corpid": company, "corpsecret": self._credential})
        answer = _read(wire.call("GET", f"{self.api_base}/cgi-bin/gettoken?{query}", {}))
        token = answer.body.get("access_token")
        if answer.ok and isinstance(token, str) and token:
            return Grant(token, lifetime_of(answer.body.get("expires_in")))
        if answer.code and answer.code not in CODES and answer.reply.status < 500:
            # Whatever else it says here, it says of the credential.
            return outcome_of(answer.reply, UNAUTHORIZED, answer.words)
        return _failure(answer)

    def _send_part(self, wire: TokenWire, place: Place, turn: Hashable, text: str) -> Outcome:
        """Send one part; what is refused as Markdown goes again as text."""
        rate = ROBOT_RATE if self._is_robot else APP_RATE
        chat = "" if self._is_robot else place.chat
        bucket = pacing.key_of(self.kind, self.api_base, self._credential, chat)
        if later := pacing.put_off(bucket, turn, rate):
            return later
        style = self.config.get("style") or "markdown"
        answer = self._say(wire, chat, style, text)
        if isinstance(answer, Answer) and answer.code == WRONG_TYPE and style != "text":
            answer = self._say(wire, chat, "text", text)
        if isinstance(answer, Outcome):
            return answer
        outcome = _reached(answer, chat) if answer.ok else _failure(answer)
        # The home's trouble is the channel's.
        at_home = place.is_home and outcome.error_class == CHAT_GONE.error_class
        return replace(outcome, faults_channel=True) if at_home else outcome

    def _say(self, wire: TokenWire, chat: str, style: str, text: str) -> Answer | Outcome:
        content = {"content": to_plain(text) if style == "text" else text}
        letter: dict[str, Any] = {"msgtype": style, style: content}
        if self._is_robot:
            query = urlencode({"key": self._credential})
            return _read(wire.post(f"{self.api_base}/cgi-bin/webhook/send?{query}", letter))
        group = GROUP.fullmatch(chat)
        if group and group[1] == "chat":
            return self._call(wire, "/cgi-bin/appchat/send", {"chatid": group[2], **letter})
        receiver = {f"to{group[1]}": group[2]} if group else {"touser": chat}
        letter |= {**receiver, "agentid": int(self.config.get("agent_id") or 0)}
        if self.config.get("drop_repeats"):
            letter |= {"enable_duplicate_check": 1, "duplicate_check_interval": REPEATS}
        return self._call(wire, "/cgi-bin/message/send", letter)

    def _call(
        self, wire: TokenWire, path: str, letter: Mapping[str, Any] | None = None, **query: str
    ) -> Answer | Outcome:
        def call(token: str) -> Answer:
            url = f"{self.api_base}{path}?{urlencode({'access_token': token, **query})}"
            return _read(wire.post(url, letter) if letter else wire.call("GET", url, {}))

        return wire.with_token(call, _is_token_refused)


def _read(reply: Reply) -> Answer:
    return read(reply, ("errcode",), ("errmsg",))


def _is_token_refused(answer: Answer) -> bool:
    return answer.reply.status == 401 or answer.code in TOKEN_REFUSED


def _reached(answer: Answer, chat: str) -> Outcome:
    """Return the outcome of a success, which may have reached nobody."""
    ids = {"msgid": str(answer.body["msgid"])} if answer.body.get("msgid") else {}
    # User IDs come back in lower case.
    wanted = set(chat.lower().split("|")) - {""}
    missed: dict[str, str] = {}
    for name in ("invaliduser", "unlicenseduser", "invalidparty", "invalidtag"):
        if listed := answer.body.get(name):
            missed[name] = str(listed)
    users = "|".join((missed.get("invaliduser", ""), missed.get("unlicenseduser", "")))
    lost = set(users.lower().split("|")) & wanted
    group = GROUP.fullmatch(chat)
    lost_group = group and group[2] in missed.get(f"invalid{group[1]}", "").split("|")
    if lost_group or (lost and lost == wanted):
        return replace(outcome_of(answer.reply, CHAT_GONE, str(missed)), provider_ids=ids)
    return Outcome.delivered(provider_ids=ids | missed)


def _failure(answer: Answer) -> Outcome:
    """Return what an answer means that is not a success."""
    too_long = answer.code == BAD_WEBHOOK and "exceed" in answer.words
    meaning = REFUSED if too_long else meaning_in(CODES, answer)
    is_frequent = meaning is RATE_LIMITED and answer.code is not None
    wait = retry_after(answer.reply.headers) or FREQUENCY_WAIT if is_frequent else None
    return outcome_of(answer.reply, meaning, answer.words, wait=wait)
