"""Apprise: services that have no sender of their own here, through the library of that name.

https://github.com/caronc/apprise. An optional extra, imported when it is used. It says of a
message that it arrived or not, and why only in words (facts/channels.md §20).
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django import forms
from django.utils.functional import lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outcomes import Message, Outcome, Verdict
from platforms.fields import SecretField
from platforms.incoming import no_credential
from platforms.parts import send_parts
from platforms.plain import to_plain
from platforms.replies import meaning_of, sentence
from platforms.sender import Check, Sender
from platforms.splitting import MAX_PARTS, split
from platforms.targets import no_text, value_of
from platforms.wire import EXCERPT, Wire

INSTALL = 'pip install "apprise>=2.2,<3"'
TITLE = "Hermes"
TITLE_LENGTH = 150  # characters
MOST_TRIES = 3  # a service that says nothing of why is not asked for hours
OF_TEXT_MESSAGES = 500  # characters: what has less room is mostly paid for by the piece
MOST_PAID_PARTS = 3

# Services at a fixed address: Apprise makes its own calls, past the guard that keeps deliveries
# from addresses inside, so no schema is here whose address the operator may choose.
SCHEMAS = frozenset(
    # To phones and desktops.
    {"join", "pbul", "pover", "prowl", "psafers", "push", "pushed", "pushme", "pushy", "schan"}
    | {"simplepush", "spush", "pushplus", "wxpusher", "chanify", "onesignal", "notifiarr"}
    # To chats.
    | {"flock", "gchat", "groupme", "kook", "line", "revolt", "threema", "viber", "webex"}
    | {"wxteams", "stackfield"}
    # To who is on call.
    | {"firehydrant", "ilert", "incidentio", "signl4", "spike", "splunk", "victorops"}
    # As text messages.
    | {"46elks", "bulksms", "clicksend", "d7sms", "msgbird", "nexmo", "plivo", "seven", "telnyx"}
    | {"voipms", "vonage"}
    # As mail.
    | {"brevo", "mailersend", "postmark", "resend", "sendgrid"}
    | {"ifttt"}
)
# What has a sender here. Of DingTalk, Feishu and WeCom Apprise takes a refusal for a success.
NATIVE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("tgram", "telegram"), "telegram"),
        "discord": "discord",
        "slack": "slack",
        **dict.fromkeys(("mailto", "mailtos"), "email"),
        **dict.fromkeys(("mmost", "mmosts"), "mattermost"),
        **dict.fromkeys(("matrix", "matrixs"), "matrix"),
        **dict.fromkeys(("hassio", "hassios"), "homeassistant"),
        **dict.fromkeys(("signal", "signals"), "signal"),
        "twilio": "sms",
        "whatsapp": "whatsapp",
        **dict.fromkeys(("json", "jsons", "form", "forms", "xml", "xmls"), "webhook"),
        **dict.fromkeys(("ntfy", "ntfys"), "ntfy"),
        **dict.fromkeys(("wechat", "wecombot"), "wecom"),
        "dingtalk": "dingtalk",
        **dict.fromkeys(("feishu", "lark"), "feishu"),
    }
)
STATUS = re.compile(r"error=(\d{3})\b")


class Apprise(Sender):
    """Sends plain text by a fresh instance each time: what is kept would wait between messages."""

    kind = "apprise"
    label = gettext_lazy("Apprise (best effort)")
    summary = gettext_lazy(
        "Sends to some fifty more services. What they answer is not known: a message counts as "
        "delivered if Apprise says so."
    )
    check_calls = gettext_lazy(
        "A short test message is sent, as there is no other way to try an address."
    )
    max_length = 32_768  # each service has its own, mostly less
    addresses = ()
    advanced = ()

    class Config(forms.Form):
        url = SecretField(
            label=gettext_lazy("Apprise address"),
            help_text=lazy(lambda: _address_help(), str)(),
        )

        def clean_url(self) -> str:
            """Return the address; raise ValidationError for a service that is not to be used."""
            url: str = self.cleaned_data["url"]
            problem = _problem(url)
            if problem:
                raise forms.ValidationError(problem, code="invalid")
            return url

    def send(self, message: Message) -> Outcome:
        """Send the text by the service, in parts if it is longer than the service takes."""
        service = self._service()
        if isinstance(service, Outcome):
            return service
        limit = min(int(service.body_maxlen), self.max_length)
        most = MOST_PAID_PARTS if limit < OF_TEXT_MESSAGES else MAX_PARTS
        parts = split(to_plain(message.text), limit, most=most)
        if not parts:
            return no_text()
        wire = Wire(self)
        said: list[str] = []
        title = value_of(message.target, "title")[:TITLE_LENGTH] or TITLE

        def send_part(_number: int, text: str) -> Outcome:
            result, words = self._notify(wire, text, title)
            said.append(words)
            return _outcome(result, words, message.number)

        outcome = send_parts(wire, message, parts, send_part)
        return _with_words(wire, outcome, f"apprise {self._schema}://", said)

    def check(self) -> Check:
        """Send a test message."""
        wire = Wire(self)
        service = self._service()
        if isinstance(service, Outcome):
            return Check(False, wire.reason(service))
        result, words = self._notify(wire, _("This is a test message from Hermes."), TITLE)
        outcome = _outcome(result, words, 1)
        if outcome.verdict != Verdict.DELIVERED:
            return Check(False, wire.reason(outcome))
        name = str(service.service_name)
        return Check(True, _("%s was sent a test message.") % wire.clean(name))

    def secrets(self) -> tuple[str, ...]:
        """Return the address and the pieces of it: any of them may be a key."""
        return (*super().secrets(), *_pieces(str(self.config.get("url") or "")))

    def called_address(self) -> str:
        """Return the kind of the address; the rest of it is a secret."""
        return f"{self._schema}://…"

    @property
    def _schema(self) -> str:
        return _schema_of(str(self.config.get("url") or ""))

    def _service(self) -> Any:
        """Return a fresh instance of the service; an Outcome if there can be none."""
        url = str(self.config.get("url") or "")
        if not url:
            return no_credential()
        if problem := _problem(url):
            kind = "bad_address" if find_spec("apprise") else "not_installed"
            return Outcome.failed(kind, problem, faults_channel=True)
        return _instance(url)

    def _notify(self, wire: Wire, text: str, title: str) -> tuple[Any, str]:
        """Return what Apprise makes of one message, and what it said meanwhile."""
        apprise = import_module("apprise")
        service = _instance(str(self.config["url"]))
        caller = apprise.Apprise(asset=service.asset)
        caller.add(service)
        result = caller.notify(
            body=text, title=title, body_format=apprise.NotifyFormat.TEXT, timeout=wire.left
        )
        return result, " ".join(entry.message for one in result for entry in one.logs())


def _problem(url: str) -> str:
    """Return why an address can't be used; empty if it can."""
    if find_spec("apprise") is None:
        return _("Apprise is not installed. Install it beside Hermes and restart: %s.") % INSTALL
    schema = _schema_of(url)
    if kind := NATIVE.get(schema):
        return _("Hermes speaks to this platform itself: add a channel of the kind %s.") % kind
    if schema not in SCHEMAS:
        known = ", ".join(sorted(SCHEMAS))
        return _("Addresses of this kind are not allowed. Those that are begin with: %s.") % known
    service = _instance(url)
    if service is None:
        return _("Apprise cannot read this address; something of it is missing or misspelled.")
    if len(service) != 1:
        return _("The address has several targets; make a channel for each.")
    return ""


def _instance(url: str) -> Any:
    """Return the service of an address, bound to the rules of this house; None if it is none."""
    _silence()
    apprise = import_module("apprise")
    asset = apprise.AppriseAsset(
        app_id=TITLE,
        app_desc=TITLE,
        storage_mode="memory",
        http_redirects=False,
        result_log_disk_size=0,
    )
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is not None:
        # The address may say otherwise, as in ?verify=no; it does not decide these.
        service.verify_certificate = True
        service.redirects = False
        service.retry = 0
        service.request_rate_per_sec = 0
        service.overflow_mode = apprise.OverflowMode.SPLIT
        service.socket_connect_timeout = service.socket_read_timeout = 4.0  # seconds
    return service


def _silence() -> None:
    """Keep what Apprise logs to its results: it names keys and, when debugging, all of a call."""
    logger = logging.getLogger("apprise")
    if logger.propagate:
        logger.propagate = False
        logger.addHandler(logging.NullHandler())


def _outcome(result: Any, words: str, tries: int) -> Outcome:
    """Return what a result means; of a failure there is a status in the words, at best."""
    match result.status.name:
        case "SUCCESS":
            return Outcome.delivered()
        case "NOMATCH":
            return Outcome.failed(
                "bad_address", _("Apprise found no service."), faults_channel=True
            )
    found = STATUS.search(words)
    if found is None:
        timed_out = result.status.name == "TIMEOUT"
        kind = "timeout" if timed_out else "temporary"
        why = words or _("Apprise does not say why.")
        return _within_tries(Outcome.retry(kind, why, ambiguous=True), tries)
    status = int(found[1])
    meaning = meaning_of(status)
    outcome = Outcome(
        meaning.verdict,
        meaning.error_class,
        sentence(status, words),
        status=status,
        faults_channel=meaning.faults_channel,
        ambiguous=meaning.ambiguous,
    )
    return _within_tries(outcome, tries)


def _within_tries(outcome: Outcome, tries: int) -> Outcome:
    if outcome.verdict != Verdict.RETRY or tries < MOST_TRIES:
        return outcome
    return Outcome.failed(outcome.error_class, outcome.error)


def _with_words(wire: Wire, outcome: Outcome, request: str, said: list[str]) -> Outcome:
    """Return the outcome with what Apprise said, as it shows neither request nor response."""
    response = wire.clean("\n".join(filter(None, said)))[:EXCERPT]
    return replace(outcome, request=request, response=response)


def _schema_of(url: str) -> str:
    schema, mark, _rest = url.strip().partition("://")
    return schema.lower() if mark else ""


def _pieces(url: str) -> list[str]:
    """Return the parts of an address that may be keys, as they stand and decoded."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return []
    found = [*re.split(r"[/@:]", f"{parts.netloc}/{parts.path}")]
    found += [value for _name, value in parse_qsl(parts.query)]
    both = {one for piece in found for one in (piece, unquote(piece))}
    return sorted(filter(None, both))


def _address_help() -> str:
    about = _(
        "As in pover://user@token, with one target: see the list of services of Apprise. "
        "All of it is kept secret."
    )
    if find_spec("apprise") is None:
        return f"{_problem('')} {about}"
    return about
