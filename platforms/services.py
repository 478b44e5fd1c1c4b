"""Finding, testing, changing channels, and saying something on one."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from deliveries.models import Event
from deliveries.record import NewDelivery, NewEvent, record

from .destinations import sender_of, unreadable
from .models import Channel
from .registry import senders
from .sender import Check

# Platforms ban whoever knocks too often with a wrong key (facts/channels.md §22).
BETWEEN_TESTS = timedelta(seconds=10)


class UnknownChannel(LookupError):
    """No channel is meant by that; the text says why, and the way out."""


def channel_for(deliver: str) -> Channel:
    """Return the channel that a route's ``deliver`` means.

    That is the one of that name, on or off, else the only one of that platform that is on.
    Raises UnknownChannel.
    """
    channels = Channel.objects.defer("config")  # which is not what is asked for here
    named = channels.filter(name=deliver).first()
    if named is not None:
        return named
    of_kind = list(channels.filter(kind=deliver).order_by("name"))
    enabled = [channel for channel in of_kind if channel.enabled]
    if len(enabled) == 1:
        return enabled[0]
    if enabled:
        names = ", ".join(channel.name for channel in enabled)
        words = {"kind": deliver, "names": names}
        raise UnknownChannel(_("Several channels are %(kind)s; name one of: %(names)s.") % words)
    if of_kind:
        words = {"kind": deliver, "name": of_kind[0].name}
        raise UnknownChannel(_("Every %(kind)s channel is off; enable %(name)s.") % words)
    if deliver in senders():
        raise UnknownChannel(_("There is no %s channel yet; add one under Channels.") % deliver)
    words = {"deliver": deliver, "kinds": ", ".join(senders())}
    raise UnknownChannel(
        _("There is no channel and no platform named “%(deliver)s”; platforms: %(kinds)s.") % words
    )


def test_connection(channel: Channel) -> Check:
    """Test a channel by its platform's free verify call, and keep what was found.

    A success frees a channel that needed attention; a failure flags it. At most once in ten
    seconds, whoever asks: sooner, nothing is called and nothing changes.
    """
    now = timezone.now()
    row = Channel.objects.filter(pk=channel.pk)
    due = Q(checked_at=None) | Q(checked_at__lte=now - BETWEEN_TESTS)
    if not row.filter(due).update(checked_at=now):
        seconds = int(BETWEEN_TESTS.total_seconds())
        return Check(False, _("It was tested less than %s seconds ago; wait a little.") % seconds)
    sender = sender_of(channel)
    if sender is not None:
        check = sender.check()
    elif channel.readable_config() is None:
        check = Check(False, unreadable(channel.name))
    else:
        check = Check(False, _("Hermes does not know this platform."))
    health = Channel.Health.OK if check.ok else Channel.Health.NEEDS_ATTENTION
    row.update(health=health, health_reason="" if check.ok else check.detail)
    return check


def save_config(
    channel: Channel, config: Mapping[str, Any], home: Mapping[str, Any]
) -> dict[str, str]:
    """Save a channel with what its sender's forms cleaned; return the secrets that were generated.

    They are by field name, to be shown once. Secrets that the form left empty stay.
    """
    sender = senders()[channel.kind]
    stored = channel.readable_config() or {}
    channel.config = sender.prepare_config(stored, config)
    channel.home = {name: value for name, value in home.items() if value not in ("", None)}
    with transaction.atomic():
        if channel.pk is None:
            channel.save()
        else:
            # Health is the engine's to write, and may have changed since the row was read.
            channel.save(update_fields=["name", "config", "home", "enabled"])
    return {
        name: channel.config[name]
        for name in sender.secret_names()
        if channel.config.get(name)
        and channel.config[name] not in (stored.get(name), config.get(name))
    }


def notice(channel: Channel, text: str, *, trace: UUID | None = None) -> UUID:
    """Say something of the gateway's own on a channel, at its home; return the event's id.

    Written in the caller's transaction, sent after it.
    """
    payload = {"type": "text", "text": text}
    event = NewEvent(
        source=Event.Source.SYSTEM,
        type="notice",
        body=json.dumps(payload).encode(),
        trace=trace,
    )
    delivery = NewDelivery(
        event=event, lane_id=channel.lane_id, event_type="notice", payload=payload
    )
    with transaction.atomic():
        record([event], [delivery])
    return event.id
