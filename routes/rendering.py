"""Values of a payload as text."""

from json.encoder import encode_basestring as quoted

# Stands in place of what was cut off; counted within the limit.
CUT = "…"


def as_text(value: object, limit: int) -> str:
    """Return a value as it stands in a prompt: text as it is, the rest as JSON.

    Objects and lists are indented and cut at ``limit`` characters; truth values and null are
    ``true``, ``false`` and ``null``.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return dump(value, limit)
    return _scalar(value)


def dump(value: object, limit: int) -> str:
    """Return ``json.dumps(value, indent=2, ensure_ascii=False)`` cut at ``limit`` characters.

    A cut text ends in "…". Little more is written than is kept, so a payload that is huge or
    deep costs no more than a small one: each level is indented, and that fills the limit long
    before it fills the stack.
    """
    parts: list[str] = []
    if _write(value, "\n", limit, parts) < 0:
        return "".join(parts)[: limit - len(CUT)] + CUT
    return "".join(parts)


def _write(value: object, line: str, room: int, parts: list[str]) -> int:
    """Append the value to the parts until the room is used up; return what is left of it.

    ``line`` is a line break and the indent of this level. A negative room says there was more.
    """
    if isinstance(value, str):
        text = quoted(value[: room + 1])
    elif isinstance(value, dict):
        return _write_object(value, line, room, parts)
    elif isinstance(value, list):
        return _write_list(value, line, room, parts)
    else:
        text = _scalar(value)
    parts.append(text)
    return room - len(text)


def _write_object(value: dict[str, object], line: str, room: int, parts: list[str]) -> int:
    if not value:
        parts.append("{}")
        return room - 2
    inner = line + "  "
    lead = "{" + inner
    for key, item in value.items():
        text = f"{lead}{quoted(key[: room + 1])}: "
        if isinstance(item, str):
            text += quoted(item[: room + 1])
        parts.append(text)
        room -= len(text)
        if room >= 0 and not isinstance(item, str):
            room = _write(item, inner, room, parts)
        if room < 0:
            return room
        lead = "," + inner
    parts.append(line + "}")
    return room - len(line) - 1


def _write_list(value: list[object], line: str, room: int, parts: list[str]) -> int:
    if not value:
        parts.append("[]")
        return room - 2
    inner = line + "  "
    lead = "[" + inner
    for item in value:
        parts.append(lead)
        room = _write(item, inner, room - len(lead), parts) if room >= len(lead) else -1
        if room < 0:
            return room
        lead = "," + inner
    parts.append(line + "]")
    return room - len(line) - 1


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text := repr(value), text)
    return str(value)
