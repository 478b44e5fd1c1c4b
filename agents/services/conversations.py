"""Conversations: which one an event belongs to, and when one is forgotten."""

from datetime import datetime, timedelta
from uuid import UUID, uuid5

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from agents.models import Conversation
from deliveries.models import Delivery, Event
from deliveries.selectors import first_id_of
from deliveries.transactions import write_transaction

PURGE_BATCH = 500
# Use is noted once in so long: a write for each message would tell nobody more.
NOTED_EVERY = timedelta(days=1)


def conversation_id(agent_id: UUID, key: str) -> UUID:
    """Return the id of an agent's conversation of a key, whether it exists yet or not.

    The same for the same two for ever, so that whoever receives an event can write conversation
    and event without asking first.
    """
    return uuid5(agent_id, key)


def note_use(conversation: Conversation, now: datetime) -> None:
    """Keep a conversation for as long again as the ledger is kept; inside a transaction."""
    if conversation.created_at >= now - NOTED_EVERY:
        return
    row = Conversation.objects.filter(pk=conversation.pk)
    # Waiting for whoever holds it would close a circle: the engine is here with an answer, and
    # the receive path with an event may be waiting for the engine. Being held it is used anyway.
    if row.select_for_update(skip_locked=True).first() is not None:
        row.update(created_at=now)


def purge_conversations(now: datetime) -> int:
    """Forget conversations that nothing in the ledger belongs to any more; return how many.

    Every event and every message of the agent moves ``created_at`` on, within a day; so one that
    was not used for as long as the ledger is kept has nothing left in it. One with something
    pending stays, and so does that of an event which the ledger keeps.
    """
    old = _unused(now)
    total = 0
    while old.exists():  # asked outside the transaction: mostly there is nothing
        done = _purge_batch(old)
        total += done
        if not done:  # somebody is at work on those that are left
            break
    return total


def _unused(now: datetime) -> QuerySet[Conversation]:
    before = now - timedelta(days=settings.LEDGER_DAYS)
    waits = Delivery.objects.filter(conversation_id=OuterRef("pk"), pending_lane__isnull=False)
    return Conversation.objects.filter(
        # The ids of events carry their time: this leaves out, by the primary key alone, the many
        # young conversations of one event each.
        Q(pk__lt=first_id_of(before)) | Q(pk__gt=first_id_of(now + timedelta(days=1))),
        ~Exists(waits),
        ~Exists(Event.objects.filter(pk=OuterRef("pk"))),
        created_at__lt=before - NOTED_EVERY,
    )


def _purge_batch(old: QuerySet[Conversation]) -> int:
    with write_transaction():
        # What an event is being written to at this moment is used.
        rows = old.select_for_update(skip_locked=True).values_list("pk", flat=True)
        ids = list(rows[:PURGE_BATCH])
        # Past Django's collector, which would look for each through the whole ledger.
        Conversation.objects.filter(pk__in=ids)._raw_delete("default")
    return len(ids)
