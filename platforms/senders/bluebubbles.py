"""BlueBubbles: iMessage, by a BlueBubbles server on a Mac of one's own.

https://documenter.getpostman.com/view/765844/UV5RnfwM
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import uuid5

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Policy, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from platforms.fields import OutboundURLField, SecretField
from platforms.incoming import no_credential
from platforms.parts import send_parts
from platforms.places import Place, place_of
from platforms.plain import to_plain
from platforms.replies import (
    BAD_REPLY,
    UNAUTHORIZED,
    Meaning,
    meaning_of,
    outcome_of,
    unreached,
)
from platforms.sender import Check, Sender
from platforms.splitting import split
from platforms.targets import bad_target, no_destination, no_text
from platforms.wire import Wire

GUID = re.compile(r"(?:iMessage|SMS|RCS|any);[-+];\S{1,200}")
PERSON = re.compile(r"\+[1-9]\d{6,14}|[\w.+-]{1,64}@[\w.-]{1,190}", re.ASCII)
MESSAGE_GUID = re.compile(r"[\w:/.-]{8,100}", re.ASCII)
ONE_TO_ONE = ";-;"
PAGE, PAGES = 500, 6  # chats
LONG = 8_388_608  # bytes: a page of chats with many members
QUEUED_WAIT = 10.0  # seconds: the same message is on its way

CHAT_GONE = Meaning(Verdict.FAILED, "chat_not_found")
NOT_DELIVERED = Meaning(Verdict.FAILED, "not_delivered")
QUEUED = Meaning(Verdict.RETRY, "in_flight", ambiguous=True)
MAC_FAILED = Meaning(Verdict.RETRY, "not_delivered")


@dataclass(slots=True)
class Target:
    """Where the parts of a message go: a chat, or a person whose chat is yet to be found."""

    place: Place
    guid: str
    # Texts of ours that are in the chat already, of an earlier attempt.
    there: set[str] = field(default_factory=set)


class BlueBubbles(Sender):
    """Sends plain text; after a lost answer it looks whether the text is there."""

    kind = "bluebubbles"
    addresses = ("server_url",)
    budget = 60.0  # a first send may take this long (facts/channels.md)
    label = gettext_lazy("BlueBubbles (iMessage)")
    summary = gettext_lazy("Sends iMessages, by a BlueBubbles server on a Mac of your own.")
    check_calls = gettext_lazy("The server is pinged, with the password. Nothing is sent.")
    max_length = 4000
    policy = Policy.LAN

    class Config(forms.Form):
        server_url = OutboundURLField(
            label=gettext_lazy("Server"),
            policy=Policy.LAN,
            assume_scheme="http",
            help_text=gettext_lazy("Such as http://mac.local:1234. It may be in your own network."),
        )
        password = SecretField(
            label=gettext_lazy("Password"),
            min_length=4,
            help_text=gettext_lazy("The server's, from its settings."),
        )
        method = forms.ChoiceField(
            label=gettext_lazy("Send by"),
            choices=[("apple-script", "AppleScript"), ("private-api", "Private API")],
            initial="apple-script",
            required=False,
            help_text=gettext_lazy("The private API must be switched on at the server."),
        )

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("To"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A(?:{GUID.pattern}|{PERSON.pattern})\Z",
                    gettext_lazy("Write +1555…, an e-mail address, or iMessage;-;…."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy(
                "Where messages go when a route names no chat_id: a number (+1555…), an e-mail "
                "address, or a chat's GUID (iMessage;+;chat123…)."
            ),
        )

    @property
    def api_base(self) -> str:
        """Return the address of the server."""
        return str(self.config.get("server_url") or super().api_base).rstrip("/")

    def send(self, message: Message) -> Outcome:
        """Send the text to the chat of the target or the home, in parts if it is long."""
        if not self.config.get("password"):
            return no_credential()
        place = place_of(message, self.home)
        if failure := _misplaced(place):
            return failure
        parts = split(to_plain(message.text), self.max_length)
        if not parts:
            return no_text()
        wire = Wire(self)
        try:
            target = self._target(wire, message, place)
        except OutboundError as error:
            # Of the message, nothing has been sent by this attempt.
            return wire.record(replace(unreached(error), ambiguous=False))
        if isinstance(target, Outcome):
            return wire.record(replace(target, ambiguous=False))
        return send_parts(
            wire,
            message,
            parts,
            lambda number, text: self._send_part(wire, message, target, number, text),
        )

    def check(self) -> Check:
        """Ping the server."""
        if not self.config.get("password"):
            return Check(False, no_credential().error)
        wire = Wire(self)
        try:
            reply = wire.call("GET", self._url("ping"), {})
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if not _is_ok(reply):
            return Check(False, wire.reason(_failure(reply)))
        return Check(True, _("The server answers, and takes the password."))

    def _url(self, path: str) -> str:
        query = urlencode({"password": self.config["password"]})
        return f"{self.api_base}/api/v1/{path}?{query}"

    def _target(self, wire: Wire, message: Message, place: Place) -> Target | Outcome:
        """Return the chat that is meant, and what is there already if this is a retry."""
        is_guid = bool(GUID.fullmatch(place.chat))
        guid = place.chat if is_guid else self._chat_with(wire, place.chat)
        if isinstance(guid, Outcome):
            return guid
        target = Target(place, guid)
        if message.retrying and guid:
            texts = self._sent_since(wire, guid, message.created_at)
            if isinstance(texts, Outcome):
                return texts
            target.there = texts
        return target

    def _chat_with(self, wire: Wire, person: str) -> str | Outcome:
        """Return the GUID of the chat with one person; empty if there is none yet.

        A group that has this person in it is never taken for it.
        """
        for page in range(PAGES):
            query = {"limit": PAGE, "offset": page * PAGE, "with": ["participants"]}
            chats = self._query(wire, "chat/query", query)
            if isinstance(chats, Outcome):
                return chats
            guids = [
                str(chat["guid"])
                for chat in chats
                if str(chat.get("chatIdentifier", "")).lower() == person.lower()
                and ONE_TO_ONE in str(chat.get("guid", ""))
            ]
            if guids:
                # The same person may have an SMS chat beside.
                return next((one for one in guids if not one.startswith("SMS")), guids[0])
            if len(chats) < PAGE:
                break
        return ""

    def _sent_since(self, wire: Wire, guid: str, since: datetime) -> set[str] | Outcome:
        """Return the texts that were sent to a chat since a delivery was made."""
        query = {"chatGuid": guid, "after": int(since.timestamp() * 1000), "limit": 100}
        messages = self._query(wire, "message/query", {**query, "sort": "DESC"})
        if isinstance(messages, Outcome):
            return messages
        return {
            str(one.get("text"))
            for one in messages
            if one.get("isFromMe") is True and not one.get("error")
        }

    def _query(
        self, wire: Wire, path: str, query: Mapping[str, Any]
    ) -> list[dict[str, Any]] | Outcome:
        reply = wire.post(self._url(path), query)
        rows = _document(reply).get("data")
        if not _is_ok(reply) or not isinstance(rows, list):
            return _failure(reply)
        return [row for row in rows if isinstance(row, dict)]

    def _send_part(
        self, wire: Wire, message: Message, target: Target, number: int, text: str
    ) -> Outcome:
        if text in target.there:
            return Outcome.delivered()
        letter = {
            "tempGuid": str(uuid5(message.id, str(number))),
            "message": text,
            "method": self.config.get("method") or "apple-script",
        }
        if target.guid:
            letter["chatGuid"] = target.guid
            if target.place.thread and letter["method"] == "private-api":
                letter["selectedMessageGuid"] = target.place.thread
            reply = wire.post(self._url("message/text"), letter)
        else:
            service = {"addresses": [target.place.chat], "service": "iMessage"}
            reply = wire.post(self._url("chat/new"), {**letter, **service})
        data = _document(reply).get("data")
        if not _is_ok(reply) or not isinstance(data, dict) or data.get("error"):
            outcome = _failure(reply, message.number)
            # The home's trouble is the channel's.
            at_home = target.place.is_home and outcome.error_class == CHAT_GONE.error_class
            return replace(outcome, faults_channel=True) if at_home else outcome
        guid = str(data.get("guid", ""))
        if not target.guid:
            target.guid = guid if GUID.fullmatch(guid) else target.guid
        return Outcome.delivered(provider_ids={"guid": guid})


def _misplaced(place: Place) -> Outcome | None:
    """Return why nothing can be sent to this place; None if it can."""
    if not place.chat:
        return no_destination("chat_id")
    if not (GUID.fullmatch(place.chat) or PERSON.fullmatch(place.chat)):
        return bad_target("chat_id", place.chat)
    if place.thread and not MESSAGE_GUID.fullmatch(place.thread):
        return bad_target("thread_id", place.thread)
    return None


def _document(reply: Reply) -> dict[str, Any]:
    body = reply.json()
    return body if isinstance(body, dict) else {}


def _is_ok(reply: Reply) -> bool:
    return reply.status == 200 and _document(reply).get("status") == 200


def _failure(reply: Reply, tries: int = 1) -> Outcome:
    """Return what a reply means that is not a success."""
    body = _document(reply)
    error, data = body.get("error"), body.get("data")
    words = str(error.get("message") or "") if isinstance(error, dict) else ""
    words = words or str(body.get("message") or "")
    code = data.get("error") if isinstance(data, dict) else None
    if code and reply.status in (200, 500):
        # The Mac tried, and says what Apple said.
        is_final = tries > 1 or reply.status == 200
        return outcome_of(reply, NOT_DELIVERED if is_final else MAC_FAILED, f"{code} {words}")
    match reply.status:
        case 400 if "queued" in words.lower() or "tempguid" in words.lower():
            return outcome_of(reply, QUEUED, words, wait=QUEUED_WAIT)
        case 401 | 403:
            return outcome_of(reply, UNAUTHORIZED, words)
        case 404:
            return outcome_of(reply, CHAT_GONE, words)
        case 200:
            return outcome_of(reply, BAD_REPLY, words)
    return outcome_of(reply, meaning_of(reply.status), words)
