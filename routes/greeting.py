"""Set-up requests on the receive path: answered, limited, and nobody is woken by them."""

import logging
import time
from collections import Counter
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.db import transaction

from vault.services import rotate

from .handshakes import Greeting, greet
from .inbound import Answer, Inbound
from .models import Route
from .parsing import Unparseable, parse_body
from .signatures import Refused, Verified
from .table import Entry

logger = logging.getLogger(__name__)

# Set-up requests a minute and route, in this process: nobody sets one up more often.
LIMIT = 30

_minute = 0
_asked: Counter[str] = Counter()


async def greeted(
    request: Inbound, route: Entry, verified: Verified | None, body: bytes = b""
) -> Answer | Refused | None:
    """Return the answer to a set-up request of the route's source; None for any other request.

    Refused: somebody asked who does not know the secret, or too often (reason ``rate_limited``).
    """
    preset = verified.preset if verified else route.recognised(request.headers)
    handshake = preset.handshake if preset else None
    if preset is None or handshake is None or request.method not in handshake.methods:
        return None
    if verified is None and not handshake.unsigned:
        return None
    found = greet(
        preset,
        route.secrets,
        request.method,
        request.query,
        request.headers,
        _payload(body, request.headers.get("content-type", "")),
        verified,
        now=time.time(),
        rate_limit=route.rate_limit,
    )
    if found is None:
        return None
    if not _within_limit(route.name):
        return Refused("rate_limited", f"More than {LIMIT} set-up requests came within a minute.")
    if isinstance(found, Greeting):
        if found.new_secret and not await _keep(route, found.new_secret, request.client):
            return Refused("has_secret", "Another sender has just told the route its secret.")
        return Answer(found.status, found.body, found.headers, found.content_type)
    return found


def _payload(body: bytes, content_type: str) -> object:
    try:
        return parse_body(body, content_type)
    except Unparseable:
        return None


def _within_limit(name: str) -> bool:
    global _minute
    minute = int(time.monotonic()) // 60
    if minute != _minute:
        _minute = minute
        _asked.clear()
    _asked[name] += 1
    return _asked[name] <= LIMIT


async def _keep(route: Entry, secret: str, client: str) -> bool:
    """Give a route that has no secret the one its sender told; return whether it was taken.

    Until then the route refuses everybody, so this is the moment its operator waits for.
    """
    return await sync_to_async(_kept)(route.name, secret, client)


def _kept(name: str, secret: str, client: str) -> bool:
    with transaction.atomic():
        route = Route.objects.select_for_update().filter(name=name).first()
        if route is None or route.secrets.live().exists():
            return False
        rotate(route.secrets, secret, timedelta(0))
    logger.warning(
        "route %s: a sender at %s told its secret, which counts from now on", name, client
    )
    return True
