"""WhatsApp: messages to people, through Meta's Cloud API.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
"""

import re
from collections.abc import Hashable
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
from platforms.incoming import no_credential
from platforms.markup import CODE, HEADING, LINK, SPANS, STASHED
from platforms.parts import send_parts
from platforms.places import Place, place_of
from platforms.plain import to_plain
from platforms.replies import (
    BAD_REPLY,
    RATE_LIMITED,
    REFUSED,
    SERVER_ERROR,
    UNAUTHORIZED,
    Meaning,
    meaning_of,
    outcome_of,
    retry_after,
)
from platforms.sender import Check, Sender
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import Wire

VERSION = "v24.0"  # of the API; each lives for about two years
PHONE = re.compile(r"\+?[1-9]\d{6,14}", re.ASCII)
MESSAGE_ID = re.compile(r"wamid\.[\w+/=-]{1,200}", re.ASCII)
PARAMETER_LIMIT = 1024  # characters of a template's variable
# To one person: 1 in 6 seconds, and a burst that is paid back (developers.facebook.com, pair rate).
PAIR_RATE = pacing.Rate(1 / 6, 20)
SPAM_WAIT = 3600.0  # seconds: "hours", of which this is the longest wait there is
CREDENTIAL_CODES = range(200, 300)  # permissions, by Meta's own numbering

# Bold and the others stand under these until the rest is done: a star once made would pass for
# Markdown's italics.
MARKS = {"b": ("\ue002", "*"), "i": ("\ue003", "_"), "s": ("\ue004", "~")}
PRIVATE = re.compile("[\ue000-\ue004]")

PERSON = Meaning(Verdict.FAILED, "person_unreachable")
NO_RIGHTS = Meaning(Verdict.FAILED, "forbidden", faults_channel=True)
WINDOW_CLOSED = Meaning(Verdict.FAILED, "window_closed")
BAD_TEMPLATE = Meaning(Verdict.FAILED, "bad_template", faults_channel=True)
OUTSIDE_WINDOW, SPAM, PAIR = 131047, 131048, 131056

# https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
CODES = {
    **dict.fromkeys((4, 80007, 130429, SPAM, PAIR, 133016), RATE_LIMITED),
    **dict.fromkeys((1, 2, 131000, 131016, 131057), SERVER_ERROR),
    **dict.fromkeys((0, 190), UNAUTHORIZED),
    **dict.fromkeys((3, 10, 33, 368, 131005, 131031, 131042, 133010), NO_RIGHTS),
    OUTSIDE_WINDOW: WINDOW_CLOSED,
    **dict.fromkeys((131021, 131026, 131030, 131049, 131050), PERSON),
    **dict.fromkeys((100, 131008, 131009, 131051, 131052, 131053), REFUSED),
    **dict.fromkeys((*range(132000, 132015),), REFUSED),
    **dict.fromkeys((132015, 132016), BAD_TEMPLATE),  # paused, disabled
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply; Meta asks to judge by ``code`` and not by the status. None where it has none."""

    reply: Reply
    code: int | None
    words: str
    message: dict[str, Any]  # the one that was taken

    @property
    def ok(self) -> bool:
        """Whether WhatsApp has taken the message."""
        return self.reply.status == 200 and self.code is None and bool(self.message.get("id"))


class WhatsApp(Sender):
    """Sends text, and outside the 24 hours after a person's last message a template of yours."""

    kind = "whatsapp"
    label = "WhatsApp"
    summary = gettext_lazy("Sends messages to people, from a business number at Meta.")
    check_calls = gettext_lazy("The business number is read. Nothing is sent.")
    max_length = 4096
    unit = Unit.UTF16
    default_api_base = "https://graph.facebook.com"
    advanced = ("api_version", "api_base")

    class Config(forms.Form):
        access_token = SecretField(
            label=gettext_lazy("Access token"),
            min_length=20,
            help_text=gettext_lazy(
                "Of a system user, without an end, with whatsapp_business_messaging."
            ),
        )
        phone_number_id = forms.CharField(
            label=gettext_lazy("Phone number ID"),
            validators=[
                RegexValidator(
                    r"\A[0-9]{10,20}\Z", gettext_lazy("It is a long number, and not the phone's.")
                )
            ],
            help_text=gettext_lazy("Of the number to send from: WhatsApp → API Setup."),
        )
        template = forms.CharField(
            label=gettext_lazy("Template for closed windows"),
            required=False,
            validators=[
                RegexValidator(
                    r"\A[a-z0-9_]{1,512}\Z", gettext_lazy("Small letters, digits and _.")
                )
            ],
            help_text=gettext_lazy(
                "With one variable in its body. When a person has not written for 24 hours, the "
                "text goes out in it. Empty: the delivery fails."
            ),
        )
        template_language = forms.CharField(
            label=gettext_lazy("The template's language"),
            required=False,
            initial="en_US",
            validators=[
                RegexValidator(
                    r"\A[a-z]{2,3}(_[A-Z]{2,4})?\Z", gettext_lazy("Like en_US or zh_CN.")
                )
            ],
        )
        api_version = forms.CharField(
            label=gettext_lazy("API version"),
            required=False,
            initial=VERSION,
            validators=[RegexValidator(r"\Av[0-9]{2}\.[0-9]\Z", gettext_lazy("Like v24.0."))],
        )
        api_base = ApiBaseField()

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("To"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{PHONE.pattern}\Z",
                    gettext_lazy("Write the number with its country, without spaces."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy("Where messages go when a route names no chat_id: +1555…"),
        )

    def send(self, message: Message) -> Outcome:
        """Send the text to the person of the target or the home, in parts if it is long."""
        if not self.config.get("access_token"):
            return no_credential()
        place = place_of(message, self.home)
        if not place.chat:
            return no_destination("chat_id")
        if not PHONE.fullmatch(place.chat):
            return bad_target("chat_id", place.chat)
        if place.thread and not MESSAGE_ID.fullmatch(place.thread):
            return bad_target("thread_id", place.thread)
        parts = split(message.text, self.max_length, self.unit)
        if not parts:
            return no_text()
        wire = Wire(self)
        return send_parts(
            wire,
            message,
            parts,
            lambda number, text: self._send_part(wire, message, place, number, text),
        )

    def check(self) -> Check:
        """Read the business number."""
        if not self.config.get("access_token"):
            return Check(False, no_credential().error)
        wire = Wire(self)
        url = f"{self._number}?fields=display_phone_number,verified_name,quality_rating"
        try:
            reply = wire.call("GET", url, self._login())
        except OutboundError as error:
            return Check(False, wire.reason(error))
        body = reply.json()
        if reply.status != 200 or not isinstance(body, dict) or not body.get("id"):
            return Check(False, wire.reason(_failure(_read(reply), 1)))
        number = wire.clean(str(body.get("display_phone_number", "?")))
        name = wire.clean(str(body.get("verified_name", "?")))
        return Check(
            True, _("The number is %(number)s, %(name)s.") % {"number": number, "name": name}
        )

    @property
    def _number(self) -> str:
        version = value_of(self.config, "api_version") or VERSION
        return f"{self.api_base}/{version}/{value_of(self.config, 'phone_number_id')}"

    def _login(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.config['access_token']}"}

    def _send_part(
        self, wire: Wire, message: Message, place: Place, number: int, text: str
    ) -> Outcome:
        """Send one part; where the window is closed, in the channel's template if it has one."""
        turn: Hashable = (message.id, number)
        bucket = pacing.key_of(self.kind, self._number, place.chat.lstrip("+"))
        if later := pacing.put_off(bucket, turn, PAIR_RATE):
            return later
        content = {"type": "text", "text": {"body": to_whatsapp(text), "preview_url": False}}
        answer = self._post(wire, message, place, content)
        if answer.code == OUTSIDE_WINDOW and self.config.get("template"):
            content = {"type": "template", "template": self._template(text)}
            answer = self._post(wire, message, place, content)
        if answer.ok:
            names = ("id", "message_status")
            ids = {name: str(answer.message[name]) for name in names if answer.message.get(name)}
            return Outcome.delivered(provider_ids=ids)
        outcome = _failure(answer, message.number)
        # The home's trouble is the channel's.
        at_home = place.is_home and outcome.error_class == PERSON.error_class
        return replace(outcome, faults_channel=True) if at_home else outcome

    def _post(self, wire: Wire, message: Message, place: Place, content: dict[str, Any]) -> Answer:
        letter = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": place.chat,
            **content,
            # Comes back in the status webhooks.
            "biz_opaque_callback_data": str(message.id),
        }
        if place.thread:
            letter["context"] = {"message_id": place.thread}
        return _read(wire.post(f"{self._number}/messages", letter, self._login()))

    def _template(self, text: str) -> dict[str, Any]:
        """Return the channel's template with the text as its variable, which knows no lines."""
        words = " ".join(to_plain(text).split())
        if len(words) > PARAMETER_LIMIT:
            words = words[: PARAMETER_LIMIT - 1] + "…"
        parameters = [{"type": "text", "text": words}]
        return {
            "name": self.config["template"],
            "language": {"code": self.config.get("template_language") or "en_US"},
            "components": [{"type": "body", "parameters": parameters}],
        }


def to_whatsapp(text: str) -> str:
    """Return Markdown in WhatsApp's own marks; it is never longer.

    https://faq.whatsapp.com/539178204879377
    """
    stash: list[str] = []

    def aside(piece: str) -> str:
        stash.append(piece)
        return f"\ue000{len(stash) - 1}\ue001"

    text = PRIVATE.sub("", text)
    text = CODE.sub(lambda code: aside(_code(code)), text)
    text = LINK.sub(lambda link: aside(f"{link[1]} {link[2]}"), text)
    text = HEADING.sub(_heading, text)
    for pattern, tag in SPANS:
        mark = MARKS[tag][0]
        text = pattern.sub(rf"{mark}\1{mark}", text)
    for mark, whatsapps in MARKS.values():
        text = text.replace(mark, whatsapps)
    for _round in range(2):  # a link's text may hold code
        text = STASHED.sub(lambda found: stash[int(found[1])], text)
    return text


def _code(code: re.Match[str]) -> str:
    if span := code["double"] or code["single"]:
        return f"`{span}`"
    block = code["block"].rstrip("\n")
    return f"```{block}```" if block else ""


def _heading(heading: re.Match[str]) -> str:
    title = heading[1].rstrip("# \t").replace("**", "")
    mark = MARKS["b"][0]
    return f"{mark}{title}{mark}" if title else heading[0]


def _read(reply: Reply) -> Answer:
    body = reply.json()
    body = body if isinstance(body, dict) else {}
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    code = error.get("code")
    is_number = isinstance(code, int) and not isinstance(code, bool)
    data = error.get("error_data")
    details = data.get("details", "") if isinstance(data, dict) else ""
    said = " ".join(str(word) for word in (code, error.get("message"), details) if word)
    taken = body.get("messages")
    first = taken[0] if isinstance(taken, list) and taken else None
    return Answer(
        reply, code if is_number else None, said, first if isinstance(first, dict) else {}
    )


def _failure(answer: Answer, tries: int) -> Outcome:
    """Return what an answer means that is not a success."""
    meaning = _meaning(answer)
    asked = retry_after(answer.reply.headers)
    wait = None
    if answer.code == SPAM:
        wait = asked or SPAM_WAIT
    elif answer.code == PAIR:
        wait = asked or 4.0 ** min(tries, 6)  # as Meta advises
    return outcome_of(answer.reply, meaning, answer.words, wait=wait)


def _meaning(answer: Answer) -> Meaning:
    if answer.code is not None:
        if answer.code in CODES:
            return CODES[answer.code]
        if answer.code in CREDENTIAL_CODES:
            return NO_RIGHTS
    if answer.reply.status == 200:
        return BAD_REPLY if answer.code is None else REFUSED
    return meaning_of(answer.reply.status)
