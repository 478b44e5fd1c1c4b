"""Opening a stream: a ticket from the gateway's API, and a WebSocket for it.

The address of the WebSocket comes with the ticket, so it is judged like any that Hermes is given:
the connection goes to an address outside, the one that was looked at.
"""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.utils.translation import gettext as _
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from deliveries.outbound import OutboundError, Policy, request
from deliveries.outbound.connections import Origin, tls_context
from deliveries.outbound.connections import connect as dial
from deliveries.outbound.urls import check_url
from vault.redaction import redact

from .answers import read
from .frames import SUBSCRIPTIONS
from .streams import App

USER_AGENT = "hermes/0.1"
SECONDS = 10.0
# A peer that is gone is noticed by these, however quiet the chats are.
PING_EVERY = 20.0
PONG_WITHIN = 20.0
CLOSE_SECONDS = 2.0
MAX_FRAME = 1_048_576  # bytes

# The library's own lines hold the ticket.
_quiet = logging.getLogger("platforms.dingtalk.websocket")
_quiet.setLevel(logging.CRITICAL)


class CannotOpen(ConnectionError):
    """A stream was not opened; the text says why, without secrets."""


class Refused(CannotOpen):
    """DingTalk knows no such app, or the app may not do this; only an operator can mend it."""


@contextmanager
def opened(app: App) -> Iterator[ClientConnection]:
    """Open a stream and close it at the end of the block; raise CannotOpen or Refused."""
    endpoint, ticket = _ticket(app)
    try:
        with _websocket(endpoint, ticket) as websocket:
            yield websocket
    except OutboundError as error:
        raise CannotOpen(redact(str(error), (ticket,))) from None


def _ticket(app: App) -> tuple[str, str]:
    """Return the address of the WebSocket and the ticket for it, which is good once."""
    document = {
        "clientId": app.client_id,
        "clientSecret": app.client_secret,
        "subscriptions": SUBSCRIPTIONS,
        "ua": USER_AGENT,
    }
    try:
        reply = request(
            "POST",
            f"{app.api_base}/v1.0/gateway/connections/open",
            headers={"Content-Type": "application/json"},
            body=json.dumps(document).encode(),
            timeout=SECONDS,
            secrets=(app.client_secret,),
        )
    except OutboundError as error:
        raise CannotOpen(str(error)) from None
    answer = read(reply)
    endpoint, ticket = answer.body.get("endpoint"), answer.body.get("ticket")
    if reply.status == 200 and isinstance(endpoint, str) and isinstance(ticket, str) and ticket:
        return endpoint, ticket
    words = redact(answer.words[:300], (app.client_secret,))
    said = _("HTTP %(status)s %(words)s") % {"status": reply.status, "words": words}
    if reply.status in (400, 401, 403) and not answer.is_page and "qpslimit" not in answer.code:
        raise Refused(said.strip())
    raise CannotOpen(said.strip())


@contextmanager
def _websocket(endpoint: str, ticket: str) -> Iterator[ClientConnection]:
    parts = urlsplit(endpoint)
    if parts.scheme != "wss" and not (parts.scheme == "ws" and settings.OUTBOUND_ALLOW_PRIVATE):
        raise CannotOpen(_("The stream's address is not wss."))
    # The same host and port, in words that the guard knows.
    place = check_url(endpoint.replace("ws", "http", 1))
    line = dial(Origin("http", place.host, place.port, Policy.PUBLIC), time.monotonic() + SECONDS)
    mark = "&" if parts.query else "?"
    with ExitStack() as stack:
        stack.callback(line.close)
        line.sock.settimeout(None)
        try:
            websocket = stack.enter_context(
                connect(
                    f"{endpoint}{mark}ticket={quote(ticket, safe='')}",
                    sock=line.sock,
                    ssl=tls_context() if parts.scheme == "wss" else None,
                    proxy=None,
                    compression=None,
                    open_timeout=SECONDS,
                    ping_interval=PING_EVERY,
                    ping_timeout=PONG_WITHIN,
                    close_timeout=CLOSE_SECONDS,
                    max_size=MAX_FRAME,
                    user_agent_header=USER_AGENT,
                    logger=_quiet,
                )
            )
        except (OSError, WebSocketException) as error:
            # Their texts may hold the address with its ticket.
            raise CannotOpen(redact(f"{type(error).__name__}: {error}", (ticket,))) from None
        yield websocket
