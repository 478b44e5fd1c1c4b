"""Connections that go only to a checked address, and the idle ones kept for the next request."""

import os
import socket
import ssl
import threading
import time
from collections import OrderedDict
from functools import lru_cache
from typing import NamedTuple

from django.utils.translation import gettext as _
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection

from .addresses import Policy
from .errors import ConnectFailed, TimedOut
from .urls import SocketAddress, resolve

MAX_IDLE_CONNECTIONS = 256  # per process; the oldest goes first
MAX_IDLE_SECONDS = 30.0  # receivers close theirs after 5 to 75 s
MAX_AGE_SECONDS = 300.0  # then the name is looked up again


class Origin(NamedTuple):
    """What makes two requests fit for one connection.

    The policy is part of it: a connection made under LAN must not serve a PUBLIC request.
    """

    scheme: str
    host: str
    port: int
    policy: Policy


class GuardedConnection(HTTPConnection):
    """A urllib3 connection that resolves, judges and connects by itself.

    Host header, SNI and certificate check stay with the name; only the address is pinned.
    """

    origin: Origin
    deadline: float  # of the request that connects, in time.monotonic() seconds
    made_at: float
    idle_since: float

    def _new_conn(self) -> socket.socket:
        host, port, policy = self.origin.host, self.origin.port, self.origin.policy
        addresses = resolve(host, port, policy, self.deadline - time.monotonic())
        problem = ""
        for index, address in enumerate(addresses):
            # A dead first address (often IPv6) must leave time for the others.
            left = (self.deadline - time.monotonic()) / (len(addresses) - index)
            if left <= 0:
                break
            try:
                return self._dial(address, left)
            except OSError as err:
                problem = err.strerror or str(err)
        place = {"host": host, "port": port}
        if time.monotonic() >= self.deadline:
            raise TimedOut(_("Connecting to %(host)s:%(port)d took too long.") % place)
        raise ConnectFailed(
            _("Could not connect to %(host)s:%(port)d: %(problem)s.")
            % {**place, "problem": problem}
        )

    def _dial(self, address: SocketAddress, timeout: float) -> socket.socket:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address.sockaddr)
            # What is left is for the TLS handshake, which OpenSSL's caller bounds as a whole.
            sock.settimeout(max(self.deadline - time.monotonic(), 0.001))
        except BaseException:
            sock.close()
            raise
        return sock


class GuardedTlsConnection(GuardedConnection, HTTPSConnection):
    """The same under TLS: `_new_conn` dials, urllib3 wraps and verifies."""


def connect(origin: Origin, deadline: float) -> GuardedConnection:
    """Return a fresh connection to an origin, connected and verified before the deadline.

    Raises an OutboundError from resolving or dialling; TLS trouble as ssl.SSLError or OSError.
    """
    connection: GuardedConnection
    if origin.scheme == "https":
        connection = GuardedTlsConnection(origin.host, origin.port, ssl_context=tls_context())
    else:
        connection = GuardedConnection(origin.host, origin.port)
    connection.origin = origin
    connection.deadline = deadline
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    connection.made_at = time.monotonic()
    return connection


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Trust the system's authorities (or SSL_CERT_FILE) and those that requests brings."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    context.set_alpn_protocols(["http/1.1"])
    return context


class IdleConnections:
    """Connections between two requests, for whichever thread sends next to their origin.

    One store per process and not per thread: a destination with four sends in flight then has
    four connections, and not one for every thread that ever sent there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_origin: dict[Origin, list[GuardedConnection]] = {}
        self._oldest_first: OrderedDict[GuardedConnection, None] = OrderedDict()

    def take(self, origin: Origin) -> GuardedConnection | None:
        """Return a connection that still looks alive, or None; it is the caller's alone then."""
        while connection := self._pop(origin):
            now = time.monotonic()
            if (
                now - connection.idle_since < MAX_IDLE_SECONDS
                and now - connection.made_at < MAX_AGE_SECONDS
                and connection.is_connected
            ):
                return connection
            connection.close()
        return None

    def put(self, connection: GuardedConnection) -> None:
        """Keep a connection whose answer has been read to its end."""
        connection.idle_since = now = time.monotonic()
        surplus = []
        with self._lock:
            self._by_origin.setdefault(connection.origin, []).append(connection)
            self._oldest_first[connection] = None
            while self._oldest_first:
                oldest = next(iter(self._oldest_first))
                too_many = len(self._oldest_first) > MAX_IDLE_CONNECTIONS
                if not too_many and now - oldest.idle_since < MAX_IDLE_SECONDS:
                    break
                self._forget(oldest)
                surplus.append(oldest)
        for connection in surplus:
            connection.close()

    def clear(self) -> None:
        """Close them all."""
        with self._lock:
            connections = list(self._oldest_first)
            self._by_origin.clear()
            self._oldest_first.clear()
        for connection in connections:
            connection.close()

    def after_fork(self) -> None:
        """Start empty in a child: writing to its parent's connections would mix their requests.

        The child closes its copies of the descriptors, which the parent does not notice. The
        lock is made anew, as another thread of the parent may have held it.
        """
        self._lock = threading.Lock()
        self.clear()

    def _pop(self, origin: Origin) -> GuardedConnection | None:
        with self._lock:
            kept = self._by_origin.get(origin)
            if not kept:
                return None
            connection = kept[-1]
            self._forget(connection)
            return connection

    def _forget(self, connection: GuardedConnection) -> None:
        kept = self._by_origin[connection.origin]
        kept.remove(connection)
        if not kept:
            del self._by_origin[connection.origin]
        del self._oldest_first[connection]


idle = IdleConnections()

os.register_at_fork(after_in_child=idle.after_fork)
