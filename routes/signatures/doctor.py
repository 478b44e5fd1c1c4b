"""Finding out why a signature did not match: what would have made it good?

The findings go to the operator, never to the sender. They cost more than checking does, so they
are bounded: see `Pace`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from routes.presets import detect, presets
from routes.presets.record import Encoding, Key, Preset, Scheme

from .judging import Judge
from .other_bodies import other_bodies
from .verdicts import Address, Refused, Verified

MAX_BODY_BYTES = 256 * 1024
# Past this size only what costs one digest a guess is tried.
_MAX_TO_REWRITE = 64 * 1024
# Of the sources whose signature headers a request carries, so many are tried.
_MAX_SOURCES = 6
_EXAMINED = frozenset({"bad_signature", "missing_signature", "stale_timestamp"})
_A_DAY = 86_400
_MAX_HOST = 255
_ANY_TIME = 10**15


class Pace:
    """How often is looked closer: once a second for the secrets of a route, four times in all.

    A flood of forged requests then costs hardly more than the checks themselves.
    """

    PER_SECOND = 4

    def __init__(self) -> None:
        self._second = 0
        self._groups: set[int] = set()

    def allows(self, group: int, now: float) -> bool:
        """Return whether this group may be looked at in this second, and count it."""
        if int(now) != self._second:
            self._second = int(now)
            self._groups.clear()
        if group in self._groups or len(self._groups) >= self.PER_SECOND:
            return False
        self._groups.add(group)
        return True


pace = Pace()


@dataclass(frozen=True, slots=True)
class _Case:
    """A request that was refused, with what it was held against."""

    preset: Preset
    secrets: tuple[str, ...]
    headers: Mapping[str, str]
    body: bytes
    now: float
    at: Address

    def passes(self) -> bool:
        """Return whether this request would have been good."""
        judge = Judge(self.preset, self.secrets)
        return isinstance(judge.judge(self.headers, self.body, self.now, self.at), Verified)


class Doctor:
    """Looks closer at what one route refused."""

    __slots__ = ("_group", "_preset", "_secrets")

    def __init__(self, preset: Preset, secrets: Sequence[str]) -> None:
        self._preset, self._secrets = preset, tuple(secrets)
        self._group = hash(self._secrets)

    def explain(
        self,
        refused: Refused,
        headers: Mapping[str, str],
        body: bytes,
        now: float,
        at: Address,
    ) -> Refused:
        """Return the refusal with what a closer look found, or as it is."""
        if (
            refused.reason not in _EXAMINED
            or len(body) > MAX_BODY_BYTES
            or not pace.allows(self._group, now)
        ):
            return refused
        case = _Case(self._preset, self._secrets, headers, body, now, at)
        finding = _STEPS[refused.reason](case)
        if not finding:
            return refused
        return Refused(refused.reason, f"{refused.explanation} {finding}")


def _of_stale(case: _Case) -> str:
    place = case.preset.timestamp
    if place is None:
        return ""
    hint = _other_unit(case)
    patient = replace(case.preset, timestamp=replace(place, tolerance=_ANY_TIME))
    if replace(case, preset=patient).passes():
        return f"{hint}The signature itself is right for that time."
    return f"{hint}The signature does not match either."


def _other_unit(case: _Case) -> str:
    """Return a hint where the time would be near in the other unit."""
    place = case.preset.timestamp
    if place is None:
        return ""
    per_second, unit = (1000, "milliseconds") if place.per_second == 1 else (1, "seconds")
    other = replace(place, per_second=per_second, tolerance=_A_DAY)
    found = Judge(replace(case.preset, timestamp=other), case.secrets).judge(
        case.headers, case.body, case.now, case.at
    )
    if isinstance(found, Refused) and found.reason == "stale_timestamp":
        return ""
    return f"It seems to be in {unit}. "


def _of_missing(case: _Case) -> str:
    return _other_source(case) or ""


def _of_bad(case: _Case) -> str:
    for step in (_other_secret, _other_source, _other_writing, _other_address, _other_body):
        if finding := step(case):
            return finding
    if not case.preset.protects_body:
        return ""
    return (
        "No other source, no other reading of the secret and no usual change of the body makes it "
        "match: most likely the secret at the sender is another one."
    )


_STEPS: Mapping[str, Callable[[_Case], str]] = {
    "bad_signature": _of_bad,
    "missing_signature": _of_missing,
    "stale_timestamp": _of_stale,
}


def _other_source(case: _Case) -> str:
    others = [
        preset
        for preset in presets().values()
        if preset.name != case.preset.name and case.headers.get(preset.header)
    ]
    # Of several that share a header, the one that the other headers speak for.
    likely = detect(case.headers)
    others.sort(key=lambda preset: (preset is not likely, not _is_marked(preset, case.headers)))
    for preset in others[:_MAX_SOURCES]:
        if replace(case, preset=preset).passes():
            return (
                f"It is signed as {preset.label} signs, with this route's secret: set the source "
                f"of the route to “{preset.name}”."
            )
    return ""


def _is_marked(preset: Preset, headers: Mapping[str, str]) -> bool:
    return preset.auto and all(headers.get(name) for name in preset.marks)


def _other_secret(case: _Case) -> str:
    for what, changed in _readings(case):
        if changed != case and changed.passes():
            return f"It matches when the secret is taken {what}: enter it anew, that way."
    return ""


def _readings(case: _Case) -> Iterator[tuple[str, _Case]]:
    def with_secrets(change: Callable[[str], str]) -> _Case:
        return replace(case, secrets=tuple(change(secret) for secret in case.secrets))

    yield "without the white space at its ends", with_secrets(str.strip)
    yield "without the quotation marks", with_secrets(lambda secret: secret.strip().strip("'\""))
    yield "with a line break at its end", with_secrets(lambda secret: secret.rstrip() + "\n")
    if case.preset.scheme is not Scheme.HMAC:
        return
    if marker := case.preset.base64_secret_prefix:
        plain = replace(case.preset, base64_secret_prefix="", variants=())
        yield "as it stands, not decoded from base64", replace(case, preset=plain)
        yield f"with “{marker}” before it", with_secrets(lambda secret: marker + secret)
    for what, key in (("decoded from base64", Key.BASE64), ("decoded from hexadecimal", Key.HEX)):
        decoding = replace(case.preset, key=key)
        yield what, replace(case, preset=decoding)


def _other_writing(case: _Case) -> str:
    if case.preset.scheme is not Scheme.HMAC or len(case.body) > _MAX_TO_REWRITE:
        return ""
    for algorithm in ("sha256", "sha1", "sha512"):
        for encoding in Encoding:
            for prefix in {case.preset.prefix: 0, "": 0, f"{algorithm}=": 0}:
                changed = replace(
                    case.preset, algorithm=algorithm, encoding=encoding, prefix=prefix
                )
                if changed != case.preset and replace(case, preset=changed).passes():
                    before = f", after “{prefix}”" if prefix else ", with nothing before it"
                    return (
                        f"It matches as HMAC-{algorithm.upper()} in {encoding}{before}: "
                        f"{case.preset.label} signs otherwise; give the route a custom scheme."
                    )
    return ""


def _other_address(case: _Case) -> str:
    if not case.preset.signs_address:
        return ""
    for url in _addresses(case):
        if url != case.at.url and replace(case, at=replace(case.at, url=url)).passes():
            # The query may hold what is nobody's business.
            shown = url.partition("?")[0]
            return f"It is signed for {shown}: set PUBLIC_URL so that the address begins that way."
    return ""


def _addresses(case: _Case) -> Iterator[str]:
    asked = urlsplit(case.at.url)
    hosts = dict.fromkeys(
        host
        for host in (
            asked.netloc,
            case.headers.get("x-forwarded-host", ""),
            case.headers.get("host", ""),
        )
        if host and len(host) <= _MAX_HOST
    )
    for host in hosts:
        for scheme in ("https", "http"):
            for path in (asked.path, asked.path + "/"):
                for query in dict.fromkeys((asked.query, "")):
                    yield f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def _other_body(case: _Case) -> str:
    if not case.preset.protects_body:
        return ""
    for what, body in other_bodies(case.body, rewritten=len(case.body) <= _MAX_TO_REWRITE):
        if replace(case, body=body).passes():
            return (
                f"It matches a body {what}: something between the sender and Hermes changes "
                "bodies, a proxy perhaps, or the sender signs another text than it sends."
            )
    return ""
