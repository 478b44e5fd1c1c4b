"""The WebSocket mode: one connection that the agent opens and keeps.

Needs the ``[websocket]`` extra, which is `websockets`.
"""

import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .client import Client
from .dedupe import DedupeStore
from .inbox import Handler, Inbox, Result

logger = logging.getLogger("agent_sdk")

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds between two tries to connect
# What is to come again after a failure, the first time and at the longest.
FIRST_RETRY, LONGEST_RETRY = 30, 3600  # seconds
# A body may have 1 MB, and its frame a little.
LARGEST_FRAME = 1_048_576 + 65_536  # bytes

REPLACED, SWITCHED, NO_TOKEN, SUSPENDED = 4001, 4002, 4003, 4004
# With these, another try would end the same.
FINAL = frozenset({REPLACED, SWITCHED, NO_TOKEN})


class ConnectionEnded(Exception):
    """The gateway does not want this connection; ``code`` is its close code, or 403."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class WebSocketClient:
    """Keeps a connection to the gateway, and gives what comes to the handlers.

    ``on_message``, ``on_event``, ``private_key``, ``gateway_keys`` and ``dedupe`` are those of
    `WebhookDispatcher`. ``workers`` threads call the handlers; a delivery is acknowledged when
    its handler has returned, for which it has the gateway's ``ack_seconds`` (60). For longer work
    set ``background`` to a number of threads: then it is acknowledged when it was read.
    """

    def __init__(
        self,
        *,
        agent_id: str,
        token: str,
        base_url: str,
        on_message: Handler,
        on_event: Handler | None = None,
        private_key: str | None = None,
        gateway_keys: Sequence[str] = (),
        dedupe: DedupeStore | None = None,
        workers: int = 4,
        background: int = 0,
    ) -> None:
        self.client = Client(base_url, agent_id, token)
        self._inbox = Inbox(
            self.client,
            on_message=on_message,
            on_event=on_event,
            private_key=private_key,
            gateway_keys=gateway_keys,
            dedupe=dedupe,
            background=background,
            posts_answers=True,
        )
        self._workers = workers
        self._failures: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._socket: Any = None

    def run(self) -> None:
        """Stay connected until `stop`; connect again whenever the connection is lost.

        Raises ConnectionEnded when another try would end the same: the token is not valid, another
        connection took over, or the agent was switched to another mode.
        """
        wait = FIRST_WAIT
        with ThreadPoolExecutor(self._workers, "agent") as threads:
            while not self._stopped.is_set():
                if self._listen(threads):
                    wait = FIRST_WAIT
                # Not all agents of a gateway at the same moment.
                self._stopped.wait(wait * random.uniform(0.5, 1))  # noqa: S311
                wait = min(wait * 2, LONGEST_WAIT)

    def stop(self) -> None:
        """Close the connection and let `run` return; handlers under way end first."""
        self._stopped.set()
        socket = self._socket
        if socket is not None:
            socket.close()

    def send_reply(
        self,
        conversation_id: str,
        payload: Mapping[str, Any] | str,
        *,
        in_reply_to: str | None = None,
    ) -> str:
        """Say something in a conversation at any time; see `Client.post_message`."""
        return self.client.post_message(conversation_id, payload, in_reply_to=in_reply_to)

    def _listen(self, threads: ThreadPoolExecutor) -> bool:
        """Connect and take what comes until the connection ends; return whether there was one."""
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
        from websockets.sync.client import connect

        address = self.client.base_url.replace("http", "ws", 1)
        try:
            socket = connect(
                f"{address}/agents/{self.client.agent_id}/ws",
                additional_headers={"Authorization": f"Bearer {self.client.token}"},
                max_size=LARGEST_FRAME,
            )
        except InvalidStatus as refused:
            status = refused.response.status_code
            if status in (401, 403):
                raise ConnectionEnded(status, "the gateway refuses the token") from None
            logger.warning("the gateway answered %d to the handshake", status)
            return False
        except (OSError, InvalidHandshake) as error:
            logger.warning("could not connect: %s", error)
            return False
        with socket:
            self._socket = socket
            if self._stopped.is_set():
                return False  # meanwhile
            try:
                while True:
                    self._heed(socket, threads, socket.recv())
            except ConnectionClosed as closed:
                return self._after(closed)
            finally:
                self._socket = None

    def _after(self, closed: Any) -> bool:
        """Judge how a connection ended: raise if for good, return whether it had been of use."""
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
        if code in FINAL and not self._stopped.is_set():
            raise ConnectionEnded(code, reason)
        logger.info("the connection ended: %d %s", code, reason)
        return bool(code != SUSPENDED)

    def _heed(self, socket: Any, threads: ThreadPoolExecutor, text: str | bytes) -> None:
        try:
            frame = json.loads(text)
            kind = frame["type"]
        except (ValueError, TypeError, KeyError):
            logger.warning("a frame of the gateway could not be read")
            return
        if "delivery_id" in frame and ("wire_envelope" in frame or "ref" in frame):
            threads.submit(self._take, socket, str(frame["delivery_id"]), text)
        elif kind == "ping":
            _send(socket, {"type": "pong"})
        elif kind == "welcome":
            logger.info("connected; %s deliveries wait", frame.get("waiting"))
        elif kind == "error":
            logger.warning("the gateway: %s %s", frame.get("code"), frame.get("detail"))

    def _take(self, socket: Any, delivery_id: str, body: str | bytes) -> None:
        taken = self._inbox.take(delivery_id, body)
        match taken.result:
            case Result.TAKEN | Result.REPEAT:
                self._failures.pop(delivery_id, None)
                said: dict[str, Any] = {"type": "ack"}
            case Result.INVALID:
                self._failures.pop(delivery_id, None)
                said = {"type": "nack", "reason": "the agent can't read it"}
            case Result.BUSY | Result.FAILED:
                said = {"type": "nack", "retry_after": self._retry_after(delivery_id)}
        _send(socket, {**said, "delivery_id": delivery_id})

    def _retry_after(self, delivery_id: str) -> int:
        self._failures[delivery_id] += 1
        return int(min(FIRST_RETRY * 2 ** min(self._failures[delivery_id] - 1, 10), LONGEST_RETRY))


def _send(socket: Any, frame: Mapping[str, Any]) -> None:
    from websockets.exceptions import ConnectionClosed

    try:
        socket.send(json.dumps(frame))
    except ConnectionClosed:
        # What was not acknowledged comes again, and is known by its id.
        logger.info("the connection ended before %s could be sent", frame["type"])
