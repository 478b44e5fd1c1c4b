"""What can go wrong with an outbound request, as types the engine can map."""

from typing import ClassVar, Literal

from django.utils.translation import gettext as _

ErrorClass = Literal["blocked", "dns", "connect", "tls", "timeout", "reset", "protocol"]


class OutboundError(Exception):
    """A request that brought no answer.

    `error_class` is what the attempt records. `sent` says whether the receiver may have seen the
    request: True is the ambiguous class A of the channels (facts: channels), False is "surely
    not sent". The message names the host at most, never the path, a header or the address that
    a name resolved to.
    """

    error_class: ClassVar[ErrorClass] = "protocol"
    sent: bool = False

    def __init__(self, message: str, *, sent: bool | None = None) -> None:
        super().__init__(message)
        if sent is not None:
            self.sent = sent


class BlockedUrl(OutboundError):
    """The URL is not one that Hermes requests."""

    error_class = "blocked"


class BlockedAddress(BlockedUrl):
    """The URL leads to an address that the policy refuses; `reason` is a word of the table."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            _(
                "Requests to this address are not allowed (%(reason)s). "
                "OUTBOUND_ALLOW_PRIVATE=true allows private ones."
            )
            % {"reason": reason}
        )
        self.reason = reason


class InvalidRequest(OutboundError):
    """The caller's method or headers cannot be put on the wire."""


class NameNotResolved(OutboundError):
    """The host name has no address, or the lookup took too long."""

    error_class = "dns"


class ConnectFailed(OutboundError):
    """No connection came about."""

    error_class = "connect"


class TlsFailed(OutboundError):
    """The TLS handshake failed, or the certificate is not good for the name."""

    error_class = "tls"


class TimedOut(OutboundError):
    """The budget ran out; `sent` tells whether before or after the first byte was written."""

    error_class = "timeout"


class ConnectionLost(OutboundError):
    """The connection ended before the answer did."""

    error_class = "reset"
    sent = True


class BadResponse(OutboundError):
    """The receiver's answer is not HTTP/1."""

    error_class = "protocol"
    sent = True
