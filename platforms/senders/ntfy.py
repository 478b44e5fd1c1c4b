"""ntfy: notifications to whoever has subscribed to a topic, on ntfy.sh or a server of one's own.

https://docs.ntfy.sh/publish/#publish-as-json
"""

import re
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Policy, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from platforms.coded import Answer, meaning_in, read
from platforms.fields import OutboundURLField, SecretField
from platforms.parts import send_parts
from platforms.places import place_of
from platforms.replies import RATE_LIMITED, UNAUTHORIZED, Meaning, outcome_of
from platforms.sender import Check, Sender
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import Wire

TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
TOKEN = re.compile(r"tk_[A-Za-z0-9_]{20,64}", re.ASCII)
PRIORITY = re.compile(r"[1-5]")
TITLE_LENGTH = 150  # characters
QUOTA_WAIT = 3600.0  # seconds: it is of a day, and begins anew at midnight
# What JSON writes in six bytes; the server takes no more than twice the text's.
CONTROLS = re.compile(r"[\x01-\x08\x0b-\x1f\x7f]")

NO_SUBSCRIBER = Meaning(Verdict.FAILED, "no_subscriber")
WRONG_ADDRESS = Meaning(Verdict.FAILED, "not_found", faults_channel=True)
QUOTA = 42908

# https://github.com/binwiederhier/ntfy/blob/main/server/errors.go
CODES = {
    **dict.fromkeys((42901, 42904, QUOTA), RATE_LIMITED),
    42909: UNAUTHORIZED,  # shut out after too many failed logins
    40401: WRONG_ADDRESS,
    50701: NO_SUBSCRIBER,
}


class Ntfy(Sender):
    """Publishes Markdown; apps that do not render it show it as it is."""

    kind = "ntfy"
    label = "ntfy"
    summary = gettext_lazy("Sends notifications to a topic, on ntfy.sh or your own server.")
    check_calls = gettext_lazy("The account of the token is read. Nothing is sent.")
    max_length = 3900  # a message has 4096; escaped, it must fit into a body of twice as many
    unit = Unit.BYTES
    policy = Policy.LAN
    addresses = ("url",)
    advanced = ()

    class Config(forms.Form):
        url = OutboundURLField(
            label=gettext_lazy("Server"),
            policy=Policy.LAN,
            initial="https://ntfy.sh",
            help_text=gettext_lazy("ntfy.sh, or your own server. The token goes there."),
        )
        token = SecretField(
            label=gettext_lazy("Access token"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{TOKEN.pattern}\Z",
                    gettext_lazy("An access token begins with tk_."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy("For topics that are protected: Account → Access tokens."),
        )

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("Topic"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{TOPIC.pattern}\Z",
                    gettext_lazy("A topic has up to 64 letters, digits, - and _."),
                )
            ],
            help_text=gettext_lazy(
                "Where messages go when a route names no chat_id. Whoever knows the name of a "
                "topic that is not protected can read it."
            ),
        )

    @property
    def api_base(self) -> str:
        """Return the address of the server."""
        return str(self.config.get("url") or super().api_base).rstrip("/")

    def send(self, message: Message) -> Outcome:
        """Publish the text to the topic of the target or the home, in parts if it is long."""
        topic = place_of(message, self.home).chat
        if not topic:
            return no_destination("chat_id")
        if not TOPIC.fullmatch(topic):
            return bad_target("chat_id", topic)
        priority = value_of(message.target, "priority")
        if priority and not PRIORITY.fullmatch(priority):
            return bad_target("priority", priority)
        parts = split(CONTROLS.sub("", message.text), self.max_length, self.unit)
        if not parts:
            return no_text()
        letter: dict[str, Any] = {"topic": topic, "markdown": True}
        if title := value_of(message.target, "title")[:TITLE_LENGTH]:
            letter["title"] = title
        if priority:
            letter["priority"] = int(priority)
        wire = Wire(self)

        def send_part(_number: int, text: str) -> Outcome:
            url = f"{self.api_base}/"
            answer = _read(wire.post(url, {**letter, "message": text}, self._login()))
            if answer.reply.status == 200 and answer.body.get("event") == "message":
                return Outcome.delivered(provider_ids={"id": str(answer.body.get("id", ""))})
            return _failure(answer)

        return send_parts(wire, message, parts, send_part)

    def check(self) -> Check:
        """Read the account of the token, or what strangers have without one."""
        wire = Wire(self)
        try:
            answer = _read(wire.call("GET", f"{self.api_base}/v1/account", self._login()))
        except OutboundError as error:
            return Check(False, wire.reason(error))
        name = answer.body.get("username")
        if answer.reply.status != 200 or not isinstance(name, str):
            return Check(False, wire.reason(_failure(answer)))
        if not self.config.get("token"):
            return Check(True, _("The server answers. Protected topics want an access token."))
        return Check(True, _("The token is of %s.") % wire.clean(name))

    def _login(self) -> dict[str, str]:
        token = self.config.get("token")
        return {"Authorization": f"Bearer {token}"} if token else {}


def _read(reply: Reply) -> Answer:
    return read(reply, ("code",), ("error",))


def _failure(answer: Answer) -> Outcome:
    """Return what an answer means that is not a success."""
    wait = QUOTA_WAIT if answer.code == QUOTA else None
    return outcome_of(answer.reply, meaning_in(CODES, answer), answer.words, wait=wait)
