"""Reading, checking and resolving the URLs that Hermes is asked to call."""

import re
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

import idna
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from .addresses import Policy, in_force, judge
from .errors import BlockedAddress, BlockedUrl, NameNotResolved

MAX_URL_LENGTH = 2048  # characters; what proxies and databases along the way take without fuss
SAVE_TIME_LOOKUP_SECONDS = 3.0  # a form waits for it

DEFAULT_PORTS = {"http": 80, "https": 443}

# Services that read lines and might take a part of an HTTP request for a command, or to which
# no webhook receiver has moved. Any other port is allowed: receivers live on many.
DENIED_PORTS = {
    0: "none",
    20: "FTP",
    21: "FTP",
    22: "SSH",
    23: "Telnet",
    25: "SMTP",
    53: "DNS",
    110: "POP3",
    119: "NNTP",
    135: "RPC",
    139: "NetBIOS",
    143: "IMAP",
    389: "LDAP",
    445: "SMB",
    465: "SMTP",
    514: "shell",
    587: "SMTP",
    636: "LDAP",
    993: "IMAP",
    995: "POP3",
    3306: "MySQL",
    5432: "PostgreSQL",
    6379: "Redis",
    6667: "IRC",
    11211: "Memcached",
    27017: "MongoDB",
}

# Parsers disagree about where a URL with one of these ends its host (facts: outbound).
_FORBIDDEN = re.compile(
    r"[\x00-\x20\x7f-\xa0\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\\]"
)
_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
    r"(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\Z"
)
_NUMERIC = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_SAFE_IN_TARGET = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class ParsedUrl:
    """A URL taken apart once; everything that is sent or connected to comes from here."""

    scheme: str  # "http" or "https"
    host: str  # lower-case ASCII name, or a canonical IP address without brackets
    port: int
    target: str  # path and query as they go into the request line
    literal: bool  # host is an IP address

    @property
    def host_header(self) -> str:
        """The host, bracketed if IPv6, with the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL as it is requested: normalised, without a fragment."""
        return f"{self.scheme}://{self.host_header}{self.target}"


class SocketAddress(NamedTuple):
    """One answer of the resolver: what `socket.socket` and `connect` want."""

    family: int
    sockaddr: tuple[Any, ...]


def check_url(url: str, policy: Policy = Policy.PUBLIC) -> ParsedUrl:
    """Take a URL apart, or raise BlockedUrl; BlockedAddress if it spells a refused address.

    A name is not looked up here: that is `resolve`, on whose answers the connection is pinned.
    """
    parsed = _parsed(url)
    if parsed.literal and (reason := judge(parsed.host, in_force(policy))):
        raise BlockedAddress(reason)
    return parsed


def resolve(host: str, port: int, policy: Policy, timeout: float) -> list[SocketAddress]:
    """Return the addresses of a host, in the resolver's order, all of them allowed.

    One refused address among the answers refuses the host: a name that points both outside and
    inside is rebinding, not a receiver. Raises BlockedAddress or NameNotResolved; `timeout` is
    in seconds, and holds although getaddrinfo knows none.
    """
    policy = in_force(policy)
    addresses = []
    for family, _type, _proto, _name, sockaddr in _looked_up(host, port, timeout):
        if reason := judge(str(sockaddr[0]), policy):
            raise BlockedAddress(reason)
        addresses.append(SocketAddress(family, sockaddr))
    if not addresses:
        raise NameNotResolved(_("The host %(host)s has no address.") % {"host": host})
    return addresses


def validate_outbound_url(value: str, policy: Policy = Policy.PUBLIC) -> None:
    """Refuse a URL as it is saved; a validator for model and form fields.

    A name without an address right now is let through, since every send asks again.
    """
    try:
        parsed = check_url(value, policy)
        resolve(parsed.host, parsed.port, policy, SAVE_TIME_LOOKUP_SECONDS)
    except NameNotResolved:
        return
    except BlockedUrl as err:
        raise ValidationError(str(err), code="blocked_url") from None


@lru_cache(maxsize=1024)
def _parsed(url: str) -> ParsedUrl:
    if len(url) > MAX_URL_LENGTH:
        raise BlockedUrl(_("The URL is longer than %(n)d characters.") % {"n": MAX_URL_LENGTH})
    if _FORBIDDEN.search(url):
        raise BlockedUrl(_("The URL holds a space, a backslash or a control character."))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BlockedUrl(_("The URL cannot be read; check its host and port.")) from None
    if parts.scheme not in DEFAULT_PORTS:
        raise BlockedUrl(_("The URL must start with http:// or https://."))
    if "@" in parts.netloc:
        raise BlockedUrl(_("The URL holds a user name or password; use a header instead."))
    if port is None:
        port = DEFAULT_PORTS[parts.scheme]
    if port in DENIED_PORTS:
        raise BlockedUrl(
            _("Port %(port)d (%(service)s) is not for web requests.")
            % {"port": port, "service": DENIED_PORTS[port]}
        )
    host, literal = _read_host(parts)
    return ParsedUrl(parts.scheme, host, port, _read_target(parts), literal)


def _read_host(parts: SplitResult) -> tuple[str, bool]:
    """Return the host as it will be connected to, and whether it is an IP address.

    Every spelling the resolver would take for an address (decimal, octal, hex, short, full-width
    digits, ideographic dots) becomes that address here, so that it is judged and not its text.
    """
    host = parts.hostname or ""
    if parts.netloc.startswith("["):
        if "%" in host:
            raise BlockedUrl(_("The URL holds an IPv6 zone."))
        try:
            return str(IPv6Address(host)), True
        except ValueError:
            raise BlockedUrl(_("The URL's host is not a valid address.")) from None
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise BlockedUrl(_("The URL's host is not a valid international name.")) from None
    host = host.removesuffix(".")
    if not _HOST.match(host):
        raise BlockedUrl(_("The URL has no valid host."))
    if _NUMERIC.match(host.rpartition(".")[2]):
        try:
            return socket.inet_ntoa(socket.inet_aton(host)), True
        except OSError:
            raise BlockedUrl(_("The URL's host is not a valid address.")) from None
    return host, False


def _read_target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_SAFE_IN_TARGET)
    return f"{path}?{quote(parts.query, safe=_SAFE_IN_TARGET)}" if parts.query else path


_Answers = Sequence[tuple[int, int, int, str, tuple[Any, ...]]]


def _looked_up(host: str, port: int, timeout: float) -> _Answers:
    """Ask getaddrinfo, but wait for at most `timeout` seconds.

    The lookup has a thread of its own: a stuck one cannot be cancelled, only left behind. It
    ends by itself with the resolver's own limit.
    """
    answers: SimpleQueue[_Answers | OSError | UnicodeError] = SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as err:
            answers.put(err)

    threading.Thread(target=look_up, name="outbound-lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=max(timeout, 0.001))
    except Empty:
        raise NameNotResolved(
            _("The lookup of the host %(host)s took too long.") % {"host": host}
        ) from None
    if isinstance(answer, OSError | UnicodeError):
        raise NameNotResolved(
            _("The host %(host)s could not be resolved.") % {"host": host}
        ) from None
    return answer
