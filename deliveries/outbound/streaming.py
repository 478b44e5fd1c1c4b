"""Guarded requests whose answer is read while it comes, for receivers that take minutes."""

import http.client
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from django.utils.translation import gettext as _

from vault.redaction import redact

from .addresses import Policy
from .errors import BadResponse, OutboundError
from .exchange import WIRE_ERRORS, Exchange
from .http import _answer, _prepared


class TooLong(BadResponse):
    """The answer has more bytes than the caller takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(_("The answer is longer than %(limit)d bytes.") % {"limit": limit})


class Streamed:
    """An answer whose head is here and whose body is still to come; read it once."""

    def __init__(self, exchange: Exchange, response: requests.Response) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers  # names are case-insensitive
        self._exchange = exchange
        self._raw: Any = response.raw  # an http.client.HTTPResponse

    def lines(self, limit: int) -> Iterator[bytes]:
        """Yield line after line as they come, without their ends; the last may have had none.

        Raises TooLong past ``limit`` bytes in all, and the OutboundError of a connection that
        ends before the answer does or of a deadline that passes.
        """
        left = limit
        while line := self._line(left + 1):
            left -= len(line)
            if left < 0:
                raise TooLong(limit)
            yield line.rstrip(b"\r\n")

    def read(self, limit: int) -> bytes:
        """Return the whole body; raise as `lines` does."""
        body = self._exchange.read(self._raw, limit + 1)
        if len(body) > limit:
            raise TooLong(limit)
        return body

    def close(self) -> None:
        """Keep the connection for the next request if everything was read; else end it."""
        if self._raw.isclosed() or self._raw.length == 0:
            self._exchange.read(self._raw, 0)
        else:
            self._exchange._drop()

    def _line(self, size: int) -> bytes:
        try:
            line: bytes = self._raw.readline(size)
            # http.client lets a body end early when it is read in parts; after the last of its
            # chunks there is none left, and not one of which nothing is left.
            if not line and (self._raw.length or self._raw.chunk_left is not None):
                raise http.client.IncompleteRead(b"")
        except WIRE_ERRORS as err:
            self._exchange._drop()
            raise self._exchange.named(err) from None
        return line


@contextmanager
def stream(
    method: str,
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    policy: Policy = Policy.PUBLIC,
    secrets: Iterable[str] = (),
) -> Iterator[Streamed]:
    """Send one request and give its answer to be read; the connection is let go of at the end.

    Guarded as `deliveries.outbound.request` is: judged and pinned address, no redirects, no
    proxies. ``timeout`` is in seconds and for everything together, the body as well, however the
    receiver drips it. Raises an OutboundError, redacted; so does reading.
    """
    try:
        deadline = time.monotonic() + timeout
        prepared = _prepared(method, url, headers or {}, body, policy, deadline)
        answer = Streamed(prepared.exchange, _answer(prepared))
        try:
            yield answer
        finally:
            answer.close()
    except OutboundError as err:
        err.args = (redact(str(err), secrets),)
        raise
