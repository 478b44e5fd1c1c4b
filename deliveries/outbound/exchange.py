"""One request and its answer on the wire, within one budget."""

import http
import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext as _
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

from .connections import GuardedConnection, Origin, connect, idle
from .errors import (
    BadResponse,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    OutboundError,
    TimedOut,
    TlsFailed,
)

MAX_HEAD_BYTES = 65536  # status line and headers of a response

# How a kept connection that the receiver has closed meanwhile shows itself.
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
# Everything the standard library and urllib3 throw when the wire or its content is bad.
WIRE_ERRORS = (OSError, http.client.HTTPException, HTTPError, ValueError)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


class Exchange:
    """Sends one request and reads its answer; used once.

    In requests' terms it stands where a urllib3 connection pool would, hence `urlopen`. `sent`
    turns True when the first byte is handed to the socket.
    """

    def __init__(self, origin: Origin, host_header: str, target: str, deadline: float) -> None:
        self.origin = origin
        self.host_header = host_header
        self.target = target
        self.deadline = deadline
        self.sent = False
        self._connection: GuardedConnection | None = None

    def urlopen(
        self, *, method: str, body: bytes | None, headers: Mapping[str, str], **_unused: Any
    ) -> http.client.HTTPResponse:
        """Return the response with its head read; OutboundError if that fails.

        A kept connection which ends before the first byte of an answer was most likely closed
        while idle, so the request is sent once more on a fresh one. Receivers know doubles by
        the delivery id.
        """
        data = _head(method, self.target, self.host_header, headers) + (body or b"")
        if kept := idle.take(self.origin):
            with suppress(_Stale):
                return self._speak(kept, method, data)
        try:
            fresh = connect(self.origin, self.deadline)
        except OutboundError as err:
            err.sent = self.sent  # by the kept connection, perhaps
            raise
        except WIRE_ERRORS as err:
            raise self.named(err, connecting=True) from None
        return self._speak(fresh, method, data, fresh=True)

    def read(self, response: Any, limit: int) -> bytes:
        """Read at most `limit` bytes of the body, then keep the connection or close it."""
        try:
            body: bytes = response.read(limit)
            # http.client lets a body end early when it is read in parts.
            if len(body) < limit and getattr(response, "length", None):
                raise http.client.IncompleteRead(b"")
        except WIRE_ERRORS as err:
            self._drop()
            raise self.named(err) from None
        connection, self._connection = self._connection, None
        if connection is not None:
            if response.isclosed() and not response.will_close:
                idle.put(connection)
            else:
                response.close()
                connection.close()
        return body

    def named(self, err: Exception, *, connecting: bool = False) -> OutboundError:
        """Return the OutboundError that a low-level error amounts to."""
        host = {"host": self.origin.host}
        if isinstance(err, TimeoutError):
            return TimedOut(_("%(host)s took too long.") % host, sent=self.sent)
        if isinstance(err, ssl.SSLCertVerificationError):
            problem = {**host, "problem": err.verify_message}
            text = _("The certificate of %(host)s is not valid: %(problem)s.") % problem
            return TlsFailed(text, sent=self.sent)
        if connecting and isinstance(err, _CLOSED):
            text = _("%(host)s closed the connection too early.") % host
            return ConnectFailed(text, sent=self.sent)
        if isinstance(err, ssl.SSLError):
            return TlsFailed(_("TLS with %(host)s failed.") % host, sent=self.sent)
        if isinstance(err, OSError | http.client.IncompleteRead):
            return ConnectionLost(_("%(host)s closed the connection too early.") % host)
        return BadResponse(_("The answer of %(host)s is not valid HTTP.") % host)

    def _speak(
        self, connection: GuardedConnection, method: str, data: bytes, *, fresh: bool = False
    ) -> http.client.HTTPResponse:
        self._connection = connection
        reader = _Reader(connection.sock, self.deadline)
        try:
            try:
                self._write(connection.sock, data)
            except (BrokenPipeError, ConnectionResetError):
                # A receiver may answer, say 413, and close before it has read everything.
                if not fresh:
                    raise
            response = _Response(reader, method)
            response.begin()
        except WIRE_ERRORS as err:
            self._drop()
            if not fresh and not reader.received and isinstance(err, _CLOSED):
                raise _Stale from None
            raise self.named(err) from None
        reader.limit = None
        return response

    def _write(self, sock: socket.socket, data: bytes) -> None:
        self.sent = True
        view = memoryview(data)
        while view:
            sock.settimeout(_left(self.deadline))
            view = view[sock.send(view) :]

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Stale(Exception):
    """A kept connection was closed before it was used."""


class _Reader(io.RawIOBase):
    """The receiving side of a socket, every read of which ends by the deadline.

    A timeout per read alone would never strike a receiver that sends a byte a second.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self.received = 0
        self.limit: int | None = MAX_HEAD_BYTES

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.limit is not None and self.received > self.limit:
            raise http.client.LineTooLong("header")
        self._sock.settimeout(_left(self._deadline))
        count = self._sock.recv_into(buffer)
        self.received += count
        return count


class _Response(http.client.HTTPResponse):
    """A response of the standard library with a lighter head: no email parser."""

    headers: Any  # a CaseInsensitiveDict; what is inherited asks it for "connection" only

    def __init__(self, reader: _Reader, method: str) -> None:
        super().__init__(reader, method=method)  # type: ignore[arg-type]  # wants makefile only
        self._method = method

    def begin(self) -> None:
        while True:
            protocol, status, self.reason = self._read_status()  # type: ignore[attr-defined]
            self.headers = _read_fields(self.fp)
            if status >= 200:
                break
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.UnknownProtocol(protocol)
            # 100 Continue, 103 Early Hints: the answer is still to come.
        if not protocol.startswith("HTTP/1."):
            raise http.client.UnknownProtocol(protocol)
        self.version = 10 if protocol == "HTTP/1.0" else 11
        self.code = self.status = status
        self.length = None
        self.chunk_left = None
        self.chunked = self.headers.get("transfer-encoding", "").lower().endswith("chunked")
        if status in (204, 304) or self._method == "HEAD":
            self.chunked = False
            self.length = 0
        elif not self.chunked:
            length = self.headers.get("content-length", "").partition(",")[0].strip()
            self.length = int(length) if length.isascii() and length.isdigit() else None
        endless = not self.chunked and self.length is None
        self.will_close = endless or self._check_close()  # type: ignore[attr-defined]


def _read_fields(stream: io.BufferedReader) -> CaseInsensitiveDict[str]:
    """Read the header fields up to the empty line; equal names are joined by a comma."""
    fields: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    name = ""
    while line := stream.readline(MAX_HEAD_BYTES + 1).rstrip(b"\r\n").decode("latin-1"):
        if line[0] in " \t":  # a continuation, obsolete but seen
            if name:
                fields[name] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        if colon:
            earlier = fields.get(name)
            value = value.strip()
            fields[name] = value if earlier is None else f"{earlier}, {value}"
    return fields


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@lru_cache(maxsize=512)
def _is_token(text: str) -> bool:
    return bool(_TOKEN.match(text))


def _head(method: str, target: str, host: str, headers: Mapping[str, str]) -> bytes:
    if not _is_token(method):
        raise InvalidRequest(_("The method is not a single word."))
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    for name, value in headers.items():
        if not _is_token(name):
            raise InvalidRequest(_("A header name holds a forbidden character."))
        lines.append(f"{name}: {value}")
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\r") != breaks or text.count("\n") != breaks or "\0" in text:
        raise InvalidRequest(_("A header value holds a line break."))
    try:
        return text.encode("latin-1") + b"\r\n\r\n"
    except UnicodeEncodeError:
        raise InvalidRequest(_("A header value holds a character outside Latin-1.")) from None
