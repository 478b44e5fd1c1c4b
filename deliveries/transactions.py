"""Who writes when: one writer at a time on SQLite, one engine at a time everywhere."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, connection, transaction


@contextmanager
def reconnecting() -> Iterator[None]:
    """Drop a connection that broke inside, so that this thread's next query opens another.

    Django does so between its own requests; a thread that lives outside them would keep a dead
    connection for ever.
    """
    try:
        yield
    except Error:
        connection.close_if_unusable_or_obsolete()
        raise


@contextmanager
def write_transaction() -> Iterator[None]:
    """Open a transaction for the two busy writers, the receive path and the lane runner.

    SQLite's own busy handler sleeps up to 100 ms between looks, which makes the slowest answers
    slow by as much; a lock on a file beside the database queues the writers instead
    (facts/performance.md A4.4). Elsewhere this is `transaction.atomic`.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    lock = _lock_file()
    if lock is None:
        with transaction.atomic():
            yield
        return
    with _threads:  # the descriptor, and so the lock, is the same for all of them
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with transaction.atomic():
                yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)


_threads = threading.Lock()
_lock: tuple[int, str, int] | None = None  # (process id, path, descriptor)


def _lock_file() -> int | None:
    """Return this process' own descriptor of the lock file; None for a database in memory.

    A descriptor inherited through fork shares its lock with the parent, so each process opens
    its own.
    """
    global _lock
    name = str(connection.settings_dict["NAME"])
    if name == ":memory:" or name.startswith("file:"):
        return None
    if _lock is None or _lock[:2] != (os.getpid(), name):
        # The descriptor lives as long as the process.
        _lock = (os.getpid(), name, os.open(f"{name}.writer", os.O_RDWR | os.O_CREAT, 0o600))
    return _lock[2]


@contextmanager
def engine_transaction() -> Iterator[None]:
    """Open a `write_transaction` of the engine; on every database they follow one another.

    A claim counts what is in flight on each lane before it takes more; two of them side by side
    would count the same and take twice the cap. And each writes rows of many lanes, in the order
    in which outcomes came in: side by side they would wait for each other in a circle.
    """
    with write_transaction():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ENGINE])
        yield


_ENGINE = 0x4865726D6573  # any constant; this one spells "Hermes"
