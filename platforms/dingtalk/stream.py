"""The stream of one app: brings in what people write to its robot, for as long as it runs.

DingTalk pushes each message once and never again, acknowledged or not (facts/channels.md §13.3):
so a message is stored first and acknowledged then, and a database that is away is waited for.
"""

import logging
import threading
import time
from uuid import UUID, uuid4

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from platforms.chats import receive_chat
from platforms.models import Channel

from . import sessions
from .callbacks import Unreadable, read_callback
from .frames import FAILED, OK, Frame, answer_to, read_frame
from .opening import CannotOpen, Refused, opened
from .streams import App

logger = logging.getLogger(__name__)

RECONNECT = (2.0, 5.0, 10.0, 30.0, 60.0)  # seconds; the last one from then on
# Whoever is refused is so until an operator does something; to knock on would get us shut out.
REFUSED_WAIT = 300.0
# A connection that lived this long has earned a clean slate.
HEALTHY_AFTER = 60.0
# DingTalk sends a ping of its own about twice a minute. Once it has, silence for so long means
# that nothing comes through any more, although the line holds. From a server that sends none,
# silence means nothing: the line itself is tested by the WebSocket's own pings.
SILENT_AFTER = 180.0
STORE_AGAIN = (1.0, 2.0, 5.0, 10.0)
LOOK_EVERY = 1.0


class Stream:
    """Connects, takes what comes, connects again; until ``stopping`` is set."""

    def __init__(self, app: App, stopping: threading.Event) -> None:
        self._app = app
        self._stopping = stopping
        self._failures = 0

    def run(self) -> None:
        """Run until it is to stop."""
        while not self._stopping.is_set():
            began = time.monotonic()
            wait = self._turn()
            if time.monotonic() - began > HEALTHY_AFTER:
                self._failures = 0
            if wait is None:
                wait = RECONNECT[min(self._failures, len(RECONNECT) - 1)]
                self._failures += 1
            if not self._stopping.is_set():
                logger.info("channel %s: connecting again in %d s", self._app.channel, wait)
                self._stopping.wait(wait)

    def _turn(self) -> float | None:
        """Open a connection and live by it to its end; return the wait, None for the ladder's."""
        name = self._app.channel
        try:
            with opened(self._app) as websocket:
                return self._live(websocket)
        except Refused as error:
            self._flag(str(error))
            return REFUSED_WAIT
        except CannotOpen as error:
            logger.warning("channel %s: the stream could not be opened: %s", name, error)
        except ConnectionClosed as error:
            logger.warning("channel %s: the stream broke: %s", name, error)
        return None

    def _live(self, websocket: ClientConnection) -> float | None:
        """Take what comes until the connection ends, and end what it has brought."""
        connection = uuid4()
        self._end_sessions()  # of a process that was killed
        logger.info("channel %s: connected to DingTalk", self._app.channel)
        began = time.monotonic()
        try:
            reason = self._listen(websocket, connection)
        finally:
            self._end_sessions()
        if self._stopping.is_set():
            return 0.0
        logger.info("channel %s: %s", self._app.channel, reason)
        # DingTalk ends connections in the ordinary course; but not one after the other.
        return 0.0 if time.monotonic() - began > RECONNECT[0] else None

    def _listen(self, websocket: ClientConnection, connection: UUID) -> str:
        """Answer frames; return why that has ended."""
        heard, is_pinged = time.monotonic(), False
        while not self._stopping.is_set():
            try:
                text = websocket.recv(timeout=LOOK_EVERY)
            except TimeoutError:
                if is_pinged and time.monotonic() - heard > SILENT_AFTER:
                    return "nothing was heard for too long"
                continue
            heard = time.monotonic()
            frame = read_frame(text)
            if frame is None:
                logger.warning("channel %s: a frame could not be read", self._app.channel)
                continue
            if frame.type == "SYSTEM" and frame.topic == "disconnect":
                return f"DingTalk ends the connection: {str(frame.content.get('reason'))[:200]}"
            is_pinged = is_pinged or frame.type == "SYSTEM"
            code = self._take(frame, connection) if frame.is_message else OK
            if answer := answer_to(frame, code):
                websocket.send(answer)
        return "it is to stop"

    def _take(self, frame: Frame, connection: UUID) -> int:
        """Store a message, waiting for a database that is away; return what to acknowledge."""
        tries = 0
        while True:
            try:
                self._store(frame, connection)
                return OK
            except (OperationalError, InterfaceError):
                logger.exception("channel %s: a message waits to be stored", self._app.channel)
                wait = STORE_AGAIN[min(tries, len(STORE_AGAIN) - 1)]
                tries += 1
                if self._stopping.wait(wait):
                    said = "channel %s: the message %s is lost: it could not be stored"
                    logger.error(said, self._app.channel, frame.message_id)
                    return FAILED
            except Exception:
                # One message that cannot be taken must not keep the others.
                said = "channel %s: the message %s could not be taken"
                logger.exception(said, self._app.channel, frame.message_id)
                return FAILED

    def _store(self, frame: Frame, connection: UUID) -> None:
        try:
            callback = read_callback(frame.content)
        except Unreadable as error:
            logger.warning(
                "channel %s: what came as %s is no message: %s",
                self._app.channel,
                frame.message_id,
                error,
            )
            return
        with sessions.briefly_connected():
            app = self._app
            sessions.note(app.channel_id, app.api_base, callback, connection, timezone.now())
            channel = Channel.objects.defer("config").get(pk=app.channel_id)
            if receive_chat(channel, callback.as_chat_message()) is None:
                logger.info("channel %s: %s came before", app.channel, callback.message_id)

    def _end_sessions(self) -> None:
        """End the session webhooks of the channel, if the database is there.

        If not, they are found dead when they are used; what people write goes before.
        """
        try:
            with sessions.briefly_connected():
                ended = sessions.end_all(self._app.channel_id)
        except DatabaseError:
            logger.exception("channel %s: its sessions could not be ended", self._app.channel)
            return
        if ended:
            logger.info(
                "channel %s: %d session webhooks ended with their connection",
                self._app.channel,
                ended,
            )

    def _flag(self, why: str) -> None:
        """Let the channel need attention: the app is not what its credentials say."""
        logger.error("channel %s: DingTalk refuses the stream: %s", self._app.channel, why)
        reason = f"DingTalk refuses the stream: {why}"
        rows = Channel.objects.filter(pk=self._app.channel_id, health=Channel.Health.OK)
        try:
            with sessions.briefly_connected():
                rows.update(health=Channel.Health.NEEDS_ATTENTION, health_reason=reason)
        except DatabaseError:
            logger.exception("channel %s: its health could not be noted", self._app.channel)
