"""What a body may have been before something on the way changed it."""

import json
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

import orjson

from routes.parsing import MAX_FORM_FIELDS

_BOM = b"\xef\xbb\xbf"


def other_bodies(body: bytes, *, rewritten: bool) -> Iterator[tuple[str, bytes]]:
    """Return bodies that usual changes make this one of, each with what it would be called.

    None is the body itself, and none comes twice. ``rewritten``: also those for which it has to
    be parsed and written anew.
    """
    seen = {body}
    for what, other in _candidates(body, rewritten=rewritten):
        if other not in seen:
            seen.add(other)
            yield what, other


def _candidates(body: bytes, *, rewritten: bool) -> Iterator[tuple[str, bytes]]:
    yield "without the line break at its end", body.rstrip(b"\r\n")
    yield "with a line break at its end", body + b"\n"
    yield "without the white space around it", body.strip()
    yield "without a byte order mark", body.removeprefix(_BOM)
    yield "with bare line feeds", body.replace(b"\r\n", b"\n")
    yield "with a carriage return at each line's end", _with_returns(body)
    yield "that is empty", b""
    if rewritten:
        yield from _other_json(body)
        yield from _other_forms(body)


def _with_returns(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _other_json(body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    what = "with other spaces or escapes in the same JSON"
    # What was read is not always shallow enough to be written again.
    with suppress(RecursionError):
        for ascii_only in (False, True):
            for separators in ((",", ":"), (", ", ": ")):
                yield what, _dumped(payload, ascii_only=ascii_only, separators=separators)
        yield what, _dumped(payload, ascii_only=False, indent=2)
        # PHP writes slashes so.
        plain = _dumped(payload, ascii_only=True, separators=(",", ":"))
        yield what, plain.replace(b"/", b"\\/")


def _dumped(
    payload: object,
    *,
    ascii_only: bool,
    separators: tuple[str, str] | None = None,
    indent: int | None = None,
) -> bytes:
    text = json.dumps(payload, ensure_ascii=ascii_only, separators=separators, indent=indent)
    return text.encode("utf-8", "surrogatepass")


def _other_forms(body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        fields = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError:
        return
    what = "with the same form encoded otherwise"
    for quoting in (quote_plus, quote):
        for safe in ("", "/", "/:"):
            yield what, urlencode(fields, safe=safe, quote_via=quoting).encode()
    if [name for name, _value in fields] == ["payload"]:
        yield "that is the JSON inside the form", fields[0][1].encode("utf-8", "replace")
