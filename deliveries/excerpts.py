"""Stored bodies as a person reads them: indented, and never more than a screenful or ten."""

import json
from dataclasses import dataclass

# Characters on a page. What is longer is cut and says so; the ledger keeps the whole.
LIMIT = 20_000
# A body beyond this is shown as it stands: indenting a megabyte is work for nothing.
INDENT_LIMIT = 200_000


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The readable beginning of a body; ``size`` is of the whole, in bytes."""

    text: str
    size: int
    cut: bool


def excerpt(body: bytes) -> Excerpt:
    """Return a body to be read: JSON indented with its characters as they are, else as text."""
    text = body[: 4 * LIMIT].decode(errors="replace")
    if len(body) <= INDENT_LIMIT:
        try:
            text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            text = body.decode(errors="replace")
    # PostgreSQL and terminals alike stumble over NUL; browsers show nothing for it.
    text = text.replace("\x00", "�")
    return Excerpt(text=text[:LIMIT], size=len(body), cut=len(text) > LIMIT)
