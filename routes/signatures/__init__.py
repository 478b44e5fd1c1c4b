"""Signatures of incoming requests, checked and made from the same preset records."""

from routes.presets.reading import delivery_id, event_type

from .explanations import unrecognised
from .schemes import key_of
from .signer import sign
from .verdicts import Refused, Verified
from .verifier import Verifier

__all__ = [
    "Refused",
    "Verified",
    "Verifier",
    "delivery_id",
    "event_type",
    "key_of",
    "sign",
    "unrecognised",
]
