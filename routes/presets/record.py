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
    HASH = "hash"  # a plain hash; the signed text has the {secret} in it
    ED25519 = "ed25519"  # the route's secret is the sender's public key
    ECDSA = "ecdsa"  # P-256, signature in DER; the route's secret is the sender's public key
    # The following don't protect the body.
    TOKEN = "token"  # the secret itself, in clear  # noqa: S105
    BEARER = "bearer"  # Authorization: Bearer <secret>
    BASIC = "basic"  # Authorization: Basic; the secret is user:password, or any user's password
    JWT = "jwt"  # Authorization: Bearer <HS256 token made with the secret>
    NONE = "none"  # the sender can't prove it; only for routes that take unsigned requests


#: Schemes that travel in ``Authorization``, where many things travel.
IN_AUTHORIZATION = frozenset({Scheme.BEARER, Scheme.BASIC, Scheme.JWT})
_CARRIES_A_SECRET = IN_AUTHORIZATION | {Scheme.TOKEN, Scheme.NONE}


class Encoding(StrEnum):
    """How bytes are written as text."""

    HEX = "hex"  # lower case
    BASE64 = "base64"


class Key(StrEnum):
    """What bytes a secret stands for."""

    TEXT = "text"  # its UTF-8 bytes
    HEX = "hex"
    BASE64 = "base64"  # of a public ECDSA key: SubjectPublicKeyInfo (PEM is taken, too)


class Encryption(StrEnum):
    """How a source hides the body that it signs."""

    FEISHU = "feishu"  # {"encrypt": base64}, AES-256-CBC under SHA-256 of the encrypt key
    WECOM = "wecom"  # <xml><Encrypt>base64</Encrypt></xml>, AES-256-CBC, framed


class Greets(StrEnum):
    """What a sender asks to see whether the address is ours (facts/sources.md §2)."""

    CHALLENGE = "challenge"  # {"type": "url_verification", "challenge": …} (Slack)
    FEISHU = "feishu"  # the same with a token to compare, possibly encrypted
    ZOOM = "zoom"  # endpoint.url_validation: the token and its HMAC
    DISCORD = "discord"  # {"type": 1} is answered with itself, {"type": 0} with 204
    NOTION = "notion"  # {"verification_token": …} is the secret from then on
    META = "meta"  # GET hub.mode, hub.verify_token, hub.challenge
    MICROSOFT_GRAPH = "microsoft_graph"  # ?validationToken=
    DROPBOX = "dropbox"  # GET ?challenge=
    ASANA = "asana"  # X-Hook-Secret is echoed, and the secret from then on
    WECOM = "wecom"  # GET msg_signature, timestamp, nonce, echostr
    CLOUDEVENTS = "cloudevents"  # OPTIONS WebHook-Request-Origin


#: Whoever asks so tells the secret with it.
TELLS_A_SECRET = frozenset({Greets.NOTION, Greets.ASANA})


@dataclass(frozen=True, slots=True)
class Handshake:
    """A set-up request of the source, answered by `routes.handshakes`; nobody is woken."""

    kind: Greets
    methods: tuple[str, ...] = ("POST",)
    # It carries no signature and must be asked about before one is demanded.
    unsigned: bool = False


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Where the time of signing is found, and how far from now it may lie, either way.

    One of ``header``, ``query`` (a parameter of the URL) and ``path`` (dotted, into the JSON
    body). With ``part``, the time is the item of the header that begins with it (Stripe's
    ``t=``). An ``optional`` one may be absent: then `Preset.signed_untimed` is the signed text.
    """

    header: str = ""
    part: str = ""
    per_second: int = 1  # 1000 where the sender counts milliseconds
    tolerance: int = 300  # seconds
    query: str = ""
    path: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class EventName:
    """One place where a source says what happened.

    With a ``header``, the rule holds only where that header is there; a text at the dotted path
    ``body`` then names the event plainly, else the header does. Without one, the text at
    ``body`` is the name. ``keys``: the first of these keys that the body has is the name
    (Telegram). What was found is put through ``spellings`` (a number too: Discord's ``2``), or
    stands as it is; the texts at the paths ``joined`` follow after a dot: ``issue.created``.
    """

    header: str = ""
    body: str = ""
    spellings: Mapping[str, str] = field(default_factory=lambda: NO_SPELLINGS, hash=False)
    joined: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """Another signature of the same source, told by how the route's secret begins.

    Standard Webhooks: ``whpk_`` is a public Ed25519 key in base64, its signatures begin with
    ``v1a,``, and ``whsk_`` is the private key that made them.
    """

    secret_prefix: str
    scheme: Scheme
    prefix: str
    private_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Preset:
    """One source as data; run forwards it verifies, run backwards it signs.

    Header names are in lower case; paths are dotted, and list items go by number
    (``entry.0.id``). ``signed`` is the signed text, made of what stands between and

    ====================  ==================================================================
    ``{body}``            the raw bytes
    ``{timestamp}``       as it was written at ``timestamp``
    ``{id}``              the first of ``id_headers``, else of ``id_paths``
    ``{nonce}``           of ``nonce_header`` or ``nonce_query``
    ``{secret}``          the secret, for plain hashes
    ``{method}``          of the request, in capitals
    ``{url}``             the public address that was asked, with its query
    ``{form}``            names and values of a form sorted by name, nothing between (Twilio)
    ``{encrypted}``       the text that `Encryption` has for the body (WeCom)
    ====================  ==================================================================
    """

    name: str
    label: str | Promise
    scheme: Scheme
    # Where the signature is: this header, else ``query``, else the first of ``paths`` that the
    # body has. In ``value.*.clientState`` the star is every item, and all must be good.
    header: str
    docs: str  # a page of the vendor
    # -- Recognition. The signature's own header alone where ``recognised_by`` is empty.
    recognised_by: tuple[str, ...] = ()  # headers that together tell this source from others
    recognised_without: tuple[str, ...] = ()  # headers of a look-alike that must be absent
    # How a header's value begins, in any case: {"x-hub-signature": "sha1="}.
    recognised_values: Mapping[str, str] = field(default_factory=lambda: NO_SPELLINGS, hash=False)
    auto: bool = True  # False: only where a route names it (shares another's headers)
    # -- The signature
    algorithm: str = "sha256"  # sha1, sha256, sha512
    encoding: Encoding = Encoding.HEX
    prefix: str = ""  # before each signature: "sha256=", "v1,"
    separator: str = ","  # between several signatures in one header
    other_headers: tuple[str, ...] = ()  # further headers that may hold a signature of this kind
    query: str = ""
    paths: tuple[str, ...] = ()
    timestamp: Timestamp | None = None
    signed: str = "{body}"
    signed_untimed: str = "{body}"
    signed_sorted: bool = False  # the pieces of ``signed`` are sorted before they are joined
    nonce_header: str = ""
    nonce_query: str = ""
    # The parameter of a signed URL that holds the SHA-256 of a body that is not a form, in hex.
    body_digest_query: str = ""
    encryption: Encryption | None = None
    xml: bool = False  # the body, decrypted, is XML: each element a key, each text a value
    # -- The secret
    key: Key = Key.TEXT
    # A secret that begins so continues in base64; any other is taken as ``key`` says.
    base64_secret_prefix: str = ""
    # What a secret of several pieces is made of, with colons between; the first one signs.
    secret_parts: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    # -- What it says of itself
    event: tuple[EventName, ...] = ()  # the first rule that finds a name counts
    id_headers: tuple[str, ...] = ()
    id_paths: tuple[str, ...] = ()  # after the headers; the first that is there counts
    # Events that only say hello: to be answered, with nobody woken.
    greetings: frozenset[str] = frozenset()
    handshake: Handshake | None = None
    # -- What to know of it (facts/sources.md §3)
    waits: int | None = None  # seconds until it gives up on an answer; None: not known
    repeats: bool | None = None  # whether it tries again after a failure; None: not known
    retries: str | Promise = ""  # how often, in a few words
    # A repeat has another body under the same id: it counts the tries, or names a new time.
    rewrites_retries: bool = False
    note: str | Promise = ""  # what a person must know: a body that is not protected, a limit
    setup: str | Promise = ""  # where at the sender address and secret are entered

    @property
    def protects_body(self) -> bool:
        """Return whether a changed body is noticed."""
        return self.scheme not in _CARRIES_A_SECRET and any(
            place in self.signed for place in ("{body}", "{form}", "{encrypted}")
        )

    @property
    def signs_id(self) -> bool:
        """Return whether the delivery's id is covered, so that a replay can't have another."""
        if self.id_headers:
            return "{id}" in self.signed
        return bool(self.id_paths) and (self.protects_body or "{id}" in self.signed)

    @property
    def signs_address(self) -> bool:
        """Return whether the public URL must be configured as the sender knows it."""
        return "{url}" in self.signed

    @property
    def tells_secret(self) -> bool:
        """Return whether a route has no secret until this source is set up, and then its own."""
        return self.handshake is not None and self.handshake.kind in TELLS_A_SECRET

    @property
    def secret_in_body(self) -> bool:
        """Return whether the body carries the secret itself, so that none is to be kept."""
        return self.scheme is Scheme.TOKEN and bool(self.paths)

    @property
    def marks(self) -> tuple[str, ...]:
        """Return the headers by which an unnamed source is recognised."""
        return self.recognised_by or ((self.header,) if self.header else ())
