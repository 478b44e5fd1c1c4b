"""Checking that a request was sent by whoever knows a secret of the route."""

import re
from collections.abc import Mapping, Sequence
from hmac import compare_digest

from routes.presets.record import Preset, Timestamp

from . import explanations
from .schemes import key_of, signature_of
from .signed_text import SignedText
from .verdicts import Refused, Verified

# A header may list several signatures (rotation, versions); more than this nobody sends.
MAX_SIGNATURES = 8

# Seconds have ten digits until 2286, milliseconds thirteen.
_TIME = re.compile(r"[0-9]{1,14}", re.ASCII)


class Verifier:
    """One source and the live secrets of a route, prepared once for many requests."""

    __slots__ = ("_header", "_keys", "_signature", "_text", "_timestamp", "_verified", "preset")

    def __init__(self, preset: Preset, secrets: Sequence[str]) -> None:
        keys = (key_of(preset, secret) for secret in secrets)
        self._keys = tuple(key for key in keys if key is not None)
        self.preset = preset
        self._header = preset.header
        self._signature = signature_of(preset)
        self._text = SignedText(preset.signed)
        self._timestamp = preset.timestamp
        self._verified = Verified(preset)

    def verify(self, headers: Mapping[str, str], body: bytes, now: float) -> Verified | Refused:
        """Return whether the raw body was signed with a live secret; ``now`` is unix time.

        1. The header of this source must be there, not empty, and a usable secret too.
        2. A time of signing, where the source has one, must be near ``now``.
        3. The signed text is built from the bytes that came.
        4. Each secret's signature is compared in constant time with what the header holds.
        """
        value = headers.get(self._header)
        if not value:
            return explanations.missing(self.preset, headers)
        if not self._keys:
            return explanations.unusable_secret(self.preset)
        if self._text.only_body and self._timestamp is None:
            text = body
        else:
            built = self._signed_text(headers, body, now)
            if isinstance(built, Refused):
                return built
            text = built
        expected = [self._signature(key, text) for key in self._keys]
        claimed = _raw(value)
        for signature in expected:
            if compare_digest(claimed, signature):
                return self._verified
        return self._one_of_several(value, claimed, expected)

    def _signed_text(self, headers: Mapping[str, str], body: bytes, now: float) -> bytes | Refused:
        stamp = ""
        if self._timestamp is not None:
            stamp = self._time_of_signing(self._timestamp, headers)
            if refused := _untimely(self._timestamp, stamp, now):
                return refused
        delivery_id = ""
        if self._text.needs_id:
            header = self.preset.id_headers[0]
            delivery_id = headers.get(header, "")
            # With a separator inside, another split of the same text would verify too.
            if (
                not delivery_id
                or not delivery_id.isascii()
                or any(mark in delivery_id for mark in self._text.separators)
            ):
                return explanations.bad_id(header, delivery_id)
        return self._text.build(body, stamp, delivery_id)

    def _time_of_signing(self, timestamp: Timestamp, headers: Mapping[str, str]) -> str:
        value = headers.get(timestamp.header, "")
        if not timestamp.part:
            return value
        for item in value.split(self.preset.separator, MAX_SIGNATURES):
            if item.strip().startswith(timestamp.part):
                return item.strip().removeprefix(timestamp.part)
        return ""

    def _one_of_several(
        self, value: str, claimed: bytes, expected: list[bytes]
    ) -> Verified | Refused:
        # A header sent twice arrives joined by a comma, whatever the source's own separator.
        items = claimed.split(self.preset.separator.encode(), MAX_SIGNATURES)
        for item in items[:MAX_SIGNATURES]:
            for signature in expected:
                if compare_digest(item.strip(b" ,"), signature):
                    return self._verified
        return explanations.bad_signature(
            self.preset, value, secrets=len(expected), too_many=len(items) > MAX_SIGNATURES
        )


def _untimely(timestamp: Timestamp, stamp: str, now: float) -> Refused | None:
    if not stamp:
        return explanations.missing_timestamp(timestamp.header)
    if not _TIME.fullmatch(stamp):
        return explanations.bad_timestamp(timestamp.header, stamp)
    skew = int(now) - int(stamp) // timestamp.per_second
    if abs(skew) > timestamp.tolerance:
        return explanations.stale_timestamp(timestamp.header, skew, timestamp.tolerance)
    return None


def _raw(value: str) -> bytes:
    """Return the bytes that were on the wire; text that no wire carries, as UTF-8."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
