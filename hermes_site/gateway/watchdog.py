"""The watchdog: notices that no lane runner is alive, and says what to do about it.

A cluster of django-q2 can freeze for ever when one of its idle workers is killed: the dead process
holds the lock of the queue, its successors wait on it, and nothing in django-q2 notices. The
runners' heartbeats are what does.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.utils import Error as DatabaseError

from deliveries.models import Runner
from deliveries.tasks import ensure_runners

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds, as all of these
# A runner beats about every second. One that has been silent this long is given a successor …
SILENT_AFTER = 5.0
# … and when that did not help either, the queue is frozen.
FROZEN_AFTER = 10.0
# A cluster needs a few seconds to start and its first runner some more.
START_GRACE = 15.0


class Pulse:
    """How long each runner has been silent, by our own clock: theirs may differ or be set."""

    def __init__(self, slots: Iterable[int], now: float) -> None:
        self._beats: dict[int, datetime | None] = dict.fromkeys(slots)
        self._heard = dict.fromkeys(self._beats, now)

    def listen(self, beats: Mapping[int, datetime], now: float) -> None:
        """Take the heartbeats of all slots, as they stand in the database, at ``now``."""
        for slot in self._beats:
            beat = beats.get(slot)
            if beat != self._beats[slot]:
                self._beats[slot], self._heard[slot] = beat, now

    def forgive(self, now: float) -> None:
        """Forget the silence so far: nobody could be heard, or nobody was there to beat."""
        self._heard = dict.fromkeys(self._heard, now)

    def silence(self, now: float) -> float:
        """Return for how many seconds the most silent runner has not been heard."""
        return max(now - heard for heard in self._heard.values())


class Watchdog(threading.Thread):
    """Watches from a thread, as a database may be slow to answer when things are bad.

    ``frozen`` is called with the reason when the cluster has to be started anew; the caller says
    with `cluster_started` that it did. It is not called again before that.
    """

    def __init__(self, frozen: Callable[[str], None]) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._frozen = frozen
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._started_at: float | None = None
        self._blind = False
        self._pulse = Pulse(range(settings.RUNNERS), time.monotonic())

    def cluster_started(self) -> None:
        """Begin to watch a cluster that was started just now."""
        with self._lock:
            self._started_at = time.monotonic()
            self._pulse.forgive(self._started_at)

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()

    def run(self) -> None:
        """Look every second, until the end."""
        while not self._ended.wait(LOOK_EVERY):
            try:
                self._look()
            except DatabaseError as error:
                self._pulse.forgive(time.monotonic())
                if not self._blind:
                    logger.warning("The watchdog can't reach the database: %s", error)
                self._blind = True
                connection.close()
        connection.close()

    def _look(self) -> None:
        beats = dict(Runner.objects.values_list("slot", "beat_at"))
        self._blind = False
        now = time.monotonic()
        with self._lock:
            self._pulse.listen(beats, now)
            if self._started_at is None:
                return
            silence, age = self._pulse.silence(now), now - self._started_at
            frozen = silence > FROZEN_AFTER and age > START_GRACE
            if frozen:
                self._started_at = None
        if frozen:
            self._frozen(f"no lane runner was heard for {silence:.0f} s")
        elif silence > SILENT_AFTER:
            ensure_runners()
