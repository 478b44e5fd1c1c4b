"""What a robot is told of a message: the callback /v1.0/im/bot/messages/get, taken apart.

https://open.dingtalk.com/document/orgapp/receive-message
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from platforms.chats import ChatMessage
from platforms.splitting import sendable

from . import KIND

# What names chats, people and messages: they become keys and targets.
ID = re.compile(r"[\x21-\x7e]{1,200}")
GROUP = "2"
WITHOUT_TEXT = {
    "picture": "[picture]",
    "audio": "[voice message]",
    "video": "[video]",
    "file": "[file]",
}


class Unreadable(ValueError):
    """A callback lacks what makes it a message; the text names what."""


@dataclass(frozen=True, slots=True)
class Callback:
    """One message to the robot.

    ``staff_id`` is empty for people outside of the organisation, who have only a ``sender_id``.
    ``session_expires`` is as it came: milliseconds since 1970, or anything.
    """

    message_id: str
    chat_id: str
    is_group: bool
    title: str
    sender_id: str
    staff_id: str
    robot_code: str
    text: str
    session_webhook: str
    session_expires: Any
    original: Mapping[str, Any]  # without the session webhook, which is a secret

    def as_chat_message(self) -> ChatMessage:
        """Return it as platforms hand it over; an answer goes to its chat."""
        return ChatMessage(
            id=self.message_id,
            chat=f"{KIND}:{self.chat_id}",
            sender_id=f"{KIND}:{self.staff_id or self.sender_id}",
            text=self.text,
            target={"chat_id": self.chat_id},
            original=self.original,
        )


def read_callback(data: Mapping[str, Any]) -> Callback:
    """Return a callback taken apart; raise Unreadable if it is no message."""
    is_group = str(data.get("conversationType")) == GROUP
    nick = _text(data.get("senderNick"))
    return Callback(
        message_id=_id(data, "msgId"),
        chat_id=_id(data, "conversationId"),
        is_group=is_group,
        title=(_text(data.get("conversationTitle")) if is_group else nick)[:255],
        sender_id=_id(data, "senderId"),
        staff_id=_optional_id(data, "senderStaffId"),
        robot_code=_optional_id(data, "robotCode"),
        text=said_in(data),
        session_webhook=_text(data.get("sessionWebhook")),
        session_expires=data.get("sessionWebhookExpiredTime"),
        original={name: value for name, value in data.items() if name != "sessionWebhook"},
    )


def said_in(data: Mapping[str, Any]) -> str:
    """Return the text of a message; in brackets what it is if it has none."""
    kind = str(data.get("msgtype", ""))
    content = data.get("content")
    content = content if isinstance(content, Mapping) else {}
    text = ""
    match kind:
        case "text":
            said = data.get("text")
            text = _text(said.get("content")) if isinstance(said, Mapping) else ""
        case "richText":
            pieces = content.get("richText")
            text = _rich(pieces) if isinstance(pieces, list) else ""
        case "audio":
            text = _text(content.get("recognition"))
        case "file":
            text = f"[{name}]" if (name := _text(content.get("fileName"))) else ""
    # In a group a space is left where the @ was.
    return text.strip() or WITHOUT_TEXT.get(kind) or _("[a message without text]")


def _rich(pieces: list[Any]) -> str:
    said = []
    for piece in pieces:
        if not isinstance(piece, Mapping):
            continue
        if piece.get("type") == "picture":
            said.append(WITHOUT_TEXT["picture"])
        said.append(_text(piece.get("text")))
    return "".join(said)


def _text(value: Any) -> str:
    return sendable(value) if isinstance(value, str) else ""


def _id(data: Mapping[str, Any], name: str) -> str:
    value = _optional_id(data, name)
    if not value:
        raise Unreadable(f"no {name}")
    return value


def _optional_id(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) and ID.fullmatch(value) else ""
