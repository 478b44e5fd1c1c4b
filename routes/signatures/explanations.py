"""Why a request was refused, in sentences an operator can act on.

The texts may name headers, lengths and times, never a secret or the signature that was expected.
"""

from collections.abc import Mapping

from routes.presets import presets
from routes.presets.record import Encoding, Preset, Scheme

from .verdicts import Refused

# Enough to recognise a value by, too little to be worth anything.
_SHOWN = 40


def unrecognised(headers: Mapping[str, str]) -> Refused:
    """Explain that no known signature is there, on a route that recognises its sender.

    The counterpart of `routes.presets.detect` finding nothing.
    """
    empty = [name for name in _signature_headers() if headers.get(name) == ""]
    expected = _listed(_signature_headers())
    text = f"None of the signature headers Hermes knows is there: {expected}."
    if empty:
        text += f" {_listed(empty)} is there but empty."
    return Refused("missing_signature", text + " Is a secret set at the sender?")


def missing(preset: Preset, headers: Mapping[str, str]) -> Refused:
    """Explain that the header of the route's own preset is not there, and what is instead."""
    if preset.header in headers:
        text = f"{_spelled(preset.header)} is empty."
    else:
        text = f"{_spelled(preset.header)} is missing; this route expects {preset.label}."
    others = [n for n in _signature_headers() if n != preset.header and headers.get(n)]
    if others:
        text += f" The request carries {_listed(others)}: is the route set to another source?"
    else:
        text += " Is a secret set at the sender?"
    return Refused("missing_signature", text)


def unusable_secret(preset: Preset) -> Refused:
    """Explain that none of the route's secrets can be one of this source."""
    text = f"The route has no secret that {preset.label} could have signed with."
    if preset.base64_secret_prefix:
        text += (
            f" One that begins with {preset.base64_secret_prefix} must continue in base64; "
            "copy it again, whole."
        )
    return Refused("unusable_secret", text)


def missing_timestamp(header: str) -> Refused:
    """Explain that the signature needs a time and there is none."""
    return Refused(
        "missing_timestamp",
        f"{_spelled(header)} has no time of signing; without it the signature is not accepted.",
    )


def bad_timestamp(header: str, value: str) -> Refused:
    """Explain that the time of signing is not a plain number."""
    return Refused(
        "bad_timestamp",
        f"The time in {_spelled(header)} must be digits only, not {_quoted(value)}.",
    )


def stale_timestamp(header: str, skew: int, tolerance: int) -> Refused:
    """Explain how far the sender's time lies from ours; ``skew`` is ours minus theirs."""
    side = "behind" if skew > 0 else "ahead of"
    return Refused(
        "stale_timestamp",
        f"The time in {_spelled(header)} is {abs(skew)} s {side} this machine's clock; "
        f"{tolerance} s are allowed. Either a clock is wrong or the request was held back.",
    )


def bad_id(header: str, value: str) -> Refused:
    """Explain that the signed id is absent or could be mistaken for its neighbours."""
    if not value:
        return Refused("bad_id", f"{_spelled(header)} is missing; the signature covers it.")
    return Refused(
        "bad_id", f"{_spelled(header)} can't be part of a signed text: {_quoted(value)}."
    )


def bad_signature(preset: Preset, value: str, *, secrets: int, too_many: bool) -> Refused:
    """Explain what is wrong with the signature that came."""
    header = _spelled(preset.header)
    if preset.scheme is Scheme.TOKEN:
        text = f"{header} is not the secret of this route."
    elif too_many:
        text = f"{header} lists more signatures than Hermes tries, and none of the first matches."
    elif fault := _malformed(preset, value):
        text = f"{header} {fault}"
    else:
        text = (
            f"{header} does not match the body under {_live(secrets)}. Either the secret differs, "
            "or something on the way changed the body."
        )
    return Refused("bad_signature", text)


def _malformed(preset: Preset, value: str) -> str:
    if not value.isascii():
        return "holds bytes that are not ASCII."
    if not any(item.strip().startswith(preset.prefix) for item in value.split(preset.separator)):
        return f"has no signature that begins with {preset.prefix}"
    signature = value.removeprefix(preset.prefix)
    if preset.encoding is Encoding.HEX:
        if not preset.prefix and "=" in signature:
            return "must be the bare signature, with nothing before it."
        if signature != signature.lower():
            return "is in upper case; the signature is written in lower-case hexadecimal."
        if preset.separator not in signature and set(signature) - set("0123456789abcdef"):
            return "is not hexadecimal."
    return ""


def _live(secrets: int) -> str:
    return "the route's secret" if secrets == 1 else f"any of the route's {secrets} secrets"


def _signature_headers() -> list[str]:
    return list(dict.fromkeys(preset.header for preset in presets().values()))


def _listed(headers: list[str]) -> str:
    return ", ".join(_spelled(header) for header in headers)


def _spelled(header: str) -> str:
    return "-".join(part.capitalize() for part in header.split("-"))


def _quoted(value: str) -> str:
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    return ascii(shown)
