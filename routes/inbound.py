"""A request to a route and the answer to it, whatever server carries them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

JSON = "application/json; charset=utf-8"

Headers = Mapping[str, str]
#: Return the whole body, or raise `TooLarge` past so many bytes, `ReadFailed` if it does not come.
Read = Callable[[int], Awaitable[bytes]]


@dataclass(slots=True)
class Inbound:
    """One request to ``/webhooks/<name>``.

    ``headers`` have lower-case names, those sent twice are joined by commas. ``query`` is the part
    after the question mark, still encoded; ``client`` the address of the peer.
    """

    method: str
    name: str
    headers: Headers
    read: Read
    query: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told: an object as JSON, or bytes of the content type."""

    status: int
    body: Mapping[str, Any] | bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON

    @property
    def content(self) -> bytes:
        """Return the body as it goes out."""
        return self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)


class TooLarge(Exception):
    """The body is over the limit."""


class ReadFailed(Exception):
    """The body did not arrive whole, or not in time."""
