"""The same record run backwards: the headers a source would send."""

from collections.abc import Mapping

from routes.presets.record import Preset

from .schemes import key_of, signature_of
from .signed_text import SignedText


def sign(
    preset: Preset, secret: str, body: bytes, *, now: float, delivery_id: str, event: str
) -> dict[str, str]:
    """Return the headers with which this source would send the body; names in lower case.

    ``now`` is unix time. An event that the source names in the body only is for the caller to
    put there. Raises ValueError for a secret the source can't have issued.
    """
    key = key_of(preset, secret)
    if key is None:
        raise ValueError(f"This secret can't be one of {preset.label}.")
    headers: dict[str, str] = {}
    if preset.id_headers:
        headers[preset.id_headers[0]] = delivery_id
    for rule in preset.event:
        if rule.header:
            headers[rule.header] = _spelling(rule.spellings, event)
            break
    stamp = ""
    if preset.timestamp is not None:
        stamp = str(int(now * preset.timestamp.per_second))
    text = SignedText(preset.signed).build(body, stamp, delivery_id)
    # Header values are bytes on the wire, and latin-1 is how Python's HTTP spells bytes.
    signature = signature_of(preset)(key, text).decode("latin-1")
    if preset.timestamp is not None:
        if preset.timestamp.part:
            signature = f"{preset.timestamp.part}{stamp}{preset.separator}{signature}"
        else:
            headers[preset.timestamp.header] = stamp
    headers[preset.header] = signature
    return headers


def _spelling(spellings: Mapping[str, str], event: str) -> str:
    return next((header for header, name in spellings.items() if name == event), event)
