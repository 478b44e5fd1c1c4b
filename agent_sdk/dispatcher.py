"""The webhook mode, whole: from a request of the gateway to its answer."""

import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import requests

from .client import Client
from .dedupe import DedupeStore
from .inbox import Handler, Inbox, Result
from .signatures import MAX_TOLERANCE, verify_webhook_signature

logger = logging.getLogger("agent_sdk")

LARGEST_BODY = 1_048_576  # bytes; the gateway sends no larger one
BUSY_SECONDS = 10
# Before each try to recover; the gateway may be starting, too.
RECOVER_WAITS = (0.0, 2.0, 10.0, 60.0)

GATEWAY = "HERMES_URL"
AGENT_ID = "HASHEE_AGENT_ID"
TOKEN = "HASHEE_AGENT_TOKEN"  # noqa: S105  the name of the variable
SECRET = "HASHEE_WEBHOOK_SECRET"  # noqa: S105
PRIVATE_KEY = "HASHEE_X25519_PRIVATE_BASE64"

_STATUS = {
    Result.TAKEN: 200,
    Result.REPEAT: 200,
    Result.BUSY: 429,
    Result.INVALID: 400,
    Result.FAILED: 503,
}


@dataclass(frozen=True, slots=True)
class Response:
    """What is to be answered to the gateway; adapters turn it into that of a framework."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class WebhookDispatcher:
    """Verifies a delivery, dedupes it, fetches and opens it, and calls the handler.

    * ``on_message`` gets messages, ``on_event`` every other event (without it they are ignored).
      What a handler returns, a text or a payload, is the answer. What it raises makes the gateway
      send the delivery again. It has the ten seconds that the gateway waits; for longer work set
      ``background`` to a number of threads: then the gateway has its 200 at once, and a delivery
      whose handler raises is lost but for the log.
    * ``secret``: several, while one replaces another.
    * ``private_key``: the agent's X25519 key, base64, if envelopes are sealed for it;
      ``gateway_keys``: trust these Ed25519 keys only, rather than those that the gateway tells.
    * ``dedupe``: a `SQLiteStore` remembers over restarts; the default is in memory.
    * ``auto_recover``: tells the gateway, from a thread, that the agent is back.
    """

    def __init__(
        self,
        *,
        agent_id: str,
        token: str,
        secret: str | Sequence[str],
        base_url: str,
        on_message: Handler,
        on_event: Handler | None = None,
        private_key: str | None = None,
        gateway_keys: Sequence[str] = (),
        dedupe: DedupeStore | None = None,
        tolerance: float = MAX_TOLERANCE,
        auto_recover: bool = True,
        background: int = 0,
    ) -> None:
        if tolerance > MAX_TOLERANCE:
            raise ValueError(f"The tolerance can be at most {MAX_TOLERANCE} seconds.")
        self.client = Client(base_url, agent_id, token)
        self._secret, self._tolerance = secret, tolerance
        self._inbox = Inbox(
            self.client,
            on_message=on_message,
            on_event=on_event,
            private_key=private_key,
            gateway_keys=gateway_keys,
            dedupe=dedupe,
            background=background,
        )
        if auto_recover:
            threading.Thread(target=self._recover, daemon=True).start()

    @classmethod
    def from_environment(cls, **options: Any) -> Self:
        """Return a dispatcher with what the agent was given in the environment.

        HERMES_URL, HASHEE_AGENT_ID, HASHEE_AGENT_TOKEN, HASHEE_WEBHOOK_SECRET, and
        HASHEE_X25519_PRIVATE_BASE64 if envelopes are sealed; raises KeyError for one that is
        missing. ``options`` are those of the class.
        """
        given = {
            "base_url": os.environ[GATEWAY],
            "agent_id": os.environ[AGENT_ID],
            "token": os.environ[TOKEN],
            "secret": os.environ[SECRET],
            "private_key": os.environ.get(PRIVATE_KEY) or None,
        }
        return cls(**(given | options))

    def handle(self, headers: Mapping[str, str], body: bytes | str) -> Response:
        """Take one request of the gateway and return the answer to it; never raises.

        ``headers`` may be in any case, ``body`` is raw, as received.
        """
        if len(body) > LARGEST_BODY:
            return refused(413, "body too large")
        if not verify_webhook_signature(self._secret, headers, body, tolerance=self._tolerance):
            return refused(401, "invalid signature")
        named = {name.lower(): value for name, value in headers.items()}
        taken = self._inbox.take(named["x-hashee-delivery-id"], body)
        status = _STATUS[taken.result]
        if status >= 400:
            wait = {"Retry-After": str(BUSY_SECONDS)} if status == 429 else {}
            return refused(status, taken.result.value, wait)
        return _json(status, {} if taken.answer is None else {"payload": taken.answer})

    def send_reply(
        self,
        conversation_id: str,
        payload: Mapping[str, Any] | str,
        *,
        in_reply_to: str | None = None,
    ) -> str:
        """Say something in a conversation at any time; see `Client.post_message`."""
        return self.client.post_message(conversation_id, payload, in_reply_to=in_reply_to)

    def recover(self) -> int:
        """Take the agent back now; see `Client.recover`."""
        return self.client.recover()

    def _recover(self) -> None:
        for wait in RECOVER_WAITS:
            time.sleep(wait)
            try:
                count = self.recover()
            except requests.RequestException as error:
                logger.warning("could not recover: %s", error)
            else:
                if count:
                    logger.info("recovered; %d deliveries are on their way", count)
                return


def refused(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a refusal; ``why`` is for whoever reads the gateway's history."""
    return _json(status, {"error": why}, headers)


def _json(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(content, ensure_ascii=False).encode()
    return Response(status, body, {"Content-Type": "application/json", **(headers or {})})
