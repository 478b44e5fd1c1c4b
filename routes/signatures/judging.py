"""Whether a request is what it claims to be, step by step."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hmac import compare_digest

from routes.presets.record import Preset, Scheme

from . import explanations, web_tokens
from .asked import EVERY, MAX_SIGNATURES, Asked, in_text, on_the_wire
from .encryption import Undecipherable, opened
from .keys import key_of, parts_of
from .schemes import Check, check_of, signature_of, token_in
from .signed_text import SignedText, signed_text
from .verdicts import POSTED, Address, Refused, Verified

# Seconds have ten digits until 2286, milliseconds thirteen.
_TIME = re.compile(r"[0-9]{1,14}", re.ASCII)
# Random text, or a time written out; neither JSON nor a form begins so and goes on.
_NONCE = re.compile(rb"[A-Za-z0-9:.+_/=-]{1,128}")


class NotGenuine(Exception):
    """A step has failed; ``refused`` says which."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class _Secret:
    """A secret of the route, made ready."""

    key: bytes
    parts: tuple[str, ...]
    prepare: Callable[[bytes], Check]
    verified: Verified


class Judge:
    """One source and the live secrets of a route, prepared once for many requests."""

    __slots__ = ("_secrets", "_signature", "_text", "_untimed", "preset")

    def __init__(self, preset: Preset, secrets: Sequence[str]) -> None:
        self.preset = preset
        self._secrets = tuple(_ready(preset, secrets))
        self._text = signed_text(preset.signed, in_order=not preset.signed_sorted)
        self._untimed = signed_text(preset.signed_untimed)
        # Nearly all requests: one header, one keyed hash of the body (or a token), one comparison.
        self._signature = signature_of(preset) if _is_plain(preset) else None

    def judge(
        self, headers: Mapping[str, str], body: bytes, now: float, at: Address = POSTED
    ) -> Verified | Refused:
        """Return whether the raw body was signed with a live secret; ``now`` is unix time.

        1. A signature of this source must be there, not empty, and a usable secret too.
        2. A time of signing, where the source has one, must be near ``now``.
        3. The signed text is built from the bytes that came.
        4. Each secret's signature is compared in constant time with what was claimed.
        5. What only a genuine request is worth: a time inside the body, decrypting it.
        """
        if self._signature is None:
            try:
                return self._by_steps(Asked(self.preset, headers, body, at), now)
            except NotGenuine as stop:
                return stop.refused
        value = headers.get(self.preset.header)
        if not value:
            return explanations.missing(self.preset, headers)
        if not self._secrets:
            return explanations.unusable_secret(self.preset)
        claimed = on_the_wire(value)
        expected = [self._signature(secret.key, body) for secret in self._secrets]
        for secret, signature in zip(self._secrets, expected, strict=True):
            if compare_digest(claimed, signature):
                return secret.verified
        checks = [partial(compare_digest, signature) for signature in expected]
        found = self._matching([claimed], checks)
        return found[0].verified if found else self._bad_signature([claimed])

    def _by_steps(self, asked: Asked, now: float) -> Verified | Refused:
        preset = self.preset
        claims = asked.claims()
        if not claims:
            return explanations.missing(preset, asked.headers)
        if not self._secrets:
            return explanations.unusable_secret(preset)
        # A time that is not a piece of its own is one in a signed body: worth a look, and a
        # parser, only once the body is known to be genuine.
        inside = preset.timestamp is not None and "timestamp" not in self._text.names
        stamp = "" if inside else self._time_of_signing(asked, now)
        timed = inside or preset.timestamp is None or stamp
        text = self._text if timed else self._untimed
        checks = self._checks(text, self._values(text, asked, stamp))
        found = self._matching(claims, checks)
        if found is None:
            return self._bad_signature(claims)
        secret, claim = found
        if inside:
            self._time_of_signing(asked, now)
        if preset.scheme is Scheme.JWT:
            _must_be_in_time(token_in(claim), now)
        if preset.body_digest_query:
            self._must_have_this_body(asked)
        return self._decrypted(asked, secret)

    def _time_of_signing(self, asked: Asked, now: float) -> str:
        """Return the time as it was written, "" where it may be absent and is."""
        place = self.preset.timestamp
        if place is None:
            return ""
        name = explanations.place_of_time(place)
        stamp = asked.timestamp()
        if not stamp:
            if place.optional:
                return ""
            raise NotGenuine(explanations.missing_timestamp(name))
        if not _TIME.fullmatch(stamp):
            raise NotGenuine(explanations.bad_timestamp(name, stamp))
        skew = int(now) - int(stamp) // place.per_second
        if abs(skew) > place.tolerance:
            raise NotGenuine(explanations.stale_timestamp(name, skew, place.tolerance))
        return stamp

    def _values(self, text: SignedText, asked: Asked, stamp: str) -> dict[str, bytes]:
        values = {"body": asked.body, "timestamp": in_text(stamp)}
        for name in text.names - values.keys():
            match name:
                case "id":
                    values[name] = self._signed_id(text, asked)
                case "nonce":
                    values[name] = self._nonce(asked)
                case "method":
                    values[name] = in_text(asked.at.method)
                case "url":
                    values[name] = in_text(asked.at.url)
                case "form":
                    values[name] = b"" if self._body_digest(asked) else asked.form()
                case "encrypted":
                    values[name] = in_text(asked.hidden())
        return values

    def _signed_id(self, text: SignedText, asked: Asked) -> bytes:
        value = asked.delivery_id()
        # With a separator inside, another split of the same text would verify too.
        if not value or not value.isascii() or any(mark in value for mark in text.separators):
            raise NotGenuine(explanations.bad_id(explanations.place_of_id(self.preset), value))
        return value.encode()

    def _nonce(self, asked: Asked) -> bytes:
        value = asked.nonce()
        # Mostly nothing stands between it and the body: it must not be able to swallow some.
        if not _NONCE.fullmatch(value):
            place = explanations.place_of_nonce(self.preset)
            raise NotGenuine(explanations.bad_nonce(place, value.decode("latin-1")))
        return value

    def _checks(self, text: SignedText, values: dict[str, bytes]) -> list[Check]:
        if "secret" in text.names:
            return [one.prepare(text.build(values | {"secret": one.key})) for one in self._secrets]
        built = text.build(values)
        return [one.prepare(built) for one in self._secrets]

    def _matching(
        self, claims: Sequence[bytes], checks: Sequence[Check]
    ) -> tuple[_Secret, bytes] | None:
        """Return the secret that made one of the claimed signatures, with that signature.

        Where a path has a star, the secret that made every one.
        """
        if any(EVERY in path for path in self.preset.paths):
            for secret, check in zip(self._secrets, checks, strict=True):
                if all(check(claim) for claim in claims):
                    return secret, claims[0]
            return None
        for claim in self._each(claims):
            for secret, check in zip(self._secrets, checks, strict=True):
                if check(claim):
                    return secret, claim
        return None

    def _each(self, claims: Iterable[bytes]) -> Iterator[bytes]:
        separator = self.preset.separator.encode()
        for claim in claims:
            yield claim
            # A header sent twice arrives joined by a comma, whatever the source's own separator.
            for item in claim.split(separator, MAX_SIGNATURES)[:MAX_SIGNATURES]:
                yield item.strip(b" ,")

    def _bad_signature(self, claims: Sequence[bytes]) -> Refused:
        separator = self.preset.separator.encode()
        return explanations.bad_signature(
            self.preset,
            claims[0].decode("latin-1"),
            secrets=len(self._secrets),
            too_many=any(claim.count(separator) >= MAX_SIGNATURES for claim in claims),
        )

    def _body_digest(self, asked: Asked) -> str:
        return asked.query.get(self.preset.body_digest_query, "")

    def _must_have_this_body(self, asked: Asked) -> None:
        claimed = self._body_digest(asked)
        if not claimed and asked.is_form:
            return
        digest = hashlib.sha256(asked.body).hexdigest()
        if not compare_digest(in_text(claimed.lower()), digest.encode()):
            raise NotGenuine(explanations.other_body(self.preset.body_digest_query))

    def _decrypted(self, asked: Asked, secret: _Secret) -> Verified:
        kind, hidden = self.preset.encryption, asked.hidden()
        if kind is None or not hidden:
            return secret.verified
        try:
            body = opened(kind, hidden, secret.parts)
        except Undecipherable:
            raise NotGenuine(explanations.undecipherable(self.preset)) from None
        return Verified(self.preset, body, secret.verified.secret)


def _ready(preset: Preset, secrets: Sequence[str]) -> Iterator[_Secret]:
    for secret in secrets:
        key, prepare = key_of(preset, secret), check_of(preset, secret)
        if key is not None and prepare is not None:
            verified = Verified(preset, secret=secret)
            yield _Secret(key, parts_of(preset, secret), prepare, verified)


def _is_plain(preset: Preset) -> bool:
    return (
        preset.scheme in (Scheme.HMAC, Scheme.TOKEN)
        and preset.signed == "{body}"
        and bool(preset.header)
        and preset.timestamp is None
        and preset.encryption is None
        and not (preset.other_headers or preset.variants or preset.query or preset.paths)
        and not preset.body_digest_query
    )


def _must_be_in_time(token: bytes, now: float) -> None:
    late = web_tokens.lateness(token, now)
    if late is None:
        raise NotGenuine(explanations.endless_token())
    if late:
        raise NotGenuine(explanations.stale_token(late))
