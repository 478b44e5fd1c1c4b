"""The text a signature covers, put together from bytes as they arrived."""

import re
from collections.abc import Mapping
from functools import lru_cache

FIELDS = frozenset(
    {"body", "timestamp", "id", "nonce", "secret", "method", "url", "form", "encrypted"}
)
_FIELD = re.compile(r"\{(" + "|".join(sorted(FIELDS)) + r")\}")


class SignedText:
    """A template such as ``{timestamp}.{body}``, taken apart once."""

    __slots__ = ("_parts", "_sorted", "names", "only_body", "separators")

    def __init__(self, template: str, *, in_order: bool = True) -> None:
        # The pattern has one group: what stands between and the names take turns.
        pieces = _FIELD.split(template)
        self._parts = tuple(
            (piece, b"") if at % 2 else ("", piece.encode())
            for at, piece in enumerate(pieces)
            if piece
        )
        self._sorted = not in_order
        self.names = frozenset(pieces[1::2])
        self.only_body = template == "{body}"
        self.separators = tuple(piece for piece in pieces[::2] if piece)

    def build(self, values: Mapping[str, bytes]) -> bytes:
        """Return the signed text; every one of `names` must have its bytes."""
        pieces = [values[name] if name else between for name, between in self._parts]
        return b"".join(sorted(pieces) if self._sorted else pieces)


@lru_cache(maxsize=256)
def signed_text(template: str, *, in_order: bool = True) -> SignedText:
    """Return the template of a record, taken apart once for all routes."""
    return SignedText(template, in_order=in_order)
