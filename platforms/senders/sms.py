"""SMS: text messages to phones, through Twilio.

https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource
"""

import base64
import re
from dataclasses import replace
from urllib.parse import urlencode

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
from platforms.places import place_of
from platforms.plain import to_plain
from platforms.replies import (
    BAD_REPLY,
    RATE_LIMITED,
    REFUSED,
    SERVER_ERROR,
    UNAUTHORIZED,
    Meaning,
    outcome_of,
)
from platforms.sender import Check, Sender
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import Wire

ACCOUNT = r"AC[0-9a-f]{32}"
PHONE = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
SERVICE = re.compile(r"MG[0-9a-f]{32}")
SENDER = (
    rf"(?:{PHONE.pattern}|[0-9]{{3,8}}|{SERVICE.pattern}"
    r"|(?=.*[A-Za-z])[A-Za-z0-9 +&_-]{1,11})"
)
MOST_PARTS = 3  # each is up to eleven segments, and each segment costs
# What a phone shows as well in GSM-7, of which a segment holds 160 characters and not 70.
GSM = str.maketrans(
    {
        "\u00a0": " ",
        "\u202f": " ",
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": "...",
        "\u2022": "-",
    }
)

NUMBER_GONE = Meaning(Verdict.FAILED, "number_unreachable")
BAD_SENDER = Meaning(Verdict.FAILED, "bad_sender", faults_channel=True)
QUEUE_FULL = Meaning(Verdict.RETRY, "temporary")

# https://www.twilio.com/docs/api/errors
CODES = {
    **dict.fromkeys((20429, 14107), RATE_LIMITED),
    **dict.fromkeys((21611, 30001, 30003, 30008, 30017), QUEUE_FULL),
    **dict.fromkeys((20500, 20503), SERVER_ERROR),
    **dict.fromkeys((20003, 20005, 20008, 20404), UNAUTHORIZED),
    **dict.fromkeys((21212, 21408, 21603, 21606, 21608, 21659, 21703, 21704, 30034), BAD_SENDER),
    **dict.fromkeys((21211, 21610, 21612, 21614, 30004, 30005, 30006), NUMBER_GONE),
    **dict.fromkeys((21602, 21617, 21619, 21658, 30007), REFUSED),
}
UNREACHABLE_PHONE = 30003  # switched off, perhaps: worth a second try, not more
REFUSED_STATUSES = ("failed", "undelivered", "canceled")


class Sms(Sender):
    """Queues text messages at Twilio; that a phone got one, Twilio says later, and elsewhere."""

    kind = "sms"
    label = gettext_lazy("SMS (Twilio)")
    summary = gettext_lazy("Sends text messages to phones, through Twilio. Each one costs.")
    check_calls = gettext_lazy("The account is read. Nothing is sent.")
    max_length = 1600
    unit = Unit.UTF16
    default_api_base = "https://api.twilio.com"

    class Config(forms.Form):
        account_sid = forms.CharField(
            label=gettext_lazy("Account SID"),
            validators=[
                RegexValidator(
                    rf"\A{ACCOUNT}\Z", gettext_lazy("An account SID is AC and 32 characters.")
                )
            ],
        )
        api_key_sid = forms.CharField(
            label=gettext_lazy("API key SID"),
            required=False,
            validators=[
                RegexValidator(
                    r"\ASK[0-9a-f]{32}\Z", gettext_lazy("An API key SID is SK and 32 characters.")
                )
            ],
            help_text=gettext_lazy(
                "Better than the auth token, as a key can be revoked by itself. Its secret goes "
                "into the next field. Empty: that is the auth token."
            ),
        )
        auth_token = SecretField(
            label=gettext_lazy("API key's secret, or auth token"),
            validators=[RegexValidator(r"\A\S{32}\Z", gettext_lazy("It has 32 characters."))],
        )
        phone_number = forms.CharField(
            label=gettext_lazy("From"),
            validators=[
                RegexValidator(
                    rf"\A{SENDER}\Z",
                    gettext_lazy("Write +15551234567, a short code, a name, or MG…"),
                )
            ],
            help_text=gettext_lazy(
                "Your number at Twilio (+…), a short code, a name, or a messaging service (MG…)."
            ),
        )
        api_base = ApiBaseField()

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("To"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{PHONE.pattern}\Z",
                    gettext_lazy("Write the number with + and the country, without spaces."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy("Where messages go when a route names no chat_id: +1555…"),
        )

    def send(self, message: Message) -> Outcome:
        """Queue the text for the phone of the target or the home, in up to three parts."""
        if not self.config.get("auth_token"):
            return no_credential()
        place = place_of(message, self.home)
        if not place.chat:
            return no_destination("chat_id")
        if not PHONE.fullmatch(place.chat):
            return bad_target("chat_id", place.chat)
        parts = _parts(to_plain(message.text).translate(GSM))
        if not parts:
            return no_text()
        wire = Wire(self)

        def send_part(number: int, text: str) -> Outcome:
            answer = self._post(wire, place.chat, text)
            if _is_queued(answer):
                ids = {name: str(answer.body.get(name, "")) for name in ("sid", "status")}
                return Outcome.delivered(provider_ids=ids)
            outcome = _failure(answer, message.number)
            # The home's trouble is the channel's.
            at_home = place.is_home and outcome.error_class == NUMBER_GONE.error_class
            return replace(outcome, faults_channel=True) if at_home else outcome

        return send_parts(wire, message, parts, send_part)

    def check(self) -> Check:
        """Read the account."""
        if not self.config.get("auth_token"):
            return Check(False, no_credential().error)
        wire = Wire(self)
        try:
            answer = _read(wire.call("GET", f"{self._account}.json", self._login()))
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if answer.reply.status != 200 or not answer.body.get("status"):
            return Check(False, wire.reason(_failure(answer, 1)))
        status = wire.clean(str(answer.body["status"]))
        if status != "active":
            return Check(False, _("The account is not active: %s.") % status)
        return Check(
            True, _("The account is %s.") % wire.clean(str(answer.body.get("friendly_name")))
        )

    def secrets(self) -> tuple[str, ...]:
        """Return the secret, and the login that is made of it."""
        return (*super().secrets(), self._login()["Authorization"].rpartition(" ")[2])

    @property
    def _account(self) -> str:
        sid = value_of(self.config, "account_sid")
        return f"{self.api_base}/2010-04-01/Accounts/{sid}"

    def _login(self) -> dict[str, str]:
        name = self.config.get("api_key_sid") or self.config.get("account_sid")
        login = base64.b64encode(f"{name}:{self.config.get('auth_token')}".encode()).decode()
        return {"Authorization": f"Basic {login}"}

    def _post(self, wire: Wire, phone: str, text: str) -> Answer:
        sender = str(self.config.get("phone_number", ""))
        name = "MessagingServiceSid" if SERVICE.fullmatch(sender) else "From"
        form = urlencode({"To": phone, name: sender, "Body": text}).encode()
        headers = {**self._login(), "Content-Type": "application/x-www-form-urlencoded"}
        return _read(wire.call("POST", f"{self._account}/Messages.json", headers, form))


def _parts(text: str) -> list[str]:
    """Return the text in at most three parts: each costs."""
    parts = split(text, Sms.max_length, Sms.unit, most=MOST_PARTS)
    # The notice of what was left out, too; its dots fit, as three parts need short numbers.
    return [part.translate(GSM) for part in parts]


def _read(reply: Reply) -> Answer:
    # A message that failed at once says why in other fields.
    return read(reply, ("code", "error_code"), ("message", "error_message"))


def _is_queued(answer: Answer) -> bool:
    sid, status = answer.body.get("sid"), answer.body.get("status")
    return answer.reply.status == 201 and bool(sid) and status not in REFUSED_STATUSES


def _failure(answer: Answer, tries: int) -> Outcome:
    """Return what an answer means that is not a success."""
    meaning = meaning_in(CODES, answer)
    if meaning is BAD_REPLY and answer.body.get("status") in REFUSED_STATUSES:
        meaning = REFUSED
    if answer.code == UNREACHABLE_PHONE and tries > 1:
        meaning = NUMBER_GONE
    return outcome_of(answer.reply, meaning, answer.words)
