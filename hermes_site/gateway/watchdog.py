"""The watchdog: notices that no lane runner is alive, and says what to do about it.

A cluster of django-q2 can freeze for ever when one of its idle workers is killed: the dead process
holds the lock of the queue, its successors wait on it, and nothing in django-q2 notices. The
runners do: their heartbeats cease, or they wait for a successor that never comes.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.utils import Error as DatabaseError

from deliveries import wake
from deliveries.models import Runner
from deliveries.tasks import ensure_runners, replace_runners

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds, as all of these
# A runner beats about every second. One that has been silent this long is given a successor …
SILENT_AFTER = 5.0
# … and when that did not help either, the queue is frozen.
FROZEN_AFTER = 10.0
# A successor comes at once, or when the other worker is done with the clockwork or with what its
# last slice left in flight. One that does not come for so long never will; the slice goes on
# meanwhile, and for some time after (`tasks.LONGEST_SECONDS`).
STUCK_AFTER = 12.0
# How long the runners of a frozen cluster may take to finish what is in flight.
LAST_SENDS = 3.0
# A cluster needs a few seconds to start and its first runner some more.
START_GRACE = 15.0


@dataclass(frozen=True, slots=True)
class Sign:
    """What a runner has written of itself: its heartbeat, and since when it wants a successor."""

    beat_at: datetime | None = None
    handover_at: datetime | None = None


class Pulse:
    """How long each runner has been silent, and for how long it has waited for a successor.

    By our own clock: theirs may differ or be set.
    """

    def __init__(self, slots: Iterable[int], now: float) -> None:
        self._signs = dict.fromkeys(slots, Sign())
        self._heard = dict.fromkeys(self._signs, now)
        self._waiting = dict.fromkeys(self._signs, now)

    def listen(self, signs: Mapping[int, Sign], now: float) -> None:
        """Take the signs of all slots, as they stand in the database, at ``now``."""
        for slot, before in self._signs.items():
            sign = signs.get(slot, Sign())
            if sign.beat_at != before.beat_at:
                self._heard[slot] = now
            if sign.handover_at is None or sign.handover_at != before.handover_at:
                self._waiting[slot] = now
            self._signs[slot] = sign

    def forgive(self, now: float) -> None:
        """Forget the past: nobody could be heard, or nobody was there to beat."""
        self._heard = dict.fromkeys(self._heard, now)
        self._waiting = dict.fromkeys(self._waiting, now)

    def silence(self, now: float) -> float:
        """Return for how many seconds the most silent runner has not been heard."""
        return max(now - heard for heard in self._heard.values())

    def waiting(self, now: float) -> float:
        """Return for how many seconds a runner has waited for its successor; the longest wait."""
        return max(now - since for since in self._waiting.values())

    def frozen(self, now: float) -> str:
        """Return why the cluster must be frozen; nothing if it need not be."""
        if self.silence(now) > FROZEN_AFTER:
            return f"no lane runner was heard for {self.silence(now):.0f} s"
        if self.waiting(now) > STUCK_AFTER:
            return f"a lane runner waited for its successor for {self.waiting(now):.0f} s"
        return ""


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
        self._news = False
        self._blind = False
        self._pulse = Pulse(range(settings.RUNNERS), time.monotonic())

    def cluster_started(self) -> None:
        """Begin to watch a cluster that was started just now."""
        with self._lock:
            self._started_at = time.monotonic()
            self._news = True
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
            except Exception:
                # Whatever it is, nobody else watches.
                logger.exception("The watchdog stumbled")
        connection.close()

    def _look(self) -> None:
        rows = Runner.objects.values_list("slot", "beat_at", "handover_at")
        signs = {slot: Sign(*sign) for slot, *sign in rows}
        self._blind = False
        now = time.monotonic()
        reason = ""
        with self._lock:
            self._pulse.listen(signs, now)
            if self._started_at is None:
                return
            silence = self._pulse.silence(now)
            if now - self._started_at > START_GRACE:
                reason = self._pulse.frozen(now)
            if reason:
                self._started_at = None
            news, self._news = self._news, False
        if reason:
            self._let_finish()
            self._frozen(reason)
        elif news:
            # What the cluster before it had fetched from the queue comes back late.
            replace_runners()
        elif silence > SILENT_AFTER:
            ensure_runners()

    def _let_finish(self) -> None:
        """Ask runners that still work to write what is in flight; wait for it, but not long."""
        deadline = time.monotonic() + LAST_SENDS
        while wake.stop() and time.monotonic() < deadline and not self._ended.wait(0.1):
            pass
