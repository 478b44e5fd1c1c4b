"""The lookout: one thread that watches the lanes for all who wait in this process.

It is woken by whoever commits work on this machine (`deliveries.wake`), and looks once a second
by itself: for hints that got lost, for other machines, and for sockets that have to go.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from uuid import UUID

from django.db import connection

from agents.services.presence import Farewell, Seat, farewells
from deliveries import fetching
from deliveries.transactions import reconnecting
from deliveries.wake import Ear

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds
# Hints may come by the thousand, from lanes that are not ours: looking at them takes at most this
# share of the time.
SHARE = 0.1


class Watcher:
    """One who waits for deliveries of a lane; made and used on an event loop.

    ``found`` is called on that loop when there is something to fetch and ``wants`` says yes,
    ``dismiss`` when the socket of this ``seat`` has to go. Of several without a seat that wait
    for one lane one is called at a time.
    """

    def __init__(
        self,
        lane_id: int,
        found: Callable[[], None],
        wants: Callable[[], bool],
        seat: Seat | None = None,
        dismiss: Callable[[Farewell], None] | None = None,
    ) -> None:
        self.lane_id = lane_id
        self.seat = seat
        self.wants = wants  # called by the lookout's thread
        self._found = found
        self._dismiss = dismiss
        self._loop = asyncio.get_running_loop()

    def tell_found(self) -> None:
        """Call ``found``, from another thread."""
        self._call(self._found)

    def tell_farewell(self, farewell: Farewell) -> None:
        """Call ``dismiss``, from another thread."""
        dismiss = self._dismiss
        if dismiss is not None:
            self._call(lambda: dismiss(farewell))

    def _call(self, tell: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the loop is closed
            unwatch(self)


_lock = threading.Lock()
_watchers: list[Watcher] = []
_thread: threading.Thread | None = None


def watch(watcher: Watcher) -> None:
    """Look out for a watcher from now on."""
    global _thread
    with _lock:
        _watchers.append(watcher)
        if _thread is None:
            _thread = threading.Thread(target=_look_out, name="lookout", daemon=True)
            _thread.start()


def unwatch(watcher: Watcher) -> None:
    """Look out for it no more. Without watchers there is no thread, and nobody hears hints."""
    with _lock:
        if watcher in _watchers:
            _watchers.remove(watcher)


def _look_out() -> None:
    ear = Ear()
    tick = time.monotonic()
    while not _ended(ear):
        began = time.monotonic()
        try:
            with reconnecting():
                _find()
                if began >= tick:
                    _dismiss()
                    tick = began + LOOK_EVERY
        except Exception:
            # The database is away or busy; sockets stay, and so does what is for them.
            logger.exception("the lookout could not look")
            time.sleep(LOOK_EVERY)
        took = time.monotonic() - began
        time.sleep(min(took * (1 / SHARE - 1), LOOK_EVERY))
        ear.wait(tick - time.monotonic())
        if ear.stopping:
            ear.stopping = False
            _release()
    connection.close()


def _ended(ear: Ear) -> bool:
    """Return whether nobody waits any more; the thread is then no longer the lookout."""
    global _thread
    with _lock:
        if _watchers:
            return False
        # Before there can be a successor, whose ear has the same address.
        ear.close()
        _thread = None
        return True


def _find() -> None:
    """Tell who wants something that there is something; of those without a seat the first."""
    with _lock:
        wanting = [watcher for watcher in _watchers if watcher.wants()]
    lanes = {watcher.lane_id for watcher in wanting}
    left = fetching.ready(lanes) if lanes else set()
    for watcher in wanting:
        if watcher.lane_id in left:
            watcher.tell_found()
            if watcher.seat is None:
                left.discard(watcher.lane_id)


def _dismiss() -> None:
    with _lock:
        seated = {watcher.seat.token: watcher for watcher in _watchers if watcher.seat}
    seats: dict[UUID, Seat] = {
        token: watcher.seat for token, watcher in seated.items() if watcher.seat
    }
    for token, farewell in farewells(seats).items() if seats else ():
        seated[token].tell_farewell(farewell)


def _release() -> None:
    """Let requests that wait be answered: the gateway is stopping, and waits for them."""
    with _lock:
        waiting = [watcher for watcher in _watchers if watcher.seat is None]
    for watcher in waiting:
        watcher.tell_found()
