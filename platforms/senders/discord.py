"""Discord: the REST API as a bot, or an incoming webhook.

https://discord.com/developers/docs/resources/message#create-message
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from deliveries.retry_after import asked_wait, bounded
from platforms import pacing
from platforms.fields import ApiBaseField, SecretField
from platforms.incoming import IncomingWebhookField, TokenOrWebhook, no_credential, refuse_both
from platforms.parts import send_parts
from platforms.places import Place, place_of
from platforms.replies import (
    BAD_REPLY,
    FORBIDDEN,
    RATE_LIMITED,
    REFUSED,
    TEMPORARY,
    UNAUTHORIZED,
    Meaning,
    meaning_of,
    outcome_of,
    retry_after,
)
from platforms.sender import Check
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import Wire

TOKEN = re.compile(r"[\w-]{20,}\.[\w-]{6,}\.[\w-]{20,}", re.ASCII)
SNOWFLAKE = re.compile(r"\d{17,20}", re.ASCII)
CHAT = re.compile(r"(?:user:)?\d{17,20}", re.ASCII)
# Discord asks for this form and turns others away: docs/reference, user agent.
USER_AGENT = "DiscordBot (Hermes webhook gateway, 0.1)"
SUPPRESS_EMBEDS = 4  # message flags
NONCE_LENGTH = 25

GONE = Meaning(Verdict.FAILED, "chat_gone")
CANNOT_DM = Meaning(Verdict.FAILED, "cannot_dm")
WRONG_CHANNEL = Meaning(Verdict.FAILED, "wrong_channel")
# What has come to be of the channel, not of the message; the home's trouble is the channel's.
OF_THE_PLACE = frozenset(meaning.error_class for meaning in (GONE, CANNOT_DM, WRONG_CHANNEL))

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
CODES = {
    # Slow mode and other write limits.
    **dict.fromkeys((20016, 20028, 20029, 40003, 40062), RATE_LIMITED),
    # Switched off for a while, overloaded.
    **dict.fromkeys((40004, 40006, 130000), TEMPORARY),
    **dict.fromkeys((50027, 10015), UNAUTHORIZED),
    # Unknown channel, guild, message, user.
    **dict.fromkeys((10003, 10004, 10008, 10013, 50033), GONE),
    **dict.fromkeys((50007, 50278), CANNOT_DM),
    **dict.fromkeys((50001, 50013, 160002), FORBIDDEN),
    # A category, a voice channel, a forum, an archived or locked thread.
    **dict.fromkeys((50008, 50024, 40058, 40067, 50083, 160005), WRONG_CHANNEL),
    **dict.fromkeys((220001, 220002, 220003, 220004), WRONG_CHANNEL),
    # Empty, too large, a bad form, moderated.
    **dict.fromkeys((50006, 50035, 50109, 40005, 200000, 200001, 240000), REFUSED),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply of the REST API, with its body if that is a JSON object."""

    reply: Reply
    body: dict[str, Any]

    @property
    def id(self) -> str:
        """Return the id of the message or channel that came back; empty if none did."""
        found = self.body.get("id")
        return found if self.reply.status in (200, 201) and isinstance(found, str) else ""


class Discord(TokenOrWebhook):
    """Sends Markdown as it is; nothing in it calls anybody."""

    kind = "discord"
    label = "Discord"
    summary = gettext_lazy("Sends messages to a channel, a thread or a person.")
    check_calls = gettext_lazy(
        "The bot's account is read, and the home channel; of a webhook, its name. Nothing is sent."
    )
    max_length = 2000  # which unit is not said, so the stricter
    unit = Unit.UTF16
    default_api_base = "https://discord.com/api/v10"
    token_name: ClassVar[str] = "bot_token"  # noqa: S105  a name

    class Config(forms.Form):
        bot_token = SecretField(
            label=gettext_lazy("Bot token"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{TOKEN.pattern}\Z",
                    gettext_lazy("A bot token has three parts with dots between them."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy("From the page “Bot” of the application."),
        )
        webhook_url = IncomingWebhookField(
            path=r"(?:/.*)?/api(?:/v\d+)?/webhooks/\d{17,20}/[\w-]{60,}",
            help_text=gettext_lazy("Instead of a token: https://discord.com/api/webhooks/…"),
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
                    rf"\A{CHAT.pattern}\Z",
                    gettext_lazy("A channel is a number; a person is user: and a number."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy(
                "The id of a channel or a thread (developer mode, “Copy ID”), or user: and the "
                "id of a person. A webhook has its own."
            ),
        )
        thread_id = forms.CharField(
            label=gettext_lazy("Thread"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{SNOWFLAKE.pattern}\Z",
                    gettext_lazy("A thread is a number."),
                    flags=re.ASCII,
                )
            ],
        )

    def send(self, message: Message) -> Outcome:
        """Send the text to the channel of the target or the home, in parts if it is long."""
        if not (self.token or self.webhook_url):
            return no_credential()
        place = place_of(message, self.home)
        if problem := self._problem(place):
            return problem
        parts = split(message.text, self.max_length, self.unit)
        if not parts:
            return no_text()
        wire = Wire(self)
        return send_parts(wire, message, parts, self._road(wire, place, message))

    def check(self) -> Check:
        """Read the bot's account and the home channel, or the webhook."""
        wire = Wire(self)
        if not (self.token or self.webhook_url):
            return Check(False, no_credential().error)
        try:
            if self.webhook_url:
                me = self._call(wire, "GET", self.webhook_url)
            else:
                me = self._call(wire, "GET", f"{self.api_base}/users/@me")
            if not me.id:
                return Check(False, wire.reason(_failure(me)))
            name = me.body.get("username") or me.body.get("name") or "?"
            found = wire.clean(_("Signed in as %s.") % name)
            home = value_of(self.home, "thread_id") or value_of(self.home, "chat_id")
            if self.webhook_url or not home or home.startswith("user:"):
                return Check(True, found)
            channel = self._call(wire, "GET", f"{self.api_base}/channels/{home}")
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if not channel.id:
            why = wire.reason(_failure(channel))
            return Check(False, found + " " + _("Its home channel cannot be used: %s") % why)
        name = channel.body.get("name") or home
        return Check(True, found + " " + wire.clean(_("The home channel is %s.") % name))

    def _problem(self, place: Place) -> Outcome | None:
        if not self.webhook_url:
            if not (place.chat or place.thread):
                return no_destination("chat_id")
            if place.chat and not CHAT.fullmatch(place.chat):
                return bad_target("chat_id", place.chat)
        if place.thread and not SNOWFLAKE.fullmatch(place.thread):
            return bad_target("thread_id", place.thread)
        return None

    def _road(self, wire: Wire, place: Place, message: Message) -> Callable[[int, str], Outcome]:
        """Return what sends one part: to the webhook, or as the bot."""
        credential = self.token or self.webhook_url
        everywhere = pacing.key_of(self.kind, credential)
        here = pacing.key_of(self.kind, credential, place.thread or place.chat)
        addresses = self._addresses(wire, place)

        def send_part(number: int, text: str) -> Outcome:
            for bucket in (everywhere, here):
                if wait := pacing.put_off(bucket, (message.id, number)):
                    return wait
            address = next(addresses)
            if isinstance(address, Outcome):
                return address
            answer = self._call(wire, "POST", address, self._letter(message, number, text))
            _keep_pace(answer, everywhere, here)
            if answer.id:
                return Outcome.delivered(provider_ids={"message_id": answer.id})
            outcome = _failure(answer)
            is_fault = place.is_home and outcome.error_class in OF_THE_PLACE
            return replace(outcome, faults_channel=True) if is_fault else outcome

        return send_part

    def _addresses(self, wire: Wire, place: Place) -> Iterator[str | Outcome]:
        """Give the address to post each part to; a person's channel is asked for once."""
        # A thread is a channel, and has its number.
        channel = place.thread or place.chat
        if self.webhook_url:
            # Without wait=true the answer is an empty 204, whatever comes of it.
            thread = {"thread_id": place.thread} if place.thread else {}
            address = f"{self.webhook_url}?{urlencode({'wait': 'true', **thread})}"
        elif channel.startswith("user:"):
            person = {"recipient_id": channel.removeprefix("user:")}
            opened = self._call(wire, "POST", f"{self.api_base}/users/@me/channels", person)
            if not opened.id:
                yield _failure(opened)
                return
            address = f"{self.api_base}/channels/{opened.id}/messages"
        else:
            address = f"{self.api_base}/channels/{channel}/messages"
        while True:
            yield address

    def _letter(self, message: Message, number: int, text: str) -> dict[str, Any]:
        letter: dict[str, Any] = {
            "content": text,
            "allowed_mentions": {"parse": []},  # no @everyone out of a payload
            "flags": SUPPRESS_EMBEDS,
        }
        if not self.webhook_url:
            letter |= {"nonce": _nonce(f"{message.id}:{number}"), "enforce_nonce": True}
        return letter

    def _call(
        self, wire: Wire, method: str, url: str, document: Mapping[str, Any] | None = None
    ) -> Answer:
        headers = {"User-Agent": USER_AGENT}
        if not self.webhook_url:
            headers["Authorization"] = f"Bot {self.token}"
        if document is not None:
            reply = wire.post(url, document, headers)
        else:
            reply = wire.call(method, url, headers)
        body = reply.json()
        return Answer(reply, body if isinstance(body, dict) else {})


def _nonce(key: str) -> str:
    """Return what lets Discord recognise a repeat within a few minutes."""
    return base64.b32encode(hashlib.sha256(key.encode()).digest()).decode()[:NONCE_LENGTH]


def _keep_pace(answer: Answer, everywhere: str, here: str) -> None:
    """Let the next ones wait when Discord says that its limit is reached.

    https://discord.com/developers/docs/topics/rate-limits
    """
    headers = answer.reply.headers
    is_global = headers.get("X-RateLimit-Scope", "") == "global" or answer.body.get("global")
    if answer.reply.status == 429 and is_global:
        pacing.close(everywhere, _wait(answer) or retry_after(headers) or 1.0)
    elif headers.get("X-RateLimit-Remaining", "") == "0":
        pacing.close(here, asked_wait(headers.get("X-RateLimit-Reset-After", "")) or 1.0)


def _failure(answer: Answer) -> Outcome:
    """Return what an answer means that brought no message."""
    code = answer.body.get("code")
    words = answer.body.get("message")
    detail = words if isinstance(words, str) else ""
    if isinstance(code, int) and code:
        detail = f"{detail} ({code})".strip()
    return outcome_of(answer.reply, _meaning(answer, code), detail, wait=_wait(answer))


def _meaning(answer: Answer, code: Any) -> Meaning:
    status = answer.reply.status
    if status == 429:
        return RATE_LIMITED
    if status == 401:
        # Ten thousand of these in ten minutes ban the address: nothing may outweigh it.
        return UNAUTHORIZED
    if isinstance(code, int) and code in CODES and status != 200:
        return CODES[code]
    return BAD_REPLY if 200 <= status < 300 else meaning_of(status)


def _wait(answer: Answer) -> float | None:
    wait = answer.body.get("retry_after")
    if not isinstance(wait, int | float) or isinstance(wait, bool):
        return None
    return bounded(float(min(wait, 1e6)))
