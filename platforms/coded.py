"""Replies of platforms that say by a number of their own, in the body, how it went."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deliveries.outbound import Reply

from .replies import BAD_REPLY, REFUSED, Meaning, meaning_of


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply taken apart: its number (None where it gives none), its words, its JSON."""

    reply: Reply
    code: int | None
    words: str  # with the number before them
    body: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it is HTTP 200 with the number 0, which is a success for most."""
        return self.reply.status == 200 and self.code == 0


def read(reply: Reply, codes: tuple[str, ...], words: tuple[str, ...]) -> Answer:
    """Return a reply taken apart; ``codes`` and ``words`` name the fields, first come."""
    body = reply.json()
    body = body if isinstance(body, dict) else {}
    code = next((body[name] for name in codes if _is_number(body.get(name))), None)
    said = next((str(body[name]) for name in words if body.get(name)), "")
    return Answer(reply, code, said if code is None else f"{code} {said}".rstrip(), body)


def meaning_in(table: Mapping[int, Meaning], answer: Answer) -> Meaning:
    """Return what an answer means that is no success, by the platform's table.

    A number that is not in it is final with HTTP 200, and else means what the status means.
    """
    if answer.code and answer.code in table:
        return table[answer.code]
    if answer.reply.status == 200:
        return REFUSED if answer.code else BAD_REPLY
    return meaning_of(answer.reply.status)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
