"""What every connection does with a delivery once it is known to be genuine."""

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any

import requests

from .client import Client, as_payload
from .dedupe import DedupeStore, MemoryStore, State
from .envelopes import Opener
from .errors import CannotOpen, InvalidBody
from .messages import InboundMessage, parse_webhook_payload

logger = logging.getLogger("agent_sdk")

MESSAGE = "message.new"
# Deliveries that may wait for a thread in the background; what is more is sent again later.
BACKLOG = 1000

# A handler may return what is to be said: a text or a payload. It may be async.
Handler = Callable[[InboundMessage], Any]


class Result(Enum):
    """What became of a delivery."""

    TAKEN = "taken"
    REPEAT = "repeat"  # it was taken before
    BUSY = "busy"  # somebody is at work on it, or there is no room for it
    INVALID = "invalid"  # it can't be read, and never will be
    FAILED = "failed"  # another try may succeed


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a delivery, and what the handler says to it at once."""

    result: Result
    answer: Mapping[str, Any] | None = None


class Inbox:
    """Dedupes, fetches, opens, and gives to the handler; the same for every connection.

    ``on_message`` gets messages, ``on_event`` all other events. ``background`` above 0: a
    delivery counts as taken as soon as it was read, and that many threads work on it; one whose
    handler then raises is lost but for the log. ``posts_answers``: what a handler returns is posted
    as part of taking the delivery, and not left to the caller.
    """

    def __init__(
        self,
        client: Client,
        *,
        on_message: Handler,
        on_event: Handler | None = None,
        private_key: str | None = None,
        gateway_keys: Sequence[str] = (),
        dedupe: DedupeStore | None = None,
        background: int = 0,
        posts_answers: bool = False,
    ) -> None:
        self._client = client
        self._posts_answers = posts_answers
        self._on_message, self._on_event = on_message, on_event
        self._opener = Opener(client.agent_id, private_key, gateway_keys, self._gateway_keys)
        self._dedupe = MemoryStore() if dedupe is None else dedupe
        self._threads = ThreadPoolExecutor(background, "agent") if background else None
        self._room = threading.BoundedSemaphore(BACKLOG)

    def take(self, delivery_id: str, body: bytes | str) -> Taken:
        """Take one delivery. Never raises for what is in it, nor for what a handler does."""
        state = self._dedupe.begin(delivery_id)
        if state is not State.NEW:
            return Taken(Result.REPEAT if state is State.DONE else Result.BUSY)
        try:
            taken = self._take(delivery_id, body)
        except BaseException:
            self._dedupe.forget(delivery_id)
            raise
        if taken.result is not Result.TAKEN:
            self._dedupe.forget(delivery_id)
        return taken

    def _take(self, delivery_id: str, body: bytes | str) -> Taken:
        try:
            message = parse_webhook_payload(
                body,
                opener=self._opener,
                fetch=self._client.fetch_object,
                delivery_id=delivery_id,
            )
        except InvalidBody as error:
            logger.warning("delivery %s was refused: %s", delivery_id, error)
            return Taken(Result.INVALID)
        except CannotOpen as error:
            logger.error("delivery %s can't be read now: %s", delivery_id, error)
            return Taken(Result.FAILED)
        if self._threads is not None:
            return self._later(self._threads, message)
        try:
            answer = self._handle(message)
            if self._posts_answers:
                self._say(message, answer)
                answer = None
        except Exception:
            # Whatever a handler raises: an agent that dies of one message gets no other.
            logger.exception("delivery %s failed; it will come again", delivery_id)
            return Taken(Result.FAILED)
        self._dedupe.done(delivery_id)
        return Taken(Result.TAKEN, answer)

    def _later(self, threads: ThreadPoolExecutor, message: InboundMessage) -> Taken:
        if not self._room.acquire(blocking=False):
            return Taken(Result.BUSY)
        # Before the work begins, which forgets it if it fails.
        self._dedupe.done(message.delivery_id)
        threads.submit(self._in_background, message)
        return Taken(Result.TAKEN)

    def _in_background(self, message: InboundMessage) -> None:
        try:
            self._say(message, self._handle(message))
        except Exception:
            # Redelivered by a person, it is worked on again.
            self._dedupe.forget(message.delivery_id)
            logger.exception("delivery %s failed in the background", message.delivery_id)
        finally:
            self._room.release()

    def _say(self, message: InboundMessage, answer: Mapping[str, Any] | None) -> None:
        """Post what a handler returned to the conversation of its message, if it has one."""
        if answer is not None and message.conversation_id:
            self._client.post_message(
                message.conversation_id, answer, in_reply_to=message.delivery_id or None
            )

    def _handle(self, message: InboundMessage) -> Mapping[str, Any] | None:
        handler = self._on_message if message.type == MESSAGE else self._on_event
        if handler is None:
            logger.info("an event %s is not listened for", message.type)
            return None
        said = handler(message)
        if inspect.iscoroutine(said):
            said = asyncio.run(said)
        return None if said is None else as_payload(said)

    def _gateway_keys(self) -> Sequence[str]:
        try:
            return self._client.gateway_keys()
        except requests.RequestException as error:
            raise CannotOpen(f"The gateway's keys could not be fetched: {error}") from None
