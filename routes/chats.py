"""Chats: how people talk to an agent where a platform posts what they write to a webhook.

A chat is a route like any other, filled in for one platform: it takes what people write and
nothing that a bot wrote, so that no two bots talk to each other for ever; it keeps one
conversation for each chat, and sends the answers there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from platforms.registry import senders
from platforms.services import UnknownChannel, channel_for

from .presets import AUTO
from .targets import LOG

Filter = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chat:
    """What a route has to have for one platform; templates are those of routes.

    ``kind`` is the platform that answers, and the source that posts. ``filters`` let through what
    a person wrote, ``key`` tells chats apart, and ``target`` is the chat on the platform.
    """

    kind: str
    events: tuple[str, ...]
    filters: tuple[Filter, ...]
    prompt: str
    key: str
    target: Mapping[str, str]
    # What is set up at the platform beyond the address and the secret.
    setup: str | Promise = ""

    @property
    def fields(self) -> dict[str, Any]:
        """Return the fields of a route, ready-made.

        The prompt is not fenced: here what came from outside is what the agent is asked.
        """
        return {
            "preset": self.kind,
            "events": list(self.events),
            "filters": [dict(one) for one in self.filters],
            "prompt": self.prompt,
            "fence": False,
            "conversation_key": self.key,
            "deliver": self.kind,
            "deliver_extra": dict(self.target),
        }


def _has_text(field: str) -> Filter:
    return {"field": field, "regex": r"\S"}


_WHATSAPP = "entry.0.changes.0.value"

_CHATS: Final = (
    Chat(
        kind="telegram",
        events=("message",),
        filters=(
            {"field": "message.from.is_bot", "not_equals": True},
            _has_text("message.text"),
        ),
        prompt="{message.text}",
        key="{message.chat.id}",
        # Without a topic it is left out.
        target=MappingProxyType(
            {
                "chat_id": "{message.chat.id}",
                "message_thread_id": "{message.message_thread_id}",
            }
        ),
    ),
    Chat(
        kind="slack",
        events=("message", "app_mention"),
        filters=(
            {"field": "event.bot_id", "missing": True},
            {"field": "event.user", "exists": True},
            # Changes, deletions, who came and went.
            {
                "any": [
                    {"field": "event.subtype", "missing": True},
                    {"field": "event.subtype", "in": ["file_share", "thread_broadcast"]},
                ]
            },
            # A mention in a channel comes a second time, as a message there.
            {
                "any": [
                    {"field": "event_type", "equals": "app_mention"},
                    {"field": "event.channel_type", "equals": "im"},
                ]
            },
            _has_text("event.text"),
        ),
        prompt="{event.text}",
        key="{event.channel}",
        target=MappingProxyType({"chat_id": "{event.channel}", "thread_id": "{event.thread_ts}"}),
        setup=gettext_lazy(
            "Under Event Subscriptions subscribe the bot to message.im and app_mention, with the "
            "scopes im:history, app_mentions:read and chat:write."
        ),
    ),
    Chat(
        kind="feishu",
        events=("im.message.receive_v1",),
        filters=(
            {"field": "event.sender.sender_type", "equals": "user"},
            {"field": "event.message.message_type", "equals": "text"},
        ),
        prompt="{event.message.content}",
        key="{event.message.chat_id}",
        target=MappingProxyType({"chat_id": "{event.message.chat_id}"}),
        setup=gettext_lazy(
            "Subscribe the app to im.message.receive_v1, with the permission to read messages to "
            "the bot and to send as the bot."
        ),
    ),
    Chat(
        kind="whatsapp",
        events=("messages",),
        filters=(
            {"field": f"{_WHATSAPP}.messages.0.type", "equals": "text"},
            _has_text(f"{_WHATSAPP}.messages.0.text.body"),
        ),
        prompt=f"{{{_WHATSAPP}.messages.0.text.body}}",
        key=f"{{{_WHATSAPP}.metadata.phone_number_id}}:{{{_WHATSAPP}.messages.0.from}}",
        target=MappingProxyType({"chat_id": f"{{{_WHATSAPP}.messages.0.from}}"}),
        setup=gettext_lazy("Subscribe the webhook to the field messages."),
    ),
)


def chats() -> Mapping[str, Chat]:
    """Return the chats by platform, in the order in which a form lists them."""
    return {chat.kind: chat for chat in _CHATS}


def chat_choices() -> list[tuple[str, str | Promise]]:
    """Return the platforms to choose from, by their labels."""
    return [(kind, senders()[kind].label) for kind in chats()]


def filled_in(chat: Chat, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a route for a chat: what was said, and what is ready-made for the rest.

    ``said`` are fields of a route by name; one that is empty, or as a new route has it, was not
    said. Raises ValidationError by field where the answers could not go back to the chat.
    """
    ready = chat.fields
    new = {"preset": AUTO, "deliver": LOG}
    kept = {
        name: said[name]
        for name in ready
        if name in said and said[name] not in (None, "", [], {}, new.get(name))
    }
    fields = ready | kept
    fields["deliver_extra"] = ready["deliver_extra"] | kept.get("deliver_extra", {})
    if said.get("deliver_only"):
        raise ValidationError(
            {"deliver_only": _("Somebody has to answer: a chat can't be delivered only.")}
        )
    _must_answer_there(chat, fields["deliver"])
    return fields


def _must_answer_there(chat: Chat, deliver: str) -> None:
    try:
        kind = channel_for(deliver).kind
    except UnknownChannel as error:
        raise ValidationError({"deliver": str(error)}) from None
    if kind != chat.kind:
        words = {"deliver": deliver, "kind": senders()[chat.kind].label}
        raise ValidationError(
            {
                "deliver": _(
                    "Answers go to the chat that was written in: choose a channel of %(kind)s, "
                    "not “%(deliver)s”."
                )
                % words
            }
        )
