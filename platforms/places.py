"""A chat or thread to send to, read from a route's target or from the channel's home."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deliveries.outcomes import Message

from .targets import value_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message goes; what is empty was given nowhere."""

    chat: str
    thread: str
    is_home: bool


def place_of(message: Message, home: Mapping[str, Any], *thread_names: str) -> Place:
    """Return the place of a message: the target's ``chat_id``, else the home's.

    A target's thread is its ``message_thread_id``, else its ``thread_id`` (spec 001, forum
    topics), else what the platform itself calls it, ``thread_names``. The home's ``thread_id``
    counts only in the home chat; elsewhere it would mean another one.
    """
    names = ("message_thread_id", "thread_id", *thread_names)
    thread = next((value for name in names if (value := value_of(message.target, name))), "")
    chat, home_chat = value_of(message.target, "chat_id"), value_of(home, "chat_id")
    if chat:
        return Place(chat, thread, chat == home_chat)
    return Place(home_chat, thread or value_of(home, "thread_id"), bool(home_chat))
