"""The one function through which every outbound request goes."""

import json
import re
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from django.utils.translation import gettext as _
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import Timeout

from vault.redaction import redact

from .addresses import Policy, in_force
from .connections import Origin
from .errors import ConnectionLost, InvalidRequest, OutboundError, TimedOut, TlsFailed
from .exchange import Exchange
from .urls import check_url

USER_AGENT = "Hermes/0.1 (+webhook gateway)"  # Discord and GitHub demand one
DEFAULT_TIMEOUT = 10.0  # seconds, for everything from the lookup to the last byte
MAX_RESPONSE_BYTES = 65536

_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.IGNORECASE)

# Whoever frames the request decides these. Encodings stay off, as 64 kB can unpack to 64 MB.
OUR_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answered, whatever its status; redirects are not followed."""

    status: int
    headers: Mapping[str, str]  # names are case-insensitive
    body: bytes  # at most `max_response` bytes
    truncated: bool  # there was more
    elapsed_ms: int

    @property
    def text(self) -> str:
        """The body in the charset of its Content-Type, else as UTF-8; never fails."""
        charset = _CHARSET.search(self.headers.get("Content-Type", ""))
        try:
            return self.body.decode(charset[1] if charset else "utf-8", errors="replace")
        except LookupError:
            return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the body as JSON, or None if it is not (or not all) JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    policy: Policy = Policy.PUBLIC,
    timeout: float = DEFAULT_TIMEOUT,
    max_response: int = MAX_RESPONSE_BYTES,
    secrets: Iterable[str] = (),
) -> Reply:
    """Send one request and return the reply; raise an OutboundError, redacted, if there is none.

    The connection goes only to an address that `policy` allows, the one that was judged, for
    http and https alike (facts: outbound). `timeout` is the budget in seconds for lookup,
    connecting, TLS, sending and reading together, whatever the receiver does. Redirects,
    proxies, .netrc and cookies play no part.
    """
    started = time.monotonic()
    try:
        prepared = _prepared(method, url, headers or {}, body, policy, started + timeout)
        response = _answer(prepared)
        content = prepared.exchange.read(response.raw, max_response + 1)
    except OutboundError as err:
        err.args = (redact(str(err), secrets),)
        raise
    content, truncated = _bounded(content, response.headers, max_response)
    return Reply(
        status=response.status_code,
        headers=response.headers,
        body=content,
        truncated=truncated,
        elapsed_ms=round((time.monotonic() - started) * 1000),
    )


class _Prepared(requests.PreparedRequest):
    """A prepared request that carries its exchange to the adapter."""

    exchange: Exchange


class _Adapter(HTTPAdapter):
    """Hands a prepared request to its exchange, without the session's environment and cookies.

    `send` is the inherited one, so that tests which fake the wire there (`responses`) do.
    """

    def get_connection_with_tls_context(self, request: Any, *_args: Any, **_kwargs: Any) -> Any:
        return request.exchange

    def cert_verify(self, *_args: Any, **_kwargs: Any) -> None:
        """Leave verification to the connection's TLS context."""

    def request_url(self, request: Any, _proxies: Any) -> str:
        target: str = request.exchange.target
        return target

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = resp.status
        response.headers = CaseInsensitiveDict(resp.headers)
        response.raw = resp
        response.url = req.url or ""
        response.request = req
        return response


_adapter = _Adapter(pool_connections=1, pool_maxsize=1)  # keeps no connection and no state itself
_EXCHANGE_KEEPS_TIME: Any = Timeout(connect=None, read=None)  # the stubs know seconds only


def _prepared(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    policy: Policy,
    deadline: float,
) -> _Prepared:
    policy = in_force(policy)
    parsed = check_url(url, policy)
    prepared = _Prepared()
    prepared.method = method.upper()
    prepared.url = parsed.url
    prepared.body = body
    prepared.headers = fields = CaseInsensitiveDict(
        {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
    )
    for name, value in headers.items():
        if name.lower() in OUR_HEADERS:
            raise InvalidRequest(_("The header %(name)s cannot be set.") % {"name": name})
        fields[name] = value
    if body is not None or prepared.method in ("POST", "PUT", "PATCH"):
        fields["Content-Length"] = str(len(body or b""))
    origin = Origin(parsed.scheme, parsed.host, parsed.port, policy)
    prepared.exchange = Exchange(origin, parsed.host_header, parsed.target, deadline)
    return prepared


def _answer(prepared: _Prepared) -> requests.Response:
    try:
        return _adapter.send(prepared, stream=True, timeout=_EXCHANGE_KEEPS_TIME)
    except requests.Timeout as err:
        sent = not isinstance(err, requests.ConnectTimeout)
        raise TimedOut(_("The request took too long."), sent=sent) from None
    except requests.exceptions.SSLError:
        raise TlsFailed(_("TLS with the receiver failed.")) from None
    except requests.RequestException:
        raise ConnectionLost(_("The connection failed.")) from None


def _bounded(content: bytes, headers: Mapping[str, str], limit: int) -> tuple[bytes, bool]:
    """Return at most `limit` bytes and whether there were more; gzip sent unasked is unpacked."""
    truncated = len(content) > limit
    if headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip", "deflate"):
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either header
        try:
            content = unpacker.decompress(content, limit + 1)
        except zlib.error:
            return content[:limit], truncated
        truncated = truncated or len(content) > limit
    return content[:limit], truncated
