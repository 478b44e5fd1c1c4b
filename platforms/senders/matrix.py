"""Matrix: the client-server API, one room or thread per message.

https://spec.matrix.org/latest/client-server-api/#sending-events-to-a-room
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from deliveries.retry_after import bounded
from platforms.fields import ApiBaseField, SecretField
from platforms.incoming import no_credential
from platforms.markup import to_telegram_html
from platforms.parts import send_parts
from platforms.places import Place, place_of
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

ROOM = re.compile(r"![^\s/?#]{1,254}")
ALIAS = re.compile(r"#[^\s:/?]+:\S{1,200}")
EVENT = re.compile(r"\$[^\s/?]{1,254}")
EVENT_SIZE = 40_000  # bytes of both bodies in JSON; an event takes 65,536, signatures included
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # six bytes each in JSON, and nothing to see
PRE = re.compile(r"(<pre>.*?</pre>)", re.DOTALL)
JOINED_ROOMS = 4_194_304  # bytes: an account may be in very many

NO_ACCESS = Meaning(Verdict.FAILED, "no_access")
ROOM_NOT_FOUND = Meaning(Verdict.FAILED, "chat_not_found")
LIMIT_REACHED = Meaning(Verdict.FAILED, "quota", faults_channel=True)
# What has come to be of the room, not of the message; the home's trouble is the channel's.
OF_THE_PLACE = frozenset({NO_ACCESS.error_class, ROOM_NOT_FOUND.error_class})

# https://spec.matrix.org/latest/client-server-api/#standard-error-response
ERRORS = {
    "M_LIMIT_EXCEEDED": RATE_LIMITED,
    **dict.fromkeys(("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"), UNAUTHORIZED),
    **dict.fromkeys(("M_USER_DEACTIVATED", "M_USER_LOCKED", "M_USER_SUSPENDED"), UNAUTHORIZED),
    "M_FORBIDDEN": NO_ACCESS,
    **dict.fromkeys(("M_NOT_FOUND", "M_UNRECOGNIZED"), ROOM_NOT_FOUND),
    **dict.fromkeys(("M_USER_LIMIT_EXCEEDED", "M_RESOURCE_LIMIT_EXCEEDED"), LIMIT_REACHED),
    **dict.fromkeys(
        ("M_TOO_LARGE", "M_BAD_JSON", "M_NOT_JSON", "M_INVALID_PARAM", "M_BAD_STATE"), REFUSED
    ),
}


class Matrix(Sender):
    """Sends notices; the transaction's id is the delivery's, so no repeat appears twice."""

    kind = "matrix"
    addresses = ("homeserver",)
    label = "Matrix"
    summary = gettext_lazy("Sends messages to a room or a thread, on any home server.")
    check_calls = gettext_lazy(
        "whoami is called with the token; then whether the account is in the home room, and "
        "that the room is not encrypted. Nothing is sent."
    )
    max_length = 16_000
    unit = Unit.BYTES

    class Config(forms.Form):
        homeserver = ApiBaseField(
            label=gettext_lazy("Home server"),
            required=True,
            help_text=gettext_lazy(
                "The address of its API, such as https://matrix.example.org. The token goes there."
            ),
        )
        access_token = SecretField(
            label=gettext_lazy("Access token"),
            help_text=gettext_lazy("Of an account for Hermes alone, which is in the rooms."),
        )
        ping = forms.BooleanField(
            label=gettext_lazy("Send as messages, not as notices"),
            required=False,
            help_text=gettext_lazy("Messages ring on phones; notices are what bots should send."),
        )

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("Room"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A(?:{ROOM.pattern}|{ALIAS.pattern})\Z",
                    gettext_lazy("A room is !id:server or #alias:server."),
                )
            ],
            help_text=gettext_lazy(
                "Where messages go when a route names no chat_id: !id:server or #alias:server. "
                "Not encrypted."
            ),
        )
        thread_id = forms.CharField(
            label=gettext_lazy("Thread"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{EVENT.pattern}\Z",
                    gettext_lazy("A thread is the id of its first event: $…"),
                )
            ],
        )

    @property
    def api_base(self) -> str:
        """Return the address of the home server."""
        return str(self.config.get("homeserver") or super().api_base)

    def send(self, message: Message) -> Outcome:
        """Send the text to the room of the target or the home, in parts if it is long."""
        if not (self.config.get("access_token") and self.api_base):
            return no_credential()
        place = place_of(message, self.home)
        if problem := _problem(place):
            return problem
        parts = split(CONTROLS.sub("", message.text), self.max_length, self.unit)
        if not parts:
            return no_text()
        wire = Wire(self)
        rooms = self._rooms(wire, place.chat)

        def send_part(number: int, text: str) -> Outcome:
            room = next(rooms)
            if isinstance(room, Outcome):
                outcome = room
            else:
                transaction = f"{message.id}.{number}"
                outcome = self._put(wire, room, transaction, self._content(text, place.thread))
            is_fault = place.is_home and outcome.error_class in OF_THE_PLACE
            return replace(outcome, faults_channel=True) if is_fault else outcome

        return send_parts(wire, message, parts, send_part)

    def check(self) -> Check:
        """Call whoami, and look whether the home room can be written to in the clear."""
        wire = Wire(self)
        if not (self.config.get("access_token") and self.api_base):
            return Check(False, no_credential().error)
        try:
            me = self._call(wire, "GET", "account/whoami")
            if me.status != 200 or not _text(me, "user_id"):
                return Check(False, wire.reason(_failure(me)))
            found = wire.clean(_("Signed in as %s.") % _text(me, "user_id"))
            home = value_of(self.home, "chat_id")
            if not home:
                return Check(True, found + " " + _("There is no home room."))
            problem = self._trouble_with(wire, home)
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if problem:
            return Check(False, wire.clean(found + " " + problem))
        return Check(True, found + " " + _("It is in the home room."))

    def _trouble_with(self, wire: Wire, home: str) -> str:
        """Return what keeps the home room from being written to; empty if nothing does."""
        room = next(self._rooms(wire, home))
        if isinstance(room, Outcome):
            return room.error
        joined = self._call(wire, "GET", "joined_rooms", max_response=JOINED_ROOMS)
        body = joined.json()
        rooms = body.get("joined_rooms") if isinstance(body, dict) else None
        if joined.status != 200 or not isinstance(rooms, list):
            return _failure(joined).error
        if room not in rooms:
            return _("The account is not in the home room; invite it, and accept.")
        state = self._call(wire, "GET", f"rooms/{quote(room, safe='')}/state/m.room.encryption")
        if state.status == 200:
            return _("The home room is encrypted, which Hermes cannot do; use one that is not.")
        return "" if state.status == 404 else _failure(state).error

    def _rooms(self, wire: Wire, chat: str) -> Iterator[str | Outcome]:
        """Give the room's id for each part; an alias is looked up once."""
        if chat.startswith("#"):
            reply = self._call(wire, "GET", f"directory/room/{quote(chat, safe='')}")
            found = _text(reply, "room_id")
            if reply.status != 200 or not ROOM.fullmatch(found):
                yield _failure(reply)
                return
            chat = found
        while True:
            yield chat

    def _content(self, text: str, thread: str) -> dict[str, Any]:
        """Return the content of an event, with markup where there is some and room for it."""
        content: dict[str, Any] = {
            "msgtype": "m.text" if self.config.get("ping") else "m.notice",
            "body": text,
            "m.mentions": {},  # nobody
        }
        markup = to_html(text)
        if len(_json([text, markup])) <= EVENT_SIZE:
            content |= {"format": "org.matrix.custom.html", "formatted_body": markup}
        if thread:
            content["m.relates_to"] = {
                "rel_type": "m.thread",
                "event_id": thread,
                "is_falling_back": True,
                "m.in_reply_to": {"event_id": thread},
            }
        return content

    def _put(self, wire: Wire, room: str, transaction: str, content: dict[str, Any]) -> Outcome:
        path = f"rooms/{quote(room, safe='')}/send/m.room.message/{transaction}"
        reply = self._call(wire, "PUT", path, _json(content))
        event_id = _text(reply, "event_id")
        if reply.status == 200 and event_id:
            return Outcome.delivered(provider_ids={"event_id": event_id})
        return _failure(reply)

    def _call(
        self, wire: Wire, method: str, path: str, body: bytes | None = None, **options: int
    ) -> Reply:
        headers = {"Authorization": f"Bearer {self.config['access_token']}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = f"{self.api_base}/_matrix/client/v3/{path}"
        return wire.call(method, url, headers, body, **options)


def to_html(text: str) -> str:
    """Return Markdown as HTML of the tags that Matrix allows; line breaks are tags here.

    https://spec.matrix.org/latest/client-server-api/#mroommessage-msgtypes
    """
    # What Telegram knows is a part of what Matrix allows.
    pieces = PRE.split(to_telegram_html(text))
    return "".join(
        piece if piece.startswith("<pre>") else piece.replace("\n", "<br>\n") for piece in pieces
    )


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def _problem(place: Place) -> Outcome | None:
    if not place.chat:
        return no_destination("chat_id")
    if not (ROOM.fullmatch(place.chat) or ALIAS.fullmatch(place.chat)):
        return bad_target("chat_id", place.chat)
    if place.thread and not EVENT.fullmatch(place.thread):
        return bad_target("thread_id", place.thread)
    return None


def _failure(reply: Reply) -> Outcome:
    """Return what a reply means that is not a success."""
    error = _text(reply, "errcode")
    meaning = _meaning(reply, error)
    wait = None
    if meaning is RATE_LIMITED and retry_after(reply.headers) is None:
        wait = _milliseconds(reply)
    detail = ": ".join(filter(None, (error, _text(reply, "error"))))
    if meaning is NO_ACCESS:
        detail += " " + _("(Is the account in the room, and may it write there?)")
    return outcome_of(reply, meaning, detail, wait=wait)


def _meaning(reply: Reply, error: str) -> Meaning:
    if 200 <= reply.status < 300:
        return BAD_REPLY
    if error == "M_UNKNOWN" and reply.status >= 500:
        return SERVER_ERROR
    return ERRORS.get(error) or meaning_of(reply.status)


def _milliseconds(reply: Reply) -> float | None:
    """Return the wait of the body in seconds; servers of before version 1.10 say it there."""
    body = reply.json()
    wait = body.get("retry_after_ms") if isinstance(body, dict) else None
    if not isinstance(wait, int | float) or isinstance(wait, bool):
        return None
    return bounded(min(wait, 1e9) / 1000)


def _text(reply: Reply, name: str) -> str:
    """Return a text of the reply's JSON; empty if it has none."""
    body = reply.json()
    value = body.get(name) if isinstance(body, dict) else ""
    return value if isinstance(value, str) else ""
