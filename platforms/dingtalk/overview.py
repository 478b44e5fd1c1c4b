"""The sessions of a channel as its page shows them: the clock, the roads, the last one taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Max
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.lists import state_mark
from deliveries.models import Attempt, Delivery
from platforms.models import Channel, SessionWebhook
from platforms.targets import value_of

from .callbacks import GROUP
from .sessions import MARGIN
from .watch import WARN_BEFORE

SHOWN = 50
# So many of the channel's latest deliveries are searched for the last one of each chat.
LOOK_BACK = 200

ROADS: dict[str, str | Promise] = {
    "session": gettext_lazy("session webhook"),
    "person": gettext_lazy("Robot OpenAPI, to the person"),
    "group": gettext_lazy("Robot OpenAPI, to the group"),
    "robot": gettext_lazy("the group's own robot"),
}


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """What was last sent to a chat: by which road, how it went, and where to read about it."""

    delivery: UUID
    road: str
    at: datetime
    went: str  # its state, marked up


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One chat: its name, its clock marked up, and what is left when that has run out."""

    title: str
    chat_id: str
    kind: str
    clock: str
    otherwise: str
    is_lost: bool  # nothing reaches it
    last: LastAnswer | None


def session_lines(channel: Channel) -> list[SessionLine]:
    """Return the chats of a channel, those that somebody wrote in last first."""
    now = timezone.now()
    rows = list(channel.session_webhooks.order_by("-created_at")[:SHOWN])
    answers = _last_answers(channel)
    return [_line(row, answers, now) for row in rows]


def _line(row: SessionWebhook, answers: dict[str, LastAnswer], now: datetime) -> SessionLine:
    is_group = row.conversation_type == GROUP
    is_good = bool(row.url) and now + MARGIN < row.expires_at
    if is_group:
        otherwise = _("Robot OpenAPI")
    else:
        otherwise = _("Robot OpenAPI") if row.staff_id else _("none: no staff ID")
    last = answers.get(row.conversation_id)
    by_person = answers.get(f"user:{row.staff_id}") if row.staff_id and not is_group else None
    if by_person and (last is None or by_person.at > last.at):
        last = by_person
    return SessionLine(
        title=str(row),
        chat_id=row.conversation_id,
        kind=_("a group") if is_group else _("one person"),
        clock=_clock(row, is_good, now),
        otherwise=otherwise,
        is_lost=not is_good and not is_group and not row.staff_id,
        last=last,
    )


def _clock(row: SessionWebhook, is_good: bool, now: datetime) -> str:
    if is_good:
        left = timeuntil(row.expires_at, now)
        if row.expires_at - now > WARN_BEFORE:
            return state_mark("ok", _("good for %s") % left)
        return state_mark("pending", _("ends in %s") % left)
    if row.url and row.expires_at > now:
        return state_mark("pending", _("ends within a minute"))
    ago = timesince(row.expires_at, now)
    return state_mark("off", (_("ended %s ago") if row.url else _("closed %s ago")) % ago)


def _last_answers(channel: Channel) -> dict[str, LastAnswer]:
    """Return by chat what was last sent there, with the road that its last attempt took."""
    home = value_of(channel.home, "chat_id")
    rows = Delivery.objects.filter(lane_id=channel.lane_id, attempt_count__gt=0)
    latest: dict[str, Delivery] = {}
    for row in rows.order_by("-id")[:LOOK_BACK]:
        target = row.target if isinstance(row.target, dict) else {}
        latest.setdefault(value_of(target, "chat_id") or home, row)
    roads = _roads([row.pk for row in latest.values()])
    return {
        chat: LastAnswer(
            delivery=row.pk,
            road=roads.get(row.pk, "–"),
            at=row.completed_at or row.created_at,
            went=state_mark(row.status, row.get_status_display()),
        )
        for chat, row in latest.items()
    }


def _roads(deliveries: Sequence[UUID]) -> dict[UUID, str]:
    tries = Attempt.objects.filter(delivery__in=deliveries).order_by()
    newest = tries.values("delivery_id").annotate(number=Max("number"))
    numbers = {found["delivery_id"]: found["number"] for found in newest}
    rows = tries.filter(number__in=set(numbers.values()))
    return {
        pk: road
        for pk, number, ids in rows.values_list("delivery_id", "number", "provider_ids")
        if numbers.get(pk) == number and (road := _named(ids))
    }


def _named(provider_ids: Any) -> str:
    """Return the roads that an attempt's parts took, each once."""
    roads = provider_ids.get("road") if isinstance(provider_ids, dict) else None
    roads = roads if isinstance(roads, list) else [roads]
    return ", ".join(str(ROADS[road]) for road in dict.fromkeys(roads) if road in ROADS)
