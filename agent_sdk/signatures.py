"""Is a delivery really from the gateway, and fresh?"""

import hashlib
import hmac
import time
from collections.abc import Mapping

MAX_TOLERANCE = 300  # seconds; the protocol allows no more


def verify_webhook_signature(
    secret: str,
    headers: Mapping[str, str],
    body: bytes | str,
    *,
    tolerance: float = MAX_TOLERANCE,
    now: float | None = None,
) -> bool:
    """Return whether a delivery is signed with the secret and its timestamp is fresh.

    ``body`` is the raw body as received, before any parsing. ``headers`` may be in any case.
    ``tolerance`` and ``now`` are in seconds, ``now`` as unix time. Anything missing or malformed
    is False; a tolerance above 300 is a ValueError. Remember delivery ids for 24 hours
    yourself: a delivery may come twice.
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
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    # As bytes: compare_digest refuses text that is not ASCII.
    return hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))
