"""What a verification comes to."""

from dataclasses import dataclass

from routes.presets.record import Preset


@dataclass(frozen=True, slots=True)
class Verified:
    """The request proved where it comes from; its ids and event are those of this preset."""

    preset: Preset


@dataclass(frozen=True, slots=True)
class Refused:
    """The request did not prove where it comes from.

    ``reason`` is a code for filters (``missing_signature``, ``bad_signature`` …),
    ``explanation`` sentences for the operator; no secret and no expected signature is in them.
    """

    reason: str
    explanation: str
