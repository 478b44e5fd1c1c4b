"""Why a request was refused, in sentences an operator can act on.

The texts may name headers, lengths and times, never a secret or the signature that was expected.
What takes work to find out is the doctor's (`routes.signatures.doctor`).
"""

import re
from collections.abc import Mapping

from routes.presets import presets
from routes.presets.record import Encoding, Preset, Scheme, Timestamp

from .verdicts import Refused

# Enough to recognise a value by, too little to be worth anything.
_SHOWN = 40
# More headers than these nobody reads.
_LISTED = 8
# How senders call what they sign with.
_SIMILAR = re.compile("signature|hmac|token|digest|secret|api-?key")
# What GitHub and its likes sent before 2020, beside the better one.
LEGACY = "x-hub-signature"


def unrecognised(headers: Mapping[str, str]) -> Refused:
    """Explain that no known signature is there, on a route that recognises its sender.

    The counterpart of `routes.presets.detect` finding nothing.
    """
    if found := _present(headers):
        text = f"{_listed(found)} is there, but Hermes can't tell from it alone who sends."
        text += f" {_candidates(found)}"
        return Refused("missing_signature", text)
    text = "None of the signature headers Hermes knows is there."
    if empty := [name for name in signature_headers() if headers.get(name) == ""]:
        text += f" {_listed(empty)} is there but empty."
    similar = [name for name, value in headers.items() if value and _SIMILAR.search(name)]
    if similar:
        text += f" {_listed(similar[:_LISTED])} looks like one: give the route a custom scheme."
    else:
        text += " Is a secret set at the sender?"
    return Refused("missing_signature", text)


def missing(preset: Preset, headers: Mapping[str, str]) -> Refused:
    """Explain that the signature of the route's own preset is not there, and what is instead."""
    place = place_of_signature(preset)
    if preset.header and preset.header in headers:
        text = f"{place} is empty."
    else:
        text = f"{place} is missing; this route expects {preset.label}."
    others = [name for name in _present(headers) if name != preset.header]
    if others == [LEGACY] and headers[LEGACY].startswith("sha1="):
        text += (
            f" The request carries only the old {spelled(LEGACY)}, in SHA-1: update the sender, "
            "or give the route a custom scheme."
        )
    elif others:
        text += f" The request carries {_listed(others)}: is the route set to another source?"
    else:
        text += " Is a secret set at the sender?"
    return Refused("missing_signature", text)


def unusable_secret(preset: Preset) -> Refused:
    """Explain that none of the route's secrets can be one of this source."""
    if preset.scheme is Scheme.NONE:
        text = f"{preset.label} can't prove who sends, so no secret helps; choose another source."
        return Refused("unusable_secret", text)
    text = f"The route has no secret that {preset.label} could have signed with."
    if preset.base64_secret_prefix:
        text += (
            f" One that begins with {preset.base64_secret_prefix} must continue in base64; "
            "copy it again, whole."
        )
    if preset.scheme in (Scheme.ED25519, Scheme.ECDSA):
        text += " It is the sender's public key, as the sender shows it."
    elif preset.secret_parts:
        text += f" It is written {':'.join(f'<{part}>' for part in preset.secret_parts)}."
    return Refused("unusable_secret", text)


def missing_timestamp(place: str) -> Refused:
    """Explain that the signature needs a time and there is none."""
    return Refused(
        "missing_timestamp",
        f"{place} has no time of signing; without it the signature is not accepted.",
    )


def bad_timestamp(place: str, value: str) -> Refused:
    """Explain that the time of signing is not a plain number."""
    return Refused(
        "bad_timestamp", f"The time in {place} must be digits only, not {_quoted(value)}."
    )


def stale_timestamp(place: str, skew: int, tolerance: int) -> Refused:
    """Explain how far the sender's time lies from ours; ``skew`` is ours minus theirs."""
    side = "behind" if skew > 0 else "ahead of"
    return Refused(
        "stale_timestamp",
        f"The time in {place} is {abs(skew)} s {side} this machine's clock; "
        f"{tolerance} s are allowed. Either a clock is wrong or the request was held back.",
    )


def stale_token(late: int) -> Refused:
    """Explain that a web token is out of its time by so many seconds; negative: too early."""
    what = f"ended {late} s ago" if late > 0 else f"begins in {-late} s"
    return Refused("stale_timestamp", f"The token in Authorization {what}; is a clock wrong?")


def endless_token() -> Refused:
    """Explain that a web token without an end is not taken."""
    return Refused("missing_timestamp", "The token in Authorization has no time of expiry (exp).")


def bad_id(place: str, value: str) -> Refused:
    """Explain that the signed id is absent or could be mistaken for its neighbours."""
    if not value:
        return Refused("bad_id", f"{place} is missing; the signature covers it.")
    return Refused("bad_id", f"{place} can't be part of a signed text: {_quoted(value)}.")


def bad_nonce(place: str, value: str) -> Refused:
    """Explain that the sender's random text is absent or could be mistaken for the body."""
    if not value:
        return Refused("bad_nonce", f"{place} is missing; the signature covers it.")
    return Refused("bad_nonce", f"{place} can't be part of a signed text: {_quoted(value)}.")


def other_body(parameter: str) -> Refused:
    """Explain that the signed URL is for another body."""
    return Refused(
        "bad_signature", f"The body is not the one whose hash the URL gives in {parameter}."
    )


def undecipherable(preset: Preset) -> Refused:
    """Explain that a genuine request could not be decrypted."""
    part = preset.secret_parts[-1] if preset.secret_parts else "key"
    return Refused("undecipherable", f"The body can't be decrypted: is the {part} another one?")


def bad_signature(preset: Preset, value: str, *, secrets: int, too_many: bool) -> Refused:
    """Explain what is wrong with the signature that came."""
    place = place_of_signature(preset)
    if preset.scheme in (Scheme.TOKEN, Scheme.BEARER, Scheme.BASIC):
        text = f"{place} is not the secret of this route."
    elif too_many:
        text = f"{place} lists more signatures than Hermes tries, and none of the first matches."
    elif fault := _malformed(preset, value):
        text = f"{place} {fault}"
    else:
        covered = "the body" if preset.protects_body else "what it signs"
        text = (
            f"{place} does not match {covered} under {_live(secrets)}. Either the secret differs, "
            f"or something on the way changed {covered}."
        )
    return Refused("bad_signature", text)


def place_of_signature(preset: Preset) -> str:
    """Return where a source's signature is looked for, in words."""
    if preset.header:
        return spelled(preset.header)
    if preset.query:
        return f"{preset.query} in the URL"
    return f"{preset.paths[0]} in the body" if preset.paths else "The signature"


def place_of_time(timestamp: Timestamp) -> str:
    """Return where the time of signing is looked for, in words."""
    if timestamp.header:
        return spelled(timestamp.header)
    if timestamp.query:
        return f"{timestamp.query} in the URL"
    return f"{timestamp.path} in the body"


def place_of_id(preset: Preset) -> str:
    """Return where the signed id is looked for, in words."""
    if preset.id_headers:
        return spelled(preset.id_headers[0])
    return f"{preset.id_paths[0]} in the body" if preset.id_paths else "The id"


def place_of_nonce(preset: Preset) -> str:
    """Return where the sender's random text is looked for, in words."""
    return (
        f"{preset.nonce_query} in the URL" if preset.nonce_query else spelled(preset.nonce_header)
    )


def spelled(header: str) -> str:
    """Return a header's name as people write it."""
    return "-".join(part.capitalize() for part in header.split("-"))


def signature_headers() -> list[str]:
    """Return the headers that hold the signature of some source, in the order of recognition."""
    return list(dict.fromkeys(one.header for one in presets().values() if one.header))


def _malformed(preset: Preset, value: str) -> str:
    if not value.isascii():
        return "holds bytes that are not ASCII."
    if not any(item.strip().startswith(preset.prefix) for item in value.split(preset.separator)):
        return f"has no signature that begins with {preset.prefix}"
    signature = value.removeprefix(preset.prefix)
    if preset.encoding is Encoding.HEX and preset.scheme is not Scheme.JWT:
        if not preset.prefix and "=" in signature:
            return "must be the bare signature, with nothing before it."
        if signature != signature.lower():
            return "is in upper case; the signature is written in lower-case hexadecimal."
        if preset.separator not in signature and set(signature) - set("0123456789abcdef"):
            return "is not hexadecimal."
    return ""


def _candidates(headers: list[str]) -> str:
    """Return which sources a route could be set to, for a request with these headers."""
    labels = [str(one.label) for one in presets().values() if one.header in headers]
    return f"Set the route to its source: {', '.join(labels[:_LISTED])}."


def _live(secrets: int) -> str:
    return "the route's secret" if secrets == 1 else f"any of the route's {secrets} secrets"


def _present(headers: Mapping[str, str]) -> list[str]:
    return [name for name in signature_headers() if headers.get(name)]


def _listed(headers: list[str]) -> str:
    return ", ".join(spelled(header[:_SHOWN]) for header in headers)


def _quoted(value: str) -> str:
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    return ascii(shown)
