"""Session webhooks: DingTalk's short-lived addresses for answers, each with its clock.

Nothing documents how long one lives: the field that came with it is believed, within reason, and
a robot cannot renew one (facts/channels.md §13.5, §13.12). A row outlives its address, as what
it knows of the chat (a group? who?) opens the other roads.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db import connection as database
from django.db.models import QuerySet
from django.utils import timezone

from deliveries.transactions import reconnecting, write_transaction
from platforms.models import Channel, SessionWebhook

from . import KIND
from .callbacks import GROUP, Callback

logger = logging.getLogger(__name__)

# So long before its end an address is not used any more: the answer has to get there.
MARGIN = timedelta(seconds=60)
# One that came without an end is good for so long, not for ever.
UNKNOWN_LIFETIME = timedelta(minutes=5)
LONGEST_LIFETIME = timedelta(days=1)
HOSTS = frozenset({"api.dingtalk.com", "oapi.dingtalk.com"})


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat that somebody has written in, as far as an answer needs to know it.

    ``url`` is its session webhook, if that is good now; ``why_not`` says why it is not.
    """

    row: int
    chat_id: str
    is_group: bool
    staff_id: str
    robot_code: str
    url: str
    expires_at: datetime
    why_not: str


def is_session_webhook(url: str, api_base: str) -> bool:
    """Return whether an address is one that answers may go to; it came with a message.

    That is https on DingTalk's own hosts, or on the server that stands in for them as the
    channel's API address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if "@" in parts.netloc or not url.isascii() or not url.isprintable() or "\\" in url:
        return False
    if parts.scheme == "https" and parts.hostname in HOSTS and port in (None, 443):
        return True
    base = urlsplit(api_base)
    ours = base.hostname not in HOSTS and (parts.scheme, parts.netloc) == (base.scheme, base.netloc)
    return ours and bool(parts.netloc)


def expiry(value: Any, now: datetime) -> datetime:
    """Return when an address ends that came now with ``value``: milliseconds since 1970."""
    try:
        moment = datetime.fromtimestamp(int(value) / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return now + UNKNOWN_LIFETIME
    if moment < now - LONGEST_LIFETIME:  # 0, or seconds for milliseconds
        return now + UNKNOWN_LIFETIME
    return min(moment, now + LONGEST_LIFETIME)


def note(channel_id: int, api_base: str, callback: Callback, stream: UUID, now: datetime) -> None:
    """Keep what a message says of its chat, with the session webhook that it brought.

    ``stream`` is the connection that it came by. An address that ends later than the new one, of
    the same connection, stays.
    """
    url, ends = callback.session_webhook, expiry(callback.session_expires, now)
    if not is_session_webhook(url, api_base):
        if url:
            host = urlsplit(url).netloc.rpartition("@")[2][:100] if "//" in url else "?"
            logger.warning("channel %s: no session webhook of DingTalk's: %r", channel_id, host)
        url, ends = "", now
    facts: dict[str, Any] = {
        "conversation_type": GROUP if callback.is_group else "1",
        "title": callback.title,
        "robot_code": callback.robot_code,
    }
    if not callback.is_group:
        facts["staff_id"] = callback.staff_id
    address = {
        "url": url,
        "expires_at": ends,
        "connection": stream,
        "created_at": now,
        "warned_at": None if url else now,
        "nudged_at": None,
    }
    with write_transaction():
        rows = SessionWebhook.objects.filter(
            channel_id=channel_id, conversation_id=callback.chat_id
        )
        row = rows.select_for_update().first()
        if row is None:
            SessionWebhook.objects.create(
                channel_id=channel_id, conversation_id=callback.chat_id, **facts, **address
            )
        elif row.url and row.connection == stream and row.expires_at >= ends:
            rows.update(**facts)
        else:
            rows.update(**facts, **address)


def end_all(channel_id: int) -> int:
    """End the addresses of a channel, as the connection that made them is no more.

    Returns how many were good. What is known of their chats stays, and where nothing else reaches
    a chat the log says so.
    """
    now = timezone.now()
    rows = SessionWebhook.objects.filter(channel_id=channel_id, expires_at__gt=now)
    lost = list(rows.select_related("channel").defer("url", "channel__config"))
    with write_transaction():
        ended = rows.update(url="", expires_at=now, warned_at=now)
    for row in lost:
        if not is_open_otherwise(row, row.channel):
            logger.warning(
                "channel %s: nothing reaches the chat %s until somebody writes there",
                row.channel.name,
                row.conversation_id,
            )
    return ended


def forget(chat: Chat) -> None:
    """End the address of a chat: DingTalk does not know it any more."""
    with briefly_connected():
        rows = SessionWebhook.objects.filter(pk=chat.row, expires_at=chat.expires_at)
        with write_transaction():
            changed = rows.update(url="", warned_at=timezone.now())
    if changed:
        logger.info("chat %s: its session webhook ended early", chat.chat_id)


def chat_of(client_id: str, chat_id: str) -> Chat | None:
    """Return what is known of a chat of the app of this ID; None of one it never heard of."""
    return _newest(client_id, conversation_id=chat_id)


def chat_with(client_id: str, staff_id: str) -> Chat | None:
    """Return what is known of a person's own chat with the app's robot."""
    return _newest(client_id, staff_id=staff_id, conversation_type="1")


def _newest(client_id: str, **wanted: str) -> Chat | None:
    """Return the newest chat that an app's stream has brought, whichever channel it was for."""
    with briefly_connected():
        now = timezone.now()
        for row in _rows(wanted):
            if (row.channel.readable_config() or {}).get("client_id") == client_id:
                return _chat(row, now)
    return None


def _rows(wanted: dict[str, str]) -> QuerySet[SessionWebhook]:
    rows = SessionWebhook.objects.filter(channel__kind=KIND, **wanted).order_by("-created_at")
    return rows.select_related("channel").defer("channel__config")


def _chat(row: SessionWebhook, now: datetime) -> Chat:
    why_not = ""
    if not row.url:
        why_not = "it is closed"
    elif now + MARGIN >= row.expires_at:
        why_not = f"it ends at {row.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    return Chat(
        row=row.pk,
        chat_id=row.conversation_id,
        is_group=row.conversation_type == GROUP,
        staff_id=row.staff_id,
        robot_code=row.robot_code,
        url="" if why_not else row.url,
        expires_at=row.expires_at,
        why_not=why_not,
    )


@contextmanager
def briefly_connected() -> Iterator[None]:
    """Ask the database from outside of Django's requests, and leave no connection behind."""
    try:
        with reconnecting():
            yield
    finally:
        if not database.in_atomic_block:
            database.close_if_unusable_or_obsolete()


def is_open_otherwise(row: SessionWebhook, channel: Channel) -> bool:
    """Return whether the Robot OpenAPI reaches a chat, as far as can be known without trying."""
    if channel.health != Channel.Health.OK:
        return False
    return row.conversation_type == GROUP or bool(row.staff_id)
