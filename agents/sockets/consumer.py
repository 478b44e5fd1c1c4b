"""One agent's WebSocket, from its handshake to its end (docs/agents/websocket.md)."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.core.exceptions import ValidationError
from django.db import Error as DatabaseError

from agents.models import AgentToken
from agents.services.messages import UnknownConversation, post_message
from agents.services.presence import (
    Farewell,
    Seat,
    Unwelcome,
    connect,
    disconnect,
    farewells,
    group_of,
    note_sign,
)
from deliveries import fetching

from . import frames, lookout
from .drain import ACKNOWLEDGE_WITHIN, Drain
from .threads import run

logger = logging.getLogger(__name__)

HEARTBEAT = 25  # seconds, as all of these
# Two beats without a word of it, and an agent is taken for dead.
DEAD_AFTER = 50
# Who reads nothing for so long, with the connection's buffers full, is gone as well.
SEND_WITHIN = 15.0
CLOSE_WITHIN = 3.0
# Without the channel layer a socket looks at its row once a second all the same.
LAYER_AGAIN = 30

SILENT = Farewell(4008, "No sign of life; answer a ping with a pong.")
TOO_LARGE = Farewell(1009, f"A frame may have {frames.FRAME_LIMIT} bytes.")
FAULT = Farewell(1011, "The gateway had a fault of its own. Connect again.")

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class AgentSocket(AsyncWebsocketConsumer):
    """The socket of the agent whose token this is; accepted already as far as that goes."""

    # Ours listens to the layer by itself: a Redis that is away must not end sockets.
    channel_layer_alias = ""

    def __init__(self, token: AgentToken, subprotocol: str | None) -> None:
        super().__init__()
        self._token = token
        self._subprotocol = subprotocol
        self._seat: Seat | None = None
        self._watcher: lookout.Watcher | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._sending = asyncio.Lock()
        self._heard = time.monotonic()
        self._farewell: Farewell | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the connection; when it ends, in whichever way, give up the seat."""
        self._main = asyncio.create_task(super().__call__(scope, receive, send))
        try:
            await self._main
        except asyncio.CancelledError:
            self._main.cancel()
            if self._farewell is None:
                raise
        finally:
            if self._farewell is not None:
                await self._say_farewell(self._farewell)
            await self._end()

    async def connect(self) -> None:
        """Take the agent's seat and begin to send what waits."""
        await self.accept(subprotocol=self._subprotocol)
        try:
            seat = await run(connect, self._token.agent_id, self._token.pk)
        except Unwelcome as refused:
            return await self._leave(refused.farewell)
        self._seat = seat
        self._drain = Drain(seat, self._say)
        await self._say(
            frames.welcome(seat.agent_id, seat.waiting, seat.cap, HEARTBEAT, ACKNOWLEDGE_WITHIN)
        )
        self._watcher = lookout.Watcher(
            seat.lane_id, self._drain.look, self._drain.wants, seat, self._dismissed
        )
        lookout.watch(self._watcher)
        for work in (self._drain.run(), self._beat(seat), self._listen(seat)):
            self._tasks.append(asyncio.create_task(self._guarded(work)))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take one frame of the agent; what can't be used is answered and changes nothing."""
        self._heard = time.monotonic()
        if len(text_data or "") > frames.FRAME_LIMIT or len(bytes_data or b"") > frames.FRAME_LIMIT:
            return await self._leave(TOO_LARGE)
        try:
            if text_data is None:
                raise frames.BadFrame("Frames are text messages.")
            frame = frames.read(text_data)
        except frames.BadFrame as bad:
            return await self._say(frames.error("bad_frame", str(bad), bad.about))
        match frame:
            case frames.Settle():
                await self._settle(frame)
            case frames.Say():
                await self._say(await self._post(frame))
            case frames.Ping():
                await self._say(frames.pong(frame.about))

    async def _settle(self, frame: frames.Settle) -> None:
        seat = self._seat
        if seat is None or self._drain.settle(frame.delivery_id, frame.outcome):
            return
        # Late, or to a name that was never ours; awaited, so that a flood of them waits for us.
        about = {"delivery_id": str(frame.delivery_id)}
        outcomes = {frame.delivery_id: frame.outcome}
        try:
            known = await run(fetching.settle, seat.lane_id, outcomes, seat.token)
        except DatabaseError:
            return await self._say(_unavailable(about))
        if not known:
            detail = "No such delivery is out to this connection."
            await self._say(frames.error("unknown_delivery", detail, about))

    async def _post(self, frame: frames.Say) -> str:
        try:
            event = await run(
                post_message,
                self._token.agent,
                frame.conversation_id,
                frame.payload,
                in_reply_to=frame.in_reply_to,
            )
        except UnknownConversation as error:
            return frames.error("unknown_conversation", str(error), frame.about)
        except ValidationError as error:
            return frames.error("bad_message", " ".join(error.messages), frame.about)
        except DatabaseError:
            return _unavailable(frame.about)
        return frames.posted(event.pk, frame.about)

    async def _beat(self, seat: Seat) -> None:
        """Ask for a sign of life, give one to the others, and look at our row."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            if time.monotonic() - self._heard > DEAD_AFTER:
                return await self._leave(SILENT)
            try:
                await run(note_sign, seat)
                await self._look(seat)
            except DatabaseError as error:
                logger.warning("Agent %s: its sign of life is not noted: %s", seat.agent_id, error)
            await self._say(frames.ping())

    async def _listen(self, seat: Seat) -> None:
        """Look at our row when somebody says so."""
        layer = get_channel_layer()
        while layer is not None:
            try:
                channel = await layer.new_channel()
                await layer.group_add(group_of(seat.agent_id), channel)
                try:
                    while await layer.receive(channel):
                        await self._look(seat)
                finally:
                    await layer.group_discard(group_of(seat.agent_id), channel)
            except Exception as error:  # whatever the layer is made of: it only brings hints
                logger.warning("Agent %s: no hints from others: %s", seat.agent_id, error)
            await asyncio.sleep(LAYER_AGAIN)

    async def _look(self, seat: Seat) -> None:
        farewell = (await run(farewells, {seat.token: seat})).get(seat.token)
        if farewell is not None:
            await self._leave(farewell)

    def _dismissed(self, farewell: Farewell) -> None:
        self._tasks.append(asyncio.create_task(self._leave(farewell)))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Do a part of the connection's work; it does not go on with one part missing."""
        try:
            await work
        except TimeoutError:
            await self._leave(SILENT)
        except Exception:
            logger.exception("Agent %s: its socket failed", self._token.agent_id)
            await self._leave(FAULT)

    async def _say(self, text: str) -> None:
        """Send a frame; raise TimeoutError when the agent does not read."""
        async with self._sending, asyncio.timeout(SEND_WITHIN):
            await self.send(text_data=text)

    async def _leave(self, farewell: Farewell) -> None:
        """End the connection; the first farewell is the one that is said."""
        if self._farewell is not None:
            return
        self._farewell = farewell
        if asyncio.current_task() is self._main:
            raise StopConsumer
        self._main.cancel()

    async def _say_farewell(self, farewell: Farewell) -> None:
        """Close the connection; whether the other side takes note does not matter.

        Only when nobody reads from it any more: the server does not write the close before.
        """
        logger.info("Agent %s: closed %d, %s", self._token.agent_id, farewell.code, farewell.reason)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self.close(farewell.code, farewell.reason)

    async def _end(self) -> None:
        if self._watcher is not None:
            lookout.unwatch(self._watcher)
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        seat = self._seat
        if seat is None:
            return
        heard = dict(self._drain.unwritten)
        try:
            await run(disconnect, seat.agent_id, seat.lane_id, seat.token, heard)
        except DatabaseError:
            # Leases run out, and the clockwork notices that nobody sits there.
            logger.exception("Agent %s: the end of its socket is not noted", seat.agent_id)


def _unavailable(about: Any) -> str:
    return frames.error("unavailable", "It could not be stored. Send it again.", about)
