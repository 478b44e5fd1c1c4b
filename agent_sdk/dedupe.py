"""Which deliveries were taken already: the gateway sends one again when it can't know."""

import sqlite3
import threading
import time
from collections import OrderedDict
from enum import Enum
from os import PathLike
from typing import Protocol

WINDOW = 24 * 3600.0  # seconds; spec 002
# What was begun and not finished for so long, nobody is at work on any more.
LEASE = 300.0  # seconds
# In memory, the oldest make room.
MOST = 100_000
PURGE_EVERY = 600.0  # seconds


class State(Enum):
    """What is known of a delivery when it comes in."""

    NEW = "new"
    BUSY = "busy"  # somebody is at work on it
    DONE = "done"


class DedupeStore(Protocol):
    """Where delivery ids are remembered. Write one for Redis and the like; safe for threads."""

    def begin(self, delivery_id: str) -> State:
        """Note that work on a delivery begins, if it is NEW; return what was known of it."""
        ...

    def done(self, delivery_id: str) -> None:
        """Remember for 24 hours that a delivery was taken."""
        ...

    def forget(self, delivery_id: str) -> None:
        """Take the note back: the work failed, and the delivery is to come again."""
        ...


class MemoryStore:
    """Remembers in this process, and forgets when it ends."""

    def __init__(self, window: float = WINDOW, lease: float = LEASE) -> None:
        self._window, self._lease = window, lease
        self._until: OrderedDict[str, tuple[float, State]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, delivery_id: str) -> State:
        """See `DedupeStore`."""
        now = time.time()
        with self._lock:
            until, state = self._until.get(delivery_id, (0.0, State.NEW))
            if until > now:
                return state
            self._note(delivery_id, now + self._lease, State.BUSY)
            while len(self._until) > MOST or next(iter(self._until.values()))[0] <= now:
                self._until.popitem(last=False)
        return State.NEW

    def done(self, delivery_id: str) -> None:
        """See `DedupeStore`."""
        with self._lock:
            self._note(delivery_id, time.time() + self._window, State.DONE)

    def forget(self, delivery_id: str) -> None:
        """See `DedupeStore`."""
        with self._lock:
            self._until.pop(delivery_id, None)

    def _note(self, delivery_id: str, until: float, state: State) -> None:
        self._until[delivery_id] = (until, state)
        self._until.move_to_end(delivery_id)


class SQLiteStore:
    """Remembers in a file, over restarts and for all processes of a machine."""

    def __init__(
        self, path: str | PathLike[str], window: float = WINDOW, lease: float = LEASE
    ) -> None:
        self._window, self._lease = window, lease
        self._lock = threading.Lock()
        self._purged_at = 0.0
        # Without transactions of its own: each statement here is one.
        self._file = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS taken "
            "(id TEXT PRIMARY KEY, until REAL NOT NULL, done INTEGER NOT NULL) WITHOUT ROWID"
        )

    def begin(self, delivery_id: str) -> State:
        """See `DedupeStore`."""
        now = time.time()
        with self._lock:
            self._purge(now)
            begun = self._file.execute(
                "INSERT INTO taken VALUES (?, ?, 0) ON CONFLICT (id) "
                "DO UPDATE SET until = excluded.until, done = 0 WHERE until <= ?",
                (delivery_id, now + self._lease, now),
            )
            if begun.rowcount:
                return State.NEW
            found = self._file.execute("SELECT done FROM taken WHERE id = ?", (delivery_id,))
            row = found.fetchone()
        # Gone since: whoever had begun has just failed, and it will come again.
        return State.DONE if row and row[0] else State.BUSY

    def done(self, delivery_id: str) -> None:
        """See `DedupeStore`."""
        with self._lock:
            self._file.execute(
                "INSERT OR REPLACE INTO taken VALUES (?, ?, 1)",
                (delivery_id, time.time() + self._window),
            )

    def forget(self, delivery_id: str) -> None:
        """See `DedupeStore`."""
        with self._lock:
            self._file.execute("DELETE FROM taken WHERE id = ?", (delivery_id,))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _purge(self, now: float) -> None:
        if now - self._purged_at > PURGE_EVERY:
            self._file.execute("DELETE FROM taken WHERE until <= ?", (now,))
            self._purged_at = now
