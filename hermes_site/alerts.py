"""Alerts: incidents begin, are told once, end, and that is told once.

An alert is a delivery like any other: durable, retried, in the history. It has no route, so its own
failure is an error of none; and a channel that ails is never told of anything, least of all that it
ails. While no worker runs nothing can be sent: that is told when one is back, and `/health/worker`
and `/metrics` say it at once to whoever watches from outside.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from deliveries.transactions import write_transaction
from platforms.models import Channel
from platforms.services import notice

from . import troubles
from .models import AlertSettings, Incident, Trouble
from .troubles import Found, clock

logger = logging.getLogger(__name__)

# The clockwork looks every minute; a longer gap means that there was no worker.
GAP = timedelta(minutes=5)
# What comes and goes about its limit is one incident: it is over when it has been gone so long.
CALM = {Trouble.ROUTE: timedelta(minutes=5), Trouble.EXPIRING: timedelta(minutes=5)}
# What mends itself is not told of.
PATIENCE = {Trouble.WORKER: timedelta(minutes=1)}
# One alert names so many, and counts the rest.
NAMED = 20


def watch(now: datetime) -> int:
    """Look for troubles, begin and end incidents, tell what is to be told; return how many of it.

    A duty of the clockwork. What is told and that it was told are one transaction.
    """
    limits = AlertSettings.current()
    found = troubles.find(limits, now)
    with write_transaction():
        AlertSettings.objects.get_or_create(pk=AlertSettings.ONLY)
        # Two workers at once follow one another here, and the second sees what the first did.
        limits = AlertSettings.objects.select_for_update().get(pk=AlertSettings.ONLY)
        _note_gap(limits.looked_at, now)
        _begin(found, now)
        _end(found, now)
        told = _tell(limits, now)
        AlertSettings.objects.filter(pk=AlertSettings.ONLY).update(looked_at=now)
        _forget(now)
    return told


def channel_now(limits: AlertSettings) -> Channel | None:
    """Return the channel that takes alerts now: the chosen one, else its substitute, if well."""
    chosen = [pk for pk in (limits.channel_id, limits.substitute_id) if pk is not None]
    rows = Channel.objects.filter(pk__in=chosen, enabled=True, health=Channel.Health.OK)
    well = {channel.pk: channel for channel in rows.defer("config")}
    return next((well[pk] for pk in chosen if pk in well), None)


def is_quiet(limits: AlertSettings, now: datetime) -> bool:
    """Return whether a moment is within the quiet hours."""
    begin, end = limits.quiet_from, limits.quiet_until
    if begin is None or end is None:
        return False
    here: time = now.astimezone(ZoneInfo(limits.quiet_zone)).time()
    if begin < end:
        return begin <= here < end
    return here >= begin or here < end  # over midnight


def send_test(channel: Channel) -> None:
    """Say on a channel that alerts come here; sent as they are."""
    notice(channel, _("Hermes: this is a test. Alerts will come here."))


def _note_gap(looked_at: datetime | None, now: datetime) -> None:
    if looked_at is None or now - looked_at < GAP:
        return
    words = {"begin": clock(looked_at), "end": clock(now)}
    Incident.objects.create(
        kind=Trouble.WORKER,
        detail=_("Nothing was sent from %(begin)s to %(end)s; what waited is on its way.") % words,
        opened_at=looked_at,
        seen_at=now,
        closed_at=now,
        over_told_at=now,  # its end is told with it
    )
    logger.warning("no worker was at work from %s to %s", looked_at, now)


def _begin(found: Iterable[Found], now: datetime) -> None:
    """Begin an incident for each trouble that has none, and renew what the others say."""
    for one in found:
        words = {"label": one.label[:150], "detail": one.detail, "seen_at": now}
        begun = Incident.objects.get_or_create(
            kind=one.kind,
            subject=one.subject,
            closed_at=None,
            defaults={**words, "opened_at": now},
        )
        if begun[1]:
            logger.warning("incident: %s: %s: %s", one.kind, one.label, one.detail)
        else:
            Incident.objects.filter(pk=begun[0].pk).update(**words)


def _end(found: Iterable[Found], now: datetime) -> None:
    there = {(one.kind.value, one.subject) for one in found}
    for incident in Incident.objects.filter(closed_at=None):
        gone = (incident.kind, incident.subject) not in there
        calm = CALM.get(Trouble(incident.kind), timedelta())
        if gone and now - incident.seen_at >= calm:
            Incident.objects.filter(pk=incident.pk).update(closed_at=now)
            logger.info("incident over: %s: %s", incident.kind, incident.label)


def _tell(limits: AlertSettings, now: datetime) -> int:
    """Tell what has begun and what is over, in one message; return of how many incidents."""
    news = [one for one in _untold(limits) if _is_due(one, now)]
    over = list(
        Incident.objects.filter(
            closed_at__isnull=False, told_at__isnull=False, over_told_at=None
        ).order_by("pk")
    )
    if not (news or over) or is_quiet(limits, now):
        return 0
    channel = channel_now(limits)
    if channel is None:
        return 0
    event = notice(channel, _text(news, over))
    mine = Incident.objects.filter(pk__in=[one.pk for one in news])
    mine.update(told_at=now, told_event=event)
    Incident.objects.filter(pk__in=[one.pk for one in over]).update(over_told_at=now)
    return len(news) + len(over)


def _untold(limits: AlertSettings) -> Iterable[Incident]:
    # A time without a worker is over by the time that it can be told.
    still = Q(closed_at=None) | Q(kind=Trouble.WORKER, over_told_at__isnull=False)
    return Incident.objects.filter(still, told_at=None, kind__in=limits.kinds).order_by("pk")


def _is_due(incident: Incident, now: datetime) -> bool:
    patience = PATIENCE.get(Trouble(incident.kind), timedelta())
    return incident.closed_at is not None or now - incident.opened_at >= patience


def _text(news: Sequence[Incident], over: Sequence[Incident]) -> str:
    parts = [_said(one) for one in news[:NAMED]]
    parts += [_over(one) for one in over[: max(0, NAMED - len(news))]]
    left = len(news) + len(over) - len(parts)
    if left:
        parts.append(_("And %(count)d more.") % {"count": left})
        parts.append(f"{settings.PUBLIC_URL}/admin/")
    return "\n\n".join(parts)


def _said(incident: Incident) -> str:
    path = troubles.url_of(incident)
    link = f"{settings.PUBLIC_URL}{path or '/admin/'}"
    return f"Hermes: {incident}\n{incident.detail}\n{link}"


def _over(incident: Incident) -> str:
    lasted = timesince(incident.opened_at, incident.closed_at)
    return _("Hermes: over after %(time)s: %(what)s") % {"time": lasted, "what": incident}


def _forget(now: datetime) -> None:
    old = now - timedelta(days=settings.LEDGER_DAYS)
    Incident.objects.filter(closed_at__lt=old).delete()
