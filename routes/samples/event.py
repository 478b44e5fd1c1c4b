"""A sample event, before it is signed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """An event as its source would send it now; the payload is the caller's own to change.

    ``id`` is for the delivery: signing puts it where the source has it, header or body.
    """

    event: str
    payload: object
    content_type: str
    id: str
