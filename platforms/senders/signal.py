"""Signal: messages by a server of one's own, signal-cli's daemon or signal-cli-rest-api.

https://github.com/AsamK/signal-cli/blob/master/man/signal-cli-jsonrpc.5.adoc
https://github.com/bbernhard/signal-cli-rest-api/blob/master/doc/EXAMPLES.md
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Policy, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from deliveries.retry_after import LONGEST_WAIT
from platforms.fields import OutboundURLField, SecretField
from platforms.parts import send_parts
from platforms.places import place_of
from platforms.plain import to_plain
from platforms.replies import (
    BAD_REPLY,
    RATE_LIMITED,
    REFUSED,
    TEMPORARY,
    Meaning,
    meaning_of,
    outcome_of,
)
from platforms.sender import Check, Sender
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import Wire

RPC, REST = "rpc", "rest"
NUMBER = r"\+[1-9]\d{6,14}"
PERSON = re.compile(
    rf"{NUMBER}|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|u:[A-Za-z_]\w{{2,31}}\.\d{{2,9}}",
    re.ASCII,
)
# As signal-cli writes it, with or without a word before, or as signal-cli-rest-api does.
GROUP = re.compile(r"(?:group:)?([A-Za-z0-9+/]{43}=)", re.ASCII)
REST_GROUP = re.compile(r"group\.([A-Za-z0-9+/]{40,80}={0,2})", re.ASCII)

RECEIVER_GONE = Meaning(Verdict.FAILED, "receiver_unreachable")
UNTRUSTED = Meaning(Verdict.FAILED, "untrusted_key", faults_channel=True)
CAPTCHA = Meaning(Verdict.FAILED, "captcha_needed", faults_channel=True)
PRE_KEY = Meaning(Verdict.RETRY, "pre_key")
INTERNAL = Meaning(Verdict.RETRY, "internal_error")
UNKNOWN = Meaning(Verdict.RETRY, "unknown_error")

# What became of the message for each receiver: JsonSendMessageResult of signal-cli.
RESULTS = {
    "NETWORK_FAILURE": TEMPORARY,
    "RATE_LIMIT_FAILURE": RATE_LIMITED,
    "IDENTITY_FAILURE": UNTRUSTED,
    "UNREGISTERED_FAILURE": RECEIVER_GONE,
    "INVALID_PRE_KEY_FAILURE": PRE_KEY,
}
CODES = {
    -1: REFUSED,
    -3: TEMPORARY,
    -4: UNTRUSTED,
    -5: RATE_LIMITED,
    -6: CAPTCHA,
    -32600: REFUSED,
    -32601: REFUSED,
    -32602: REFUSED,
    -32603: INTERNAL,
    -32700: REFUSED,
}
# signal-cli-rest-api says nearly everything with 400, and in signal-cli's words.
WORDS = (
    ("rate limit", RATE_LIMITED),
    ("unregistered", RECEIVER_GONE),
    ("untrusted", UNTRUSTED),
)
# What is worth a few tries, not a whole ladder: how many there are in all.
TRIES = {PRE_KEY.error_class: 3, UNKNOWN.error_class: 2, INTERNAL.error_class: 2}
NO_SUCH_METHOD = -32601  # listAccounts, of a daemon that was started for one account


class Signal(Sender):
    """Sends plain text; a group that gets it in part has got it."""

    kind = "signal"
    addresses = ("http_url",)
    budget = 60.0  # a first send may take this long (facts/channels.md)
    label = "Signal"
    summary = gettext_lazy("Sends messages to people and groups, by a Signal server of your own.")
    check_calls = gettext_lazy("The server is asked for its accounts. Nothing is sent.")
    max_length = 2000  # longer ones become an attachment in Signal's apps
    unit = Unit.BYTES
    policy = Policy.LAN

    class Config(forms.Form):
        http_url = OutboundURLField(
            label=gettext_lazy("Server"),
            policy=Policy.LAN,
            assume_scheme="http",
            help_text=gettext_lazy("Such as http://localhost:8080. It may be in your own network."),
        )
        server = forms.ChoiceField(
            label=gettext_lazy("Kind of server"),
            choices=[(RPC, "signal-cli daemon --http"), (REST, "signal-cli-rest-api")],
            initial=RPC,
            required=False,
        )
        account = forms.CharField(
            label=gettext_lazy("From"),
            validators=[
                RegexValidator(
                    rf"\A{NUMBER}\Z",
                    gettext_lazy("Write the number with + and the country, without spaces."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy("The number that the server is registered or linked with."),
        )
        username = forms.CharField(
            label=gettext_lazy("User name"),
            required=False,
            help_text=gettext_lazy("If a reverse proxy before the server asks for one."),
        )
        password = SecretField(label=gettext_lazy("Password"), required=False, min_length=4)

    advanced = ("username", "password")

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("To"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A(?:{PERSON.pattern}|{GROUP.pattern}|{REST_GROUP.pattern})\Z",
                    gettext_lazy("Write +1555…, u:name.01, a UUID, or a group's ID."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy(
                "Where messages go when a route names no chat_id: a number (+1555…), a user name "
                "(u:name.01), a UUID, or a group's ID as the server lists it."
            ),
        )

    @property
    def api_base(self) -> str:
        """Return the address of the server."""
        return str(self.config.get("http_url") or super().api_base).rstrip("/")

    def send(self, message: Message) -> Outcome:
        """Send the text to the person or group of the target or the home, in parts."""
        place = place_of(message, self.home)
        if not place.chat:
            return no_destination("chat_id")
        if not (PERSON.fullmatch(place.chat) or _group(place.chat)):
            return bad_target("chat_id", place.chat)
        parts = split(to_plain(message.text), self.max_length, self.unit)
        if not parts:
            return no_text()
        wire = Wire(self)
        send = self._by_rest if self._is_rest else self._by_rpc

        def send_part(number: int, text: str) -> Outcome:
            outcome = send(wire, place.chat, text, f"{message.id}:{number}")
            most = TRIES.get(outcome.error_class)
            if outcome.verdict == Verdict.RETRY and most and message.number >= most:
                outcome = replace(outcome, verdict=Verdict.FAILED, retry_after=None)
            # The home's trouble is the channel's.
            at_home = place.is_home and outcome.error_class == RECEIVER_GONE.error_class
            return replace(outcome, faults_channel=True) if at_home else outcome

        return send_parts(wire, message, parts, send_part)

    def check(self) -> Check:
        """Look for the number among the server's accounts."""
        wire = Wire(self)
        try:
            if self._is_rest:
                reply = wire.call("GET", f"{self.api_base}/v1/accounts", self._login())
            else:
                reply = self._rpc(wire, "listAccounts", {}, "check")
        except OutboundError as error:
            return Check(False, wire.reason(error))
        accounts = _accounts(reply)
        account = value_of(self.config, "account")
        if accounts is None:
            return Check(False, wire.reason(_failure(reply)))
        if not accounts:
            return Check(
                True, _("The server is there; it has one account, which it does not name.")
            )
        if account not in accounts:
            return Check(False, _("The server has no account %s.") % account)
        return Check(True, _("The server has the account %s.") % account)

    def secrets(self) -> tuple[str, ...]:
        """Return the password, and the login that is made of it."""
        return (*super().secrets(), *(one.rpartition(" ")[2] for one in self._login().values()))

    @property
    def _is_rest(self) -> bool:
        return self.config.get("server") == REST

    def _login(self) -> dict[str, str]:
        if not self.config.get("password"):
            return {}
        pair = f"{self.config.get('username', '')}:{self.config['password']}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    def _rpc(self, wire: Wire, method: str, params: Mapping[str, Any], name: str) -> Reply:
        call = {"jsonrpc": "2.0", "id": name, "method": method, "params": params}
        return wire.post(f"{self.api_base}/api/v1/rpc", call, self._login())

    def _by_rpc(self, wire: Wire, chat: str, text: str, name: str) -> Outcome:
        group = _group(chat)
        receiver: dict[str, Any] = {"groupId": group} if group else {"recipient": [chat]}
        params = {"account": value_of(self.config, "account"), **receiver, "message": text}
        reply = self._rpc(wire, "send", params, name)
        result = _mapping(_mapping(reply.json()).get("result"))
        if reply.status != 200 or "timestamp" not in result:
            return _failure(reply)
        failed = [one for one in _results(result) if one.get("type") != "SUCCESS"]
        if failed and len(failed) == len(list(_results(result))):
            return _failure(reply)
        ids = {"timestamp": str(result["timestamp"])}
        if failed:
            ids["not_reached"] = str([one.get("type") for one in failed])[:500]
        return Outcome.delivered(provider_ids=ids)

    def _by_rest(self, wire: Wire, chat: str, text: str, _name: str) -> Outcome:
        group = _group(chat)
        receiver = f"group.{base64.b64encode(group.encode()).decode()}" if group else chat
        letter = {
            "number": value_of(self.config, "account"),
            "recipients": [receiver.removeprefix("u:")],
            "message": text,
            "text_mode": "normal",
        }
        reply = wire.post(f"{self.api_base}/v2/send", letter, self._login())
        timestamp = _mapping(reply.json()).get("timestamp")
        if reply.status != 201 or not timestamp:
            return _failure(reply)
        return Outcome.delivered(provider_ids={"timestamp": str(timestamp)})


def _group(chat: str) -> str:
    """Return a group's ID as signal-cli writes it; empty for what is none."""
    if found := GROUP.fullmatch(chat):
        return found[1]
    if found := REST_GROUP.fullmatch(chat):
        try:
            inner = base64.b64decode(found[1], validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return inner if GROUP.fullmatch(inner) else ""
    return ""


def _accounts(reply: Reply) -> list[Any] | None:
    """Return the server's numbers; none if it serves one only, None if it does not say."""
    body = reply.json()
    if reply.status != 200:
        return None
    if isinstance(body, list):
        return body or None
    if _mapping(_mapping(body).get("error")).get("code") == NO_SUCH_METHOD:
        return []
    return [_mapping(one).get("number") for one in _list(_mapping(body).get("result"))] or None


def _failure(reply: Reply) -> Outcome:
    """Return what a reply of either server means that is not a success."""
    body = _mapping(reply.json())
    error = body.get("error")
    if isinstance(error, str):
        return _rest_failure(reply, error, bool(body.get("challenge_tokens")))
    error = _mapping(error)
    code = error.get("code")
    response = _mapping(_mapping(error.get("data")).get("response")) or _mapping(body.get("result"))
    failed = [one for one in _results(response) if one.get("type") != "SUCCESS"]
    if any(one.get("token") for one in failed):
        return outcome_of(reply, CAPTCHA, _("Signal wants a captcha: submitRateLimitChallenge."))
    words = str(error.get("message") or [one.get("type") for one in failed] or "")
    waits = [_seconds(one) for one in failed]
    wait = max((seconds for seconds in waits if seconds is not None), default=None)
    meanings = [RESULTS[kind] for one in failed if (kind := str(one.get("type"))) in RESULTS]
    if meanings:
        return outcome_of(reply, meanings[0], words, wait=wait)
    if isinstance(code, int) and reply.status < 500:
        return outcome_of(reply, CODES.get(code, REFUSED), f"{code} {words}", wait=wait)
    if 200 <= reply.status < 300:
        return outcome_of(reply, REFUSED if failed else BAD_REPLY, words)
    return outcome_of(reply, meaning_of(reply.status), words)


def _rest_failure(reply: Reply, words: str, wants_captcha: bool) -> Outcome:
    if wants_captcha:
        return outcome_of(reply, CAPTCHA, words)
    if reply.status != 400:
        return outcome_of(reply, detail=words)
    lower = words.lower()
    meaning = next((meaning for part, meaning in WORDS if part in lower), UNKNOWN)
    return outcome_of(reply, meaning, words)


def _results(response: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (one for one in _list(response.get("results")) if isinstance(one, dict))


def _seconds(result: Mapping[str, Any]) -> float | None:
    wait = result.get("retryAfterSeconds")
    if not isinstance(wait, int | float) or isinstance(wait, bool):
        return None
    return float(min(wait, LONGEST_WAIT))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
