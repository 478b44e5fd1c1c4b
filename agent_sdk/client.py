"""Calls from the agent to the gateway."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import requests

from .errors import CannotOpen, InvalidBody
from .messages import Reference

TIMEOUT = 10.0  # seconds
# Of these, and of the wait between them, the gateway must not notice: it waits ten seconds.
FETCH_SECONDS = 7.0
LARGEST_OBJECT = 64 * 1_048_576  # bytes


class Client:
    """The gateway's REST interface, for one agent.

    Every method raises requests.RequestException: an HTTPError for a refusal, whose ``response``
    tells why. Safe for threads.
    """

    def __init__(
        self, base_url: str, agent_id: str, token: str, *, timeout: float = TIMEOUT
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.agent_id = agent_id
        self.token = token
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"Client({self.base_url!r}, {self.agent_id!r})"

    def post_message(
        self,
        conversation_id: str,
        payload: Mapping[str, Any] | str,
        *,
        in_reply_to: str | None = None,
    ) -> str:
        """Say something in a conversation; return the id of the event that the gateway stored.

        ``payload`` is ``{"type": "text", "text": …}``, or just the text. ``in_reply_to`` is the
        id, or the delivery id, of the message that this answers.
        """
        body: dict[str, Any] = {"conversation_id": conversation_id, "payload": as_payload(payload)}
        if in_reply_to:
            body["in_reply_to"] = in_reply_to
        event_id: str = self.call("POST", "messages", body).json()["event_id"]
        return event_id

    def recover(self) -> int:
        """Take the agent back if it was unreachable; return how many deliveries set out to it."""
        count: int = self.call("POST", "connection/recover").json()["pending_count"]
        return count

    def delivery_logs(self, **filters: Any) -> Iterator[Mapping[str, Any]]:
        """Go through what was sent to the agent, newest first, page by page.

        Filters: ``status``, ``event_type``, ``error_class``, ``since``, ``until``; ``limit`` is
        the size of a page.
        """
        return self._pages("delivery-logs", filters)

    def conversations(self, **filters: Any) -> Iterator[Mapping[str, Any]]:
        """Go through the agent's conversations in the order of their keys; ``key`` finds one."""
        return self._pages("conversations", filters)

    def gateway_keys(self) -> Sequence[str]:
        """Return the public keys with which the gateway signs sealed envelopes, in base64."""
        keys = self.call("GET", "public-key").json()["gateway_keys"]
        return [key["public_key"] for key in keys]

    def set_public_key(self, public_key: str | None) -> None:
        """Have envelopes sealed for this X25519 key, base64; None: no longer."""
        self.call("PUT", "public-key", {"public_key": public_key})

    def rotate_token(self, overlap: int = 3600) -> str:
        """Return a new token, and use it from now on; the old one ends ``overlap`` s later."""
        rotated = self.call("POST", "tokens/rotate", {"overlap_seconds": overlap}).json()
        token: str = rotated["token"]
        self.token = token
        return token

    def fetch_object(self, reference: Reference) -> bytes:
        """Return an envelope that a delivery only referred to.

        Waits when there were too many requests, for a few seconds in all. Raises InvalidBody when
        it is gone or not what was announced, CannotOpen when it can't be had at the moment.
        """
        if not 0 <= reference.size <= LARGEST_OBJECT:
            raise InvalidBody(f"The envelope has {reference.size} bytes; that is too many.")
        deadline = time.monotonic() + FETCH_SECONDS
        try:
            while (response := self._get_object(reference)).status_code == 429:
                wait = float(response.headers.get("Retry-After", "1"))
                if time.monotonic() + wait > deadline:
                    raise CannotOpen("The gateway asks to wait before it gives the envelope.")
                time.sleep(wait)
            if response.status_code == 404:
                raise InvalidBody("The envelope that the body refers to does not exist any more.")
            response.raise_for_status()
        except requests.RequestException as error:
            raise CannotOpen(f"The envelope could not be fetched: {error}") from None
        if len(response.content) != reference.size:
            raise CannotOpen("The envelope that was fetched has another size than announced.")
        return response.content

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        """Call an address below ``/agents/<id>/`` and return its answer, which is a success."""
        response = self._request(method, f"agents/{self.agent_id}/{path}", json=body, params=query)
        response.raise_for_status()
        return response

    def _get_object(self, reference: Reference) -> requests.Response:
        # Without its scheme, as proxies take offence at slashes in a name.
        return self._request("GET", f"r2/{quote(reference.object_key.removeprefix('ref://'))}")

    def _pages(self, path: str, filters: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        query = dict(filters)
        while True:
            page = self.call("GET", path, query=query)
            yield from page.json()
            if "X-Next-Cursor" not in page.headers:
                return
            query["cursor"] = page.headers["X-Next-Cursor"]

    def _request(self, method: str, path: str, **parts: Any) -> requests.Response:
        # No session: they are not for threads. No redirects: they would take the token along.
        return requests.request(
            method,
            f"{self.base_url}/{path}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=self.timeout,
            allow_redirects=False,
            **parts,
        )


def post_message(
    base_url: str, agent_id: str, token: str, conversation_id: str, payload: Mapping[str, Any]
) -> str:
    """Say something in a conversation; as `Client.post_message`, for a single call."""
    return Client(base_url, agent_id, token).post_message(conversation_id, payload)


def as_payload(said: Mapping[str, Any] | str) -> Mapping[str, Any]:
    """Return a message as it travels; a text becomes one."""
    return {"type": "text", "text": said} if isinstance(said, str) else said
