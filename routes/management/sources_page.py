"""The generated part of docs/sources.md, from the records of the sources."""

from collections.abc import Iterable, Iterator

from django.utils import translation

from routes.presets import EventName, Preset, Scheme, detect, families
from routes.presets.record import IN_AUTHORIZATION, Timestamp

#: Between these two lines the page is written by `manage.py sources_table`.
START, END = "<!-- sources: begin -->", "<!-- sources: end -->"

_COLUMNS = (
    "`preset`",
    "source",
    "`auto`",
    "signature",
    "over",
    "window",
    "delivery id",
    "event",
    "set-up request",
    "body protected",
    "waits",
    "repeats",
)


def page(text: str) -> str:
    """Return the page with its generated part written anew; raise ValueError without its marks."""
    before, start, rest = text.partition(START)
    _old, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"The page has no {START} … {END}.")
    return f"{before}{START}\n\n{generated()}\n{END}{after}"


def generated() -> str:
    """Return one table and one list of the sources for each family, in English."""
    with translation.override("en"):
        return "\n".join(_lines())


def _lines() -> Iterator[str]:
    for label, family in families():
        yield f"### {label}"
        yield ""
        yield _row(_COLUMNS)
        yield _row("---" for _ in _COLUMNS)
        for preset in family:
            yield _row(_cells(preset))
        yield ""
        for preset in family:
            yield f"- **{preset.label}** ([its page]({_link(preset)})). {_advice(preset)}".rstrip()
        yield ""


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _cells(preset: Preset) -> tuple[object, ...]:
    return (
        f"`{preset.name}`",
        preset.label,
        "yes" if _is_recognised(preset) else "",
        _signature(preset),
        _over(preset),
        _window(preset.timestamp),
        _id(preset),
        ", ".join(_event(rule) for rule in preset.event) or "`event_type`",
        _handshake(preset),
        "yes" if preset.protects_body else "**no**",
        f"{preset.waits} s" if preset.waits else "",
        preset.retries or {True: "yes", False: "no", None: ""}[preset.repeats],
    )


def _is_recognised(preset: Preset) -> bool:
    begin = {Scheme.BEARER: "bearer ", Scheme.BASIC: "basic "}.get(preset.scheme, "")
    marks = {name: preset.recognised_values.get(name, begin) + "x" for name in preset.marks}
    return detect(marks) is preset


def _signature(preset: Preset) -> str:
    if preset.scheme in IN_AUTHORIZATION:
        words = {Scheme.BEARER: "Bearer", Scheme.BASIC: "Basic", Scheme.JWT: "Bearer, a JWT"}
        return f"`{preset.header}: {words[preset.scheme]}`"
    if preset.query:
        return f"`?{preset.query}=`"
    if preset.paths:
        return f"in the body: {_codes(preset.paths)}"
    part = f"{preset.timestamp.part}…," if preset.timestamp and preset.timestamp.part else ""
    shown = f": {part}{preset.prefix}…" if part or preset.prefix else ""
    return " or ".join(f"`{name}{shown}`" for name in (preset.header, *preset.other_headers))


def _over(preset: Preset) -> str:
    match preset.scheme:
        case Scheme.HMAC:
            how = f"HMAC-{preset.algorithm.upper()}"
        case Scheme.HASH:
            how = preset.algorithm.upper()
        case Scheme.ED25519:
            how = "Ed25519"
        case Scheme.ECDSA:
            how = f"ECDSA P-256, {preset.algorithm.upper()}"
        case Scheme.JWT:
            return "HS256"
        case _:
            return "the secret itself"
    text = preset.signed.replace("\n", "\\n")
    order = ", sorted" if preset.signed_sorted else ""
    untimed = preset.timestamp and preset.timestamp.optional and preset.signed_untimed
    either = f" or `{untimed}`" if untimed and untimed != preset.signed else ""
    return f"{how}, {preset.encoding}, of `{text}`{order}{either}"


def _window(timestamp: Timestamp | None) -> str:
    if timestamp is None:
        return ""
    seconds = timestamp.tolerance
    if seconds % 3600 == 0:
        return f"{seconds // 3600} h"
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"


def _id(preset: Preset) -> str:
    if not preset.id_headers and not preset.id_paths:
        return "the body"
    return _codes((*preset.id_headers, *(f"{{{path}}}" for path in preset.id_paths)))


def _event(rule: EventName) -> str:
    if rule.keys:
        return "which key is there"
    places = [f"`{{{rule.body}}}`"] if rule.body else []
    places += [f"`{rule.header}`"] if rule.header else []
    return ".".join([", ".join(places), *(f"`{{{path}}}`" for path in rule.joined)])


def _handshake(preset: Preset) -> str:
    if preset.handshake is None:
        return _codes(sorted(preset.greetings))
    signed = "" if preset.handshake.unsigned else ", signed"
    return f"{', '.join(preset.handshake.methods)}{signed}"


def _advice(preset: Preset) -> str:
    address = (
        "It signs the address: `PUBLIC_URL` must be the one it knows."
        if preset.signs_address
        else ""
    )
    pieces = ""
    if preset.secret_parts:
        pieces = f"The secret is `{':'.join(preset.secret_parts)}`, with colons between."
    return " ".join(str(text) for text in (preset.setup, pieces, address, preset.note) if text)


def _link(preset: Preset) -> str:
    return preset.docs.removeprefix("docs/")


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
