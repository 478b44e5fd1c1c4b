"""Envelopes that are too large for the wire: kept in a storage until their delivery is purged.

The storage is Django's of the alias ``objects``: a folder, or a bucket of S3 or R2. A row of
StoredObject says what is in there, and whose it is.
"""

import logging
import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from typing import Any
from uuid import UUID

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from deliveries.models import Delivery

from .models import Agent, StoredObject

logger = logging.getLogger(__name__)

ALIAS = "objects"
KEY_BYTES = 24
# Each costs a call of the storage, which may be far away.
PURGE_BATCH = 50
# The worker that does this is wanted elsewhere; what is left is left to the next minute.
PURGE_SECONDS = 3.0


class StorageFailed(Exception):
    """The storage could not do what it was asked; its text names the kind of fault only."""

    def __init__(self, act: str, fault: Exception) -> None:
        super().__init__(f"could not {act}: {type(fault).__name__}")


def objects() -> Storage:
    """Return the storage."""
    return storages[ALIAS]


def keep(agent: Agent, delivery_id: UUID, content: bytes) -> StoredObject:
    """Keep the envelope of a delivery, once: a later attempt gets what the first one kept.

    Raises StorageFailed when it can't be written. Not to be called inside a transaction.
    """
    kept = StoredObject.objects.filter(delivery_id=delivery_id, agent=agent).first()
    if kept is not None:
        return kept
    new = StoredObject(
        key=secrets.token_urlsafe(KEY_BYTES),
        agent=agent,
        delivery_id=delivery_id,
        size=len(content),
    )
    try:
        objects().save(_name(new), ContentFile(content))
    except Exception as error:
        # Whatever a storage raises: each has errors of its own.
        raise StorageFailed("store a body above 1 MB", error) from error
    # Another attempt may have been here since; then its content stands and ours goes.
    stands, is_new = StoredObject.objects.get_or_create(
        delivery_id=delivery_id,
        defaults={"key": new.key, "agent": agent, "size": new.size},
    )
    if not is_new:
        _delete_file(_name(new))
    return stands


def read(stored: StoredObject) -> bytes:
    """Return the content of an object; raise StorageFailed when it can't be read."""
    try:
        with objects().open(_name(stored)) as file:
            content: bytes = file.read()
    except Exception as error:
        raise StorageFailed("read a body above 1 MB", error) from error
    return content


def forget_waiting(agent: Agent) -> int:
    """Remove what is kept for deliveries that are still to be sent; return how many that were.

    The next attempt keeps it anew, sealed for the key that the agent has by then.
    """
    pending = Delivery.objects.filter(pk=OuterRef("delivery_id"), pending_lane__isnull=False)
    return _remove(list(agent.stored_objects.filter(Exists(pending))))


def purge_objects(now: datetime) -> int:
    """Remove objects whose delivery has left the ledger; return how many (a clockwork duty)."""
    gone = StoredObject.objects.exclude(Exists(_delivery()))
    deadline = time.monotonic() + PURGE_SECONDS
    total = 0
    while rows := list(gone.order_by("delivery_id")[:PURGE_BATCH]):
        done = _remove(rows)
        total += done
        if done < PURGE_BATCH or time.monotonic() > deadline:
            break
    return total


def delete_file_of(sender: object, instance: StoredObject, **_signal: Any) -> None:
    """Remove the file of a row that went with its agent, once that is committed."""
    # Named now: a row that was deleted forgets its key.
    transaction.on_commit(partial(_delete_file, _name(instance)))


def check_storage(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """agents.E001: a bucket is set, and what speaks to buckets is not installed."""
    if not settings.OBJECTS_BUCKET or (find_spec("storages") and find_spec("boto3")):
        return []
    return [
        Error(
            "OBJECTS_BUCKET is set, but django-storages with boto3 is not installed.",
            hint='Run `pip install "django-storages[s3]"`, or unset it to use the data folder.',
            id="agents.E001",
        )
    ]


def _delivery() -> QuerySet[Delivery]:
    return Delivery.objects.filter(pk=OuterRef("delivery_id"))


def _remove(rows: Sequence[StoredObject]) -> int:
    """Remove files and then rows: what could not be removed keeps its row and is tried again."""
    removed = [row.pk for row in rows if _delete_file(_name(row))]
    found = StoredObject.objects.filter(pk__in=removed)
    found._raw_delete(found.db)  # past the signal, which would delete the files once more
    return len(removed)


def _delete_file(name: str) -> bool:
    try:
        objects().delete(name)
    except Exception:
        # Whatever a storage raises: each has errors of its own.
        logger.exception("A body above 1 MB could not be removed from the storage")
        return False
    return True


def _name(stored: StoredObject) -> str:
    return f"{stored.agent_id}/{stored.key}"
