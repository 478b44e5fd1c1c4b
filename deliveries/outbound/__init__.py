"""Guarded HTTP: every request that Hermes makes to the outside goes through `request`."""

from .addresses import Policy
from .errors import (
    BadResponse,
    BlockedAddress,
    BlockedUrl,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    NameNotResolved,
    OutboundError,
    TimedOut,
    TlsFailed,
)
from .http import Reply, request
from .urls import validate_outbound_url

__all__ = [
    "BadResponse",
    "BlockedAddress",
    "BlockedUrl",
    "ConnectFailed",
    "ConnectionLost",
    "InvalidRequest",
    "NameNotResolved",
    "OutboundError",
    "Policy",
    "Reply",
    "TimedOut",
    "TlsFailed",
    "request",
    "validate_outbound_url",
]
