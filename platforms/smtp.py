"""One SMTP session within one budget, to an address that the guard allows.

RFC 5321, RFC 3207 (STARTTLS), RFC 4954 (AUTH).
"""

import io
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext as _
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from deliveries.outbound import ConnectFailed, ConnectionLost, Policy, TimedOut, TlsFailed
from deliveries.outbound.urls import resolve

MAX_REPLIES = 262_144  # bytes of everything that a server says in a session
LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)


class Security(StrEnum):
    """How a session is encrypted."""

    TLS = "tls"  # from the first byte, usually port 465
    STARTTLS = "starttls"  # after the greeting, usually port 587
    NONE = "none"


class Stage(StrEnum):
    """Where in a session a refusal came: the same code means another thing in each."""

    GREETING = "greeting"
    STARTTLS = "starttls"
    LOGIN = "login"
    SENDER = "sender"
    RECIPIENT = "recipient"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed in, and as whom; without a user nobody signs in."""

    host: str
    port: int
    security: Security
    user: str
    password: str
    policy: Policy


class Refused(Exception):
    """The server said no; ``code`` is 0 where it cannot do what was asked at all."""

    def __init__(self, stage: Stage, code: int, words: str) -> None:
        super().__init__(words)
        self.stage, self.code, self.words = stage, code, words


class Session(smtplib.SMTP):
    """A session with a server; every wait in it ends by the deadline (`time.monotonic`).

    Raises Refused for what the server says, and an OutboundError where it says nothing; that
    one's ``sent`` is true once the message has been handed over without an answer.
    """

    def __init__(self, server: Server, deadline: float) -> None:
        name = socket.gethostname()
        # Not the default, which asks the DNS for this machine's name and waits for it.
        super().__init__(local_hostname=name if "." in name and name.isascii() else "[127.0.0.1]")
        self._server = server
        self._host = server.host  # smtplib's: what the certificate has to be for
        self._deadline = deadline
        self._heard = 0
        self._handed_over = False

    def open(self) -> None:
        """Connect, encrypt, sign in."""
        server = self._server
        with self._named(Stage.GREETING):
            self.sock = self._connected()
            self._expect(220, self.getreply(), Stage.GREETING)
            self.ehlo_or_helo_if_needed()
        if server.security is Security.STARTTLS:
            with self._named(Stage.STARTTLS):
                self._expect(220, self.starttls(context=tls_context()), Stage.STARTTLS)
                self.ehlo_or_helo_if_needed()
        # A password never travels in the clear.
        if server.user and server.password and server.security is not Security.NONE:
            with self._named(Stage.LOGIN):
                self.login(server.user, server.password)

    def hand_in(self, sender: str, recipient: str, message: bytes) -> str:
        """Hand in one message for one recipient; return what the server said to it.

        ``message`` has lines that end in CRLF.
        """
        self._handed_over = False
        try:
            with self._named(Stage.SENDER):
                size = [f"size={len(message)}"] if self.has_extn("size") else []
                self._expect(250, self.mail(sender, size), Stage.SENDER)
            with self._named(Stage.RECIPIENT):
                self._expect(250, self.rcpt(recipient), Stage.RECIPIENT, 251)
            with self._named(Stage.DATA):
                self._expect(354, self.docmd("data"), Stage.DATA)
                self._handed_over = True
                self.send(LEADING_DOT.sub(b"..", message).removesuffix(b"\r\n") + b"\r\n.\r\n")
                answer = self.getreply()
                self._handed_over = False
                self._expect(250, answer, Stage.DATA)
        except Refused:
            with suppress(OSError):
                self.rset()
            raise
        return _words(answer[1])

    def leave(self) -> None:
        """Say goodbye without waiting for an answer."""
        with suppress(OSError):
            self.putcmd("quit")
        self.close()

    def send(self, s: Any) -> None:
        """Send within what is left of the time."""
        if self.sock:
            self.sock.settimeout(max(self._left, 0.001))
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply within what is left of the time, however slowly it drips."""
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(_Reader(self, self.sock))
        return super().getreply()

    @property
    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _connected(self) -> socket.socket:
        server = self._server
        place = {"host": server.host, "port": server.port}
        addresses = resolve(server.host, server.port, server.policy, max(self._left, 0.001))
        problem = ""
        for index, address in enumerate(addresses):
            # A dead first address must leave time for the others.
            share = self._left / (len(addresses) - index)
            if share <= 0:
                break
            sock = socket.socket(address.family, socket.SOCK_STREAM)
            try:
                sock.settimeout(share)
                sock.connect(address.sockaddr)
                sock.settimeout(max(self._left, 0.001))
                if server.security is Security.TLS:
                    return tls_context().wrap_socket(sock, server_hostname=server.host)
                return sock
            except ssl.SSLError:
                sock.close()
                raise
            except OSError as error:
                sock.close()
                problem = error.strerror or str(error)
        if self._left <= 0:
            raise TimedOut(_("Connecting to %(host)s:%(port)d took too long.") % place)
        raise ConnectFailed(
            _("Could not connect to %(host)s:%(port)d: %(problem)s.")
            % {**place, "problem": problem}
        )

    def _expect(self, code: int, reply: tuple[int, bytes], stage: Stage, *others: int) -> None:
        if reply[0] not in (code, *others):
            raise Refused(stage, reply[0], _words(reply[1]))

    @contextmanager
    def _named(self, stage: Stage) -> Iterator[None]:
        """Turn what smtplib and the socket throw into a Refused or an OutboundError."""
        host = {"host": self._server.host}
        try:
            yield
        except smtplib.SMTPServerDisconnected:
            raise self._lost() from None
        except smtplib.SMTPResponseException as error:
            raise Refused(stage, error.smtp_code, _words(error.smtp_error)) from None
        except (smtplib.SMTPException, UnicodeError) as error:
            # No STARTTLS, no way to sign in that both know, a password outside of ASCII.
            words = str(error) if isinstance(error, smtplib.SMTPException) else _("not ASCII")
            raise Refused(stage, 0, words) from None
        except ssl.SSLCertVerificationError as error:
            problem = {**host, "problem": error.verify_message}
            raise TlsFailed(
                _("The certificate of %(host)s is not valid: %(problem)s.") % problem
            ) from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            raise self._lost() from None
        except ssl.SSLError:
            raise TlsFailed(_("TLS with %(host)s failed.") % host) from None
        except OSError:
            raise self._lost() from None

    def _lost(self) -> TimedOut | ConnectionLost:
        host = {"host": self._server.host}
        if self._left <= 0:
            return TimedOut(_("%(host)s took too long.") % host, sent=self._handed_over)
        return ConnectionLost(
            _("%(host)s closed the connection too early.") % host, sent=self._handed_over
        )


class _Reader(io.RawIOBase):
    """The receiving side of a session: a timeout per read would not strike one that drips."""

    def __init__(self, session: Session, sock: socket.socket) -> None:
        self._session = session
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._session._heard > MAX_REPLIES:
            raise OSError("The server does not stop talking.")
        left = self._session._left
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        count = self._sock.recv_into(buffer)
        self._session._heard += count
        return count


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Trust the system's authorities (or SSL_CERT_FILE) and those that requests brings."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


def _words(reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return " ".join(text.split())
