"""What a verification is asked, and what it comes to."""

from dataclasses import dataclass, field

from routes.presets.record import Preset


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request was sent, for the schemes that sign it.

    ``url`` is the public URL as the sender knows it, with path and query; ``query`` is the part
    after the question mark, still encoded.
    """

    method: str = "POST"
    url: str = ""
    query: str = ""


#: For the many schemes that look at headers and body only.
POSTED = Address()


@dataclass(frozen=True, slots=True)
class Verified:
    """The request proved where it comes from; its ids and event are those of this preset.

    ``body`` is set where the true body is another than the one that came (decrypted).
    ``secret`` is the secret of the route that it was made with.
    """

    preset: Preset
    body: bytes | None = None
    secret: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The request did not prove where it comes from.

    ``reason`` is a code for filters (``missing_signature``, ``bad_signature`` …),
    ``explanation`` sentences for the operator; no secret and no expected signature is in them.
    """

    reason: str
    explanation: str
