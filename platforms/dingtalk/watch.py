"""The watch over session webhooks: says before one ends, never after (spec 000)."""

import json
import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from deliveries.models import Event
from deliveries.record import NewDelivery, NewEvent, record
from platforms.models import Channel, SessionWebhook
from platforms.services import notice
from platforms.targets import value_of

from . import KIND
from .sessions import MARGIN, is_open_otherwise

logger = logging.getLogger(__name__)

WARN_BEFORE = timedelta(minutes=10)
# A nudge is for the last part of a session's life: who has just written needs none.
LAST_PART = 3
ENDING = "session.ending"
AT_ONCE = 200  # rows a minute


def watch_sessions(now: datetime) -> int:
    """Warn of every session webhook that is about to end, once; return how many.

    Each is a line in the log. Where nothing else reaches the chat it is an alert, too: an event
    in the ledger, said at the channel's home if it has one. Channels that want it ask the people
    in the chat to write, as nothing else renews one.
    """
    ending = SessionWebhook.objects.filter(
        warned_at=None, expires_at__lte=now + WARN_BEFORE, channel__enabled=True
    )
    rows = list(ending.select_related("channel").defer("url")[:AT_ONCE])
    warned = sum(_warn(row, now) for row in rows)
    _nudge(now)
    return warned


def _warn(row: SessionWebhook, now: datetime) -> bool:
    """Warn of one; False if another process did."""
    channel = row.channel
    minutes = max(0, round((row.expires_at - now).total_seconds() / 60))
    words = {"chat": str(row), "minutes": minutes, "time": f"{row.expires_at:%H:%M} UTC"}
    is_open = is_open_otherwise(row, channel)
    with transaction.atomic():
        if not SessionWebhook.objects.filter(pk=row.pk, warned_at=None).update(warned_at=now):
            return False
        if not is_open:
            _alert(channel, row, words)
    logger.warning(
        "channel %s: the session webhook of chat %s ends at %s (in %d min) unless somebody "
        "writes there; %s",
        channel.name,
        row.conversation_id,
        f"{row.expires_at:%Y-%m-%d %H:%M:%S} UTC",
        minutes,
        "then the Robot OpenAPI takes over" if is_open else "then nothing reaches that chat",
    )
    return True


def _alert(channel: Channel, row: SessionWebhook, words: dict[str, object]) -> None:
    """Raise an alert in the transaction that notes the warning: it comes once."""
    text = _(
        "Answers to “%(chat)s” stop at %(time)s, in %(minutes)s minutes, unless somebody writes "
        "there: the Robot OpenAPI does not reach that chat."
    )
    home = value_of(channel.home, "chat_id")
    if home and home != row.conversation_id:
        notice(channel, text % words)
        return
    body = {"type": "text", "text": text % words, "chat_id": row.conversation_id}
    record([NewEvent(Event.Source.SYSTEM, ENDING, json.dumps(body).encode())], [])


def _nudge(now: datetime) -> None:
    rows = SessionWebhook.objects.filter(
        nudged_at=None,
        expires_at__gt=now + MARGIN,
        expires_at__lte=now + WARN_BEFORE,
        channel__enabled=True,
        channel__kind=KIND,
    )
    for row in rows.select_related("channel")[:AT_ONCE]:
        life = row.expires_at - row.created_at
        if not (row.channel.readable_config() or {}).get("nudge") or not row.url:
            continue
        if row.expires_at - now <= life / LAST_PART:
            _ask_for_a_word(row, now)


def _ask_for_a_word(row: SessionWebhook, now: datetime) -> None:
    minutes = int((row.expires_at - now).total_seconds() // 60)
    text = _(
        "I can answer here for %(minutes)s more minutes. Write anything to keep the line open."
    )
    payload = {"type": "text", "text": text % {"minutes": minutes}}
    event = NewEvent(Event.Source.SYSTEM, "notice", json.dumps(payload).encode())
    delivery = NewDelivery(
        event=event,
        lane_id=row.channel.lane_id,
        event_type="notice",
        payload=payload,
        target={"chat_id": row.conversation_id},
    )
    with transaction.atomic():
        if SessionWebhook.objects.filter(pk=row.pk, nudged_at=None).update(nudged_at=now):
            record([event], [delivery])
