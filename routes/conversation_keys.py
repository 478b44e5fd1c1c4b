"""Keys of conversations: which thing an event is about, from a template."""

import hashlib
from typing import Final

from .paths import MISSING, walk
from .rendering import as_text
from .templating import EVENT_TYPE, VALUE_LIMIT, Template, storable

# Characters; the width of `agents.Conversation.key`.
MAX_CHARACTERS: Final = 255
_HASH_CHARACTERS: Final = 32


def conversation_key(template: Template, payload: object, event: str) -> str | None:
    """Return the key of a payload, of at most 255 characters; None where it has none.

    Each placeholder must come to a text, a number or a truth value. What is missing, empty, null,
    an object or a list names no one thing, and would throw strangers into one conversation.
    """
    parts: list[str] = []
    for literal, name, path in template.parts:
        value = event if name == EVENT_TYPE else payload
        if path is not None:
            value = walk(payload, path)
        if value is MISSING or value is None or isinstance(value, dict | list):
            return None
        text = as_text(value, VALUE_LIMIT)
        if not text.strip():
            return None
        parts += literal, text
    parts.append(template.tail)
    return bounded(storable("".join(parts)).strip()) or None


def bounded(key: str) -> str:
    """Return the key, or where it is too long its beginning and a hash of the whole."""
    if len(key) <= MAX_CHARACTERS:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{key[: MAX_CHARACTERS - _HASH_CHARACTERS - 1]}~{digest}"
