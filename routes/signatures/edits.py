"""Setting values inside a body, for senders that put their id, time or signature there."""

import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

import orjson

from routes.parsing import Unparseable, parse_body

from .asked import EVERY


def edited(body: bytes, values: Mapping[str, object], *, xml: bool = False) -> bytes:
    """Return a JSON (or XML) body with these values at these dotted paths.

    What is missing on the way is made; a star is every item of a list. Raises ValueError for a
    body that has no room for them: a form, a text, a list where a name is wanted.
    """
    if not values:
        return body
    try:
        payload: Any = parse_body(body, "application/json", xml=xml)
    except Unparseable as error:
        raise ValueError(str(error)) from None
    for path, value in values.items():
        _put(payload, path.split("."), value)
    return _as_xml(payload) if xml else _as_json(payload)


def _as_json(payload: object) -> bytes:
    try:
        return orjson.dumps(payload)
    except orjson.JSONEncodeError:  # half characters, numbers beyond 64 bits, deep nesting
        pass
    try:
        return json.dumps(payload, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("The body is nested too deeply.") from None


def _put(here: Any, steps: list[str], value: object) -> None:
    step, rest = steps[0], steps[1:]
    if step == EVERY and isinstance(here, list):
        for at in range(len(here)):
            _put(here, [str(at), *rest], value)
    elif isinstance(here, dict):
        if rest:
            _put(here.setdefault(step, {}), rest, value)
        else:
            here[step] = value
    elif isinstance(here, list) and step.isdecimal() and int(step) < len(here):
        if rest:
            _put(here[int(step)], rest, value)
        else:
            here[int(step)] = value
    else:
        raise ValueError(f"The body has no place for {step}.")


def _as_xml(payload: Mapping[str, object]) -> bytes:
    return f"<xml>{_elements(payload)}</xml>".encode()


def _elements(fields: Mapping[str, Any]) -> str:
    return "".join(
        f"<{name}>{_elements(one) if isinstance(one, dict) else escape(str(one))}</{name}>"
        for name, value in fields.items()
        for one in (value if isinstance(value, list) else [value])
    )
