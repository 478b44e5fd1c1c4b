"""Is a delivery really from the gateway, and fresh?"""

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

MAX_TOLERANCE = 300  # seconds; the protocol allows no more


def verify_webhook_signature(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes | str,
    *,
    tolerance: float = MAX_TOLERANCE,
    now: float | None = None,
) -> bool:
    """Return whether a delivery is signed with the secret and its timestamp is fresh.

    ``secret`` may be several, while one replaces another: any of them will do. ``body`` is the
    raw body as received, before any parsing. ``headers`` may be in any case. ``tolerance`` and
    ``now`` are in seconds, ``now`` as unix time. Anything missing or malformed is False; a
    tolerance above 300 is a ValueError. Remember delivery ids for 24 hours yourself, or let
    `WebhookDispatcher` do it: a delivery may come twice.
    """
    if tolerance > MAX_TOLERANCE:
        raise ValueError(f"The tolerance can be at most {MAX_TOLERANCE} seconds.")
    found = {name.lower(): value for name, value in headers.items()}
    timestamp = found.get("x-hashee-timestamp", "")
    delivery_id = found.get("x-hashee-delivery-id", "")
    signature = found.get("x-hashee-signature", "")
    if not (delivery_id and signature and timestamp.isascii() and timestamp.isdigit()):
        return False
    if (
        len(timestamp) > 15
        or abs((time.time() if now is None else now) - int(timestamp)) > tolerance
    ):
        return False
    raw = body.encode() if isinstance(body, str) else body
    signed = f"{timestamp}.{delivery_id}.".encode(errors="replace") + raw
    # As bytes: compare_digest refuses text that is not ASCII.
    given = signature.encode(errors="replace")
    secrets = [secret] if isinstance(secret, str) else secret
    return any(hmac.compare_digest(_signature(one, signed), given) for one in secrets)


def _signature(secret: str, signed: bytes) -> bytes:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
