"""Telegram: the Bot API, one chat or forum topic per message.

https://core.telegram.org/bots/api#sendmessage
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from deliveries.retry_after import LONGEST_WAIT
from platforms.fields import ApiBaseField, SecretField
from platforms.markup import to_telegram_html
from platforms.parts import send_parts
from platforms.replies import (
    BAD_REPLY,
    RATE_LIMITED,
    REFUSED,
    UNAUTHORIZED,
    Meaning,
    meaning_of,
    outcome_of,
)
from platforms.sender import Check, Sender
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import Wire

TOKEN = re.compile(r"\d{6,12}:[A-Za-z0-9_-]{30,64}")
CHAT_ID = re.compile(r"-?\d{1,20}|@[A-Za-z]\w{3,31}", re.ASCII)
THREAD_ID = re.compile(r"[1-9]\d{0,9}")
GENERAL_TOPIC = "1"  # exists in every forum, and is refused as a message_thread_id
MOST_TRIES = 4  # of one part: the first, without topic, without markup, in the moved chat

CHAT_GONE = Meaning(Verdict.FAILED, "chat_gone")
CHAT_NOT_FOUND = Meaning(Verdict.FAILED, "chat_not_found")
NO_RIGHTS = Meaning(Verdict.FAILED, "no_rights")
TOPIC_CLOSED = Meaning(Verdict.FAILED, "topic_closed")
# What has come to be of the chat, not of the message; the home chat's trouble is the channel's.
OF_THE_CHAT = (CHAT_GONE, CHAT_NOT_FOUND, NO_RIGHTS, TOPIC_CLOSED)

# Telegram says what is wrong in words only: tdlib/telegram-bot-api, telegram-bot-api/Client.cpp.
WORDS = (
    ("bot was blocked by the user", CHAT_GONE),
    ("user is deactivated", CHAT_GONE),
    ("bot can't initiate conversation", CHAT_GONE),
    ("bot was kicked", CHAT_GONE),
    ("bot is not a member", CHAT_GONE),
    ("chat was deleted", CHAT_GONE),
    ("chat not found", CHAT_NOT_FOUND),
    ("peer_id_invalid", CHAT_NOT_FOUND),
    ("not enough rights", NO_RIGHTS),
    ("need administrator rights", NO_RIGHTS),
    ("chat_write_forbidden", NO_RIGHTS),
    ("topic_closed", TOPIC_CLOSED),
    ("topic_deleted", TOPIC_CLOSED),
)
BY_CODE = {
    # A malformed token is no path that Telegram knows.
    404: UNAUTHORIZED,
    # Without one of the sentences above it is about this chat, not about the token.
    403: Meaning(Verdict.FAILED, "forbidden"),
}


@dataclass(slots=True)
class Place:
    """Where the parts of a message go; what an attempt learns of it counts for the next part."""

    chat_id: str
    thread_id: str
    is_home: bool
    moved: dict[str, str] | None = None  # {"field", "from", "to"}: the group became another


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply of the Bot API, whose body says more than its status."""

    reply: Reply
    ok: bool
    code: int
    description: str
    parameters: dict[str, Any]
    result: dict[str, Any]


class Telegram(Sender):
    """Sends as HTML, and as plain text what Telegram cannot read as such."""

    kind = "telegram"
    label = "Telegram"
    summary = gettext_lazy("Sends messages to a chat, a group or a forum topic, as a bot.")
    check_calls = gettext_lazy(
        "getMe is called with the bot's token, and getChat for the home chat. Nothing is sent."
    )
    max_length = 4096
    unit = Unit.UTF16
    default_api_base = "https://api.telegram.org"

    class Config(forms.Form):
        bot_token = SecretField(
            label=gettext_lazy("Bot token"),
            validators=[
                RegexValidator(
                    TOKEN.pattern + r"\Z",
                    gettext_lazy("A bot token looks like 123456789:AA… (from @BotFather)."),
                )
            ],
            help_text=gettext_lazy("From @BotFather."),
        )
        api_base = ApiBaseField()

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("Chat"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A(?:{CHAT_ID.pattern})\Z",
                    gettext_lazy("A chat is a number (groups begin with -) or an @name."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy(
                "Where messages go when a route names no chat_id: a number, or @name of a "
                "public group or channel."
            ),
        )
        message_thread_id = forms.CharField(
            label=gettext_lazy("Topic"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{THREAD_ID.pattern}\Z", gettext_lazy("A topic is a positive number.")
                )
            ],
            help_text=gettext_lazy("The number of a topic, if the chat is a forum."),
        )

    def send(self, message: Message) -> Outcome:
        """Send the text to the chat of the target or the home, in parts if it is long."""
        place = self._place(message)
        if isinstance(place, Outcome):
            return place
        parts = split(message.text, self.max_length, self.unit)
        if not parts:
            return no_text()
        wire = Wire(self)
        return send_parts(
            wire, message, parts, lambda _number, text: self._send_part(wire, place, text)
        )

    def check(self) -> Check:
        """Call getMe, and getChat for the home chat."""
        wire = Wire(self)
        try:
            me = self._call(wire, "getMe", {})
            if not me.ok:
                return Check(False, wire.reason(self._failure(me)))
            found = _("The bot is @%s.") % wire.clean(str(me.result.get("username", "?")))
            home = value_of(self.home, "chat_id")
            if not home:
                return Check(True, found + " " + _("There is no home chat."))
            chat = self._call(wire, "getChat", {"chat_id": home})
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if not chat.ok:
            why = wire.reason(self._failure(chat))
            return Check(False, found + " " + _("Its home chat cannot be used: %s") % why)
        name = chat.result.get("title") or chat.result.get("username") or home
        return Check(True, found + " " + _("The home chat is %s.") % wire.clean(str(name)))

    def _place(self, message: Message) -> Place | Outcome:
        """Return where the message goes; a failure if that is nowhere or no chat."""
        # message_thread_id goes before thread_id (spec 001, forum topics).
        thread_id = value_of(message.target, "message_thread_id") or value_of(
            message.target, "thread_id"
        )
        chat_id = value_of(message.target, "chat_id")
        home = value_of(self.home, "chat_id")
        if not chat_id:
            chat_id = home
            # The home's topic is one of the home chat; elsewhere its number means another.
            thread_id = thread_id or value_of(self.home, "message_thread_id")
        if not chat_id:
            return no_destination("chat_id")
        if not CHAT_ID.fullmatch(chat_id):
            return bad_target("chat_id", chat_id)
        if thread_id and not THREAD_ID.fullmatch(thread_id):
            return bad_target("message_thread_id", thread_id)
        place = Place(chat_id, "" if thread_id == GENERAL_TOPIC else thread_id, chat_id == home)
        moved = message.progress.get("moved")
        if moved and moved.get("from") == chat_id:
            place.chat_id, place.moved = moved["to"], dict(moved)
        return place

    def _send_part(self, wire: Wire, place: Place, text: str) -> Outcome:
        """Send one part; what a changed place or plain text mends is sent again at once."""
        is_html = True
        dropped_thread = ""
        for _try in range(MOST_TRIES):
            answer = self._call(wire, "sendMessage", _letter(place, text, is_html))
            words = answer.description.lower()
            moved_to = _moved_to(answer)
            if moved_to and moved_to != place.chat_id:
                # The group became a supergroup: https://core.telegram.org/bots/api#responseparameters
                first = place.moved["from"] if place.moved else place.chat_id
                place.moved = {"field": "chat_id", "from": first, "to": moved_to}
                place.chat_id = moved_to
            elif "message thread not found" in words and place.thread_id:
                dropped_thread, place.thread_id = place.thread_id, ""
            elif "can't parse entities" in words and is_html:
                is_html = False
            else:
                break
        progress = {"moved": place.moved} if place.moved else {}
        if not answer.ok:
            return replace(self._failure(answer, is_home=place.is_home), progress=progress)
        ids = {"message_id": str(answer.result.get("message_id", ""))}
        if dropped_thread:
            ids["topic_not_found"] = dropped_thread
        return Outcome.delivered(progress=progress, provider_ids=ids)

    def _call(self, wire: Wire, method: str, parameters: dict[str, Any]) -> Answer:
        return _read(
            wire.post(f"{self.api_base}/bot{self.config['bot_token']}/{method}", parameters)
        )

    def _failure(self, answer: Answer, *, is_home: bool = False) -> Outcome:
        """Return what an answer means that is not ok."""
        meaning = _meaning(answer)
        outcome = outcome_of(
            answer.reply, meaning, answer.description, wait=_seconds(answer.parameters)
        )
        if is_home and meaning in OF_THE_CHAT:
            return replace(outcome, faults_channel=True)
        return outcome


def _letter(place: Place, text: str, is_html: bool) -> dict[str, Any]:
    """Return the parameters of sendMessage."""
    letter: dict[str, Any] = {
        "chat_id": place.chat_id,
        "text": to_telegram_html(text) if is_html else text,
        "link_preview_options": {"is_disabled": True},
    }
    if is_html:
        letter["parse_mode"] = "HTML"
    if place.thread_id:
        letter["message_thread_id"] = int(place.thread_id)
    return letter


def _read(reply: Reply) -> Answer:
    """Return a reply taken apart; a 200 is ok only if the body says so too."""
    body = reply.json()
    body = body if isinstance(body, dict) else {}
    code = body.get("error_code")
    result, parameters = body.get("result"), body.get("parameters")
    return Answer(
        reply=reply,
        ok=reply.status == 200 and body.get("ok") is True,
        code=code if isinstance(code, int) else reply.status,
        description=str(body.get("description", "")),
        parameters=parameters if isinstance(parameters, dict) else {},
        result=result if isinstance(result, dict) else {},
    )


def _meaning(answer: Answer) -> Meaning:
    if answer.code == 200:
        return BAD_REPLY
    if answer.code == 429:
        return RATE_LIMITED
    if answer.code in (400, 403):
        words = answer.description.lower()
        for part, meaning in WORDS:
            if part in words:
                return meaning
        if answer.code == 400:
            return REFUSED
    return BY_CODE.get(answer.code) or meaning_of(answer.code)


def _moved_to(answer: Answer) -> str:
    """Return the id of the chat that this one became; empty if it did not."""
    moved = answer.parameters.get("migrate_to_chat_id")
    text = str(moved) if moved is not None and not answer.ok else ""
    return text if CHAT_ID.fullmatch(text) else ""


def _seconds(parameters: dict[str, Any]) -> float | None:
    wait = parameters.get("retry_after")
    if not isinstance(wait, int | float) or isinstance(wait, bool):
        return None
    return float(min(wait, LONGEST_WAIT))
