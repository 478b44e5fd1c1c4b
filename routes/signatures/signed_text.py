"""The text a signature covers, put together from bytes as they arrived."""

import re

_FIELD = re.compile(r"\{(body|timestamp|id)\}")


class SignedText:
    """A template such as ``{timestamp}.{body}``, taken apart once."""

    __slots__ = ("_parts", "needs_id", "only_body", "separators")

    def __init__(self, template: str) -> None:
        parts = [part for part in _FIELD.split(template) if part]
        names = {"body", "timestamp", "id"}
        self.only_body = parts == ["body"]
        self.needs_id = "id" in parts
        self.separators = tuple(part for part in parts if part not in names)
        self._parts = tuple(part if part in names else part.encode() for part in parts)

    def build(self, body: bytes, timestamp: str, delivery_id: str) -> bytes:
        """Return the signed text; timestamp and id are text of HTTP headers."""
        if self.only_body:
            return body
        values = {
            "body": body,
            "timestamp": timestamp.encode("latin-1"),
            "id": delivery_id.encode("latin-1"),
        }
        return b"".join(values[part] if isinstance(part, str) else part for part in self._parts)
