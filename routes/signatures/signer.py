"""The same record run backwards: the request a source would send."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from routes.parsing import FORM_TYPE, Unparseable, media_type, parse_body
from routes.paths import parse_path, walk
from routes.presets.reading import text_at
from routes.presets.record import Preset

from .asked import Asked, in_text
from .edits import edited
from .encryption import closed
from .keys import key_of, parts_of, preset_for
from .schemes import signer_of
from .signed_text import signed_text
from .verdicts import POSTED, Address

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as a source would send it: names of headers in lower case, the URL whole."""

    headers: Mapping[str, str]
    body: bytes
    at: Address = POSTED


def sign(
    preset: Preset, secret: str, body: bytes, *, now: float, delivery_id: str, event: str
) -> dict[str, str]:
    """Return the headers with which this source would send exactly this body.

    ``now`` is unix time. An event that the source names in the body only is for the caller to
    put there, and so is such an id. Raises ValueError for a secret that can't sign, and for a
    source that signs elsewhere than in headers: see `sign_request`.
    """
    draft = _Draft(preset, secret, body, now, delivery_id, _JSON, POSTED)
    draft.name_event(event)
    draft.sign()
    if draft.body != body or draft.query:
        raise ValueError(f"{preset.label} signs in the body or the URL, not in headers alone.")
    return draft.headers


def sign_request(
    preset: Preset,
    secret: str,
    body: bytes,
    *,
    now: float,
    delivery_id: str,
    event: str,
    content_type: str = _JSON,
    at: Address = POSTED,
) -> SignedRequest:
    """Return the whole request: as `sign`, with what the source writes into body and URL.

    The id goes where the source has it, in a JSON or XML body too, so that each request is a new
    one. For schemes with public keys, ``secret`` is the private key: PKCS #8 in PEM or base64, or
    ``whsk_…``. Raises ValueError for a secret that can't sign and a body without room.
    """
    draft = _Draft(preset, secret, body, now, delivery_id, content_type, at)
    draft.name_event(event)
    draft.place_id()
    draft.place_time()
    draft.sign()
    return SignedRequest(draft.headers, draft.body, draft.address())


@dataclass
class _Draft:
    """A request in the making."""

    preset: Preset
    secret: str
    body: bytes
    now: float
    delivery_id: str
    content_type: str
    at: Address
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)

    def name_event(self, event: str) -> None:
        """Set the headers that name the delivery and its event, where the source has them."""
        if self.preset.id_headers:
            self.headers[self.preset.id_headers[0]] = self.delivery_id
        rule = next((rule for rule in self.preset.event if rule.header), None)
        if rule is not None:
            self.headers[rule.header] = next(
                (header for header, name in rule.spellings.items() if name == event), event
            )

    def place_id(self) -> None:
        """Set the id inside the body, where the source has it there."""
        paths = self.preset.id_paths
        if self.preset.id_headers or not paths:
            return
        try:
            payload = parse_body(self.body, self.content_type, xml=self.preset.xml)
        except Unparseable:
            return
        if media_type(self.content_type) == FORM_TYPE:
            return
        path = next((path for path in paths if text_at(payload, (path,))), paths[0])
        value: object = self.delivery_id
        if isinstance(walk(payload, parse_path(path)), int):
            value = int.from_bytes(hashlib.sha256(in_text(self.delivery_id)).digest()[:4])
        self._edit({path: value})

    def place_time(self) -> None:
        """Set the time of signing inside the body, where the source has it there."""
        if self.preset.timestamp is not None and self.preset.timestamp.path:
            stamp = self._stamp()
            inside = "{timestamp}" in self.preset.signed
            self._edit({self.preset.timestamp.path: stamp if inside else int(stamp)})

    def sign(self) -> None:
        """Put time, nonce and signature where the source has them."""
        preset = preset_for(self.preset, self.secret)
        signer = signer_of(self.preset, self.secret, self.now)
        if signer is None:
            raise ValueError(f"This secret can't be one of {preset.label}.")
        stamp, nonce = self._stamp(), hashlib.sha256(in_text(self.delivery_id)).hexdigest()[:16]
        place = preset.timestamp
        if place is not None and place.query:
            self.query[place.query] = stamp
        elif place is not None and place.header and not place.part:
            self.headers[place.header] = stamp
        if preset.nonce_query:
            self.query[preset.nonce_query] = nonce
        elif preset.nonce_header:
            self.headers[preset.nonce_header] = nonce
        hidden = self._encrypt()
        is_form = media_type(self.content_type) == FORM_TYPE
        if preset.body_digest_query and self.body and not is_form:
            self.query[preset.body_digest_query] = hashlib.sha256(self.body).hexdigest()
        text = signed_text(preset.signed, in_order=not preset.signed_sorted).build(
            {
                "body": self.body,
                "timestamp": in_text(stamp),
                "id": in_text(self.delivery_id),
                "nonce": in_text(nonce),
                "secret": key_of(preset, self.secret) or b"",
                "method": in_text(self.at.method),
                "url": in_text(self.address().url),
                "form": self._form() if is_form else b"",
                "encrypted": in_text(hidden),
            }
        )
        # Header values are bytes on the wire, and latin-1 is how Python's HTTP spells bytes.
        self._place(preset, signer(text).decode("latin-1"), stamp)

    def address(self) -> Address:
        """Return where the request goes, with the parameters that the source adds."""
        if not self.query:
            return self.at
        query = "&".join(part for part in (self.at.query, urlencode(self.query)) if part)
        url = self.at.url.partition("?")[0]
        return Address(self.at.method, f"{url}?{query}", query)

    def _place(self, preset: Preset, signature: str, stamp: str) -> None:
        if preset.header:
            part = preset.timestamp.part if preset.timestamp else ""
            if part:
                signature = f"{part}{stamp}{preset.separator}{signature}"
            self.headers[preset.header] = signature
        elif preset.query:
            self.query[preset.query] = signature
        elif preset.paths:
            self._edit({preset.paths[0]: signature.encode("latin-1").decode()})

    def _stamp(self) -> str:
        place = self.preset.timestamp
        return "" if place is None else str(int(self.now * place.per_second))

    def _encrypt(self) -> str:
        kind = self.preset.encryption
        if kind is None:
            return ""
        hidden, self.body = closed(kind, self.body, parts_of(self.preset, self.secret))
        return hidden

    def _form(self) -> bytes:
        headers = {"content-type": self.content_type}
        return Asked(self.preset, headers, self.body, self.at).form()

    def _edit(self, values: Mapping[str, object]) -> None:
        self.body = edited(self.body, values, xml=self.preset.xml)
