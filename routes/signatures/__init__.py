"""Signatures of incoming requests, checked and made from the same preset records."""

from routes.presets.reading import delivery_id, event_type

from .explanations import unrecognised
from .keys import key_of
from .signer import SignedRequest, sign, sign_request
from .verdicts import POSTED, Address, Refused, Verified
from .verifier import Verifier

__all__ = [
    "POSTED",
    "Address",
    "Refused",
    "SignedRequest",
    "Verified",
    "Verifier",
    "delivery_id",
    "event_type",
    "key_of",
    "sign",
    "sign_request",
    "unrecognised",
]
