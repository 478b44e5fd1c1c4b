"""The record of a source: how it signs, names and repeats its deliveries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from django.utils.functional import Promise

NO_SPELLINGS: Mapping[str, str] = MappingProxyType({})


class Scheme(StrEnum):
    """How a request proves where it comes from."""

    HMAC = "hmac"  # a keyed hash of the signed text
    TOKEN = "token"  # the secret itself, in clear; the body is not protected  # noqa: S105


class Encoding(StrEnum):
    """How the bytes of a hash are written in the header."""

    HEX = "hex"  # lower case
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Where the time of signing is found, and how far from now it may lie, either way.

    With ``part``, the time is the item of the header that begins with it (Stripe's ``t=``).
    """

    header: str
    part: str = ""
    per_second: int = 1  # 1000 where the sender counts milliseconds
    tolerance: int = 300  # seconds


@dataclass(frozen=True, slots=True)
class EventName:
    """One place where a source says what happened.

    With a ``header``, the rule holds only where that header is there; a text at ``body`` then
    names the event plainly, else the header does, by its ``spellings`` or as it stands.
    Without one, the text at ``body`` is the name.
    """

    header: str = ""
    body: str = ""
    spellings: Mapping[str, str] = field(default_factory=lambda: NO_SPELLINGS)


@dataclass(frozen=True, slots=True)
class Preset:
    """One source as data; run forwards it verifies, run backwards it signs.

    Header names are in lower case. ``signed`` is the signed text, made of ``{body}``,
    ``{timestamp}``, ``{id}`` (the first of ``id_headers``) and what stands between.
    """

    name: str
    label: str | Promise
    scheme: Scheme
    header: str
    docs: str
    # Headers that together tell this source from others; the signature's own where empty.
    recognised_by: tuple[str, ...] = ()
    algorithm: str = "sha256"
    encoding: Encoding = Encoding.HEX
    prefix: str = ""  # before each signature: "sha256=", "v1,"
    separator: str = ","  # between several signatures in one header
    timestamp: Timestamp | None = None
    signed: str = "{body}"
    # A secret that begins so continues in base64; any other is taken as its UTF-8 bytes.
    base64_secret_prefix: str = ""
    event: tuple[EventName, ...] = ()
    id_headers: tuple[str, ...] = ()
    id_path: str = ""
    # Events that only say hello: to be answered, with nobody woken.
    greetings: frozenset[str] = frozenset()

    @property
    def protects_body(self) -> bool:
        """Return whether a changed body is noticed."""
        return self.scheme is not Scheme.TOKEN

    @property
    def marks(self) -> tuple[str, ...]:
        """Return the headers by which an unnamed source is recognised."""
        return self.recognised_by or (self.header,)
