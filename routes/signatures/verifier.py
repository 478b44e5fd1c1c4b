"""Checking that a request was sent by whoever knows a secret of the route."""

from collections.abc import Mapping, Sequence

from routes.presets.record import Preset

from .doctor import Doctor
from .judging import Judge
from .verdicts import POSTED, Address, Refused, Verified


class Verifier(Judge):
    """One source and the live secrets of a route; what is refused is explained."""

    __slots__ = ("_doctor",)

    def __init__(self, preset: Preset, secrets: Sequence[str]) -> None:
        super().__init__(preset, secrets)
        self._doctor = Doctor(preset, secrets)

    def verify(
        self, headers: Mapping[str, str], body: bytes, now: float, at: Address = POSTED
    ) -> Verified | Refused:
        """Return whether the raw body was signed with a live secret; ``now`` is unix time.

        See `Judge.judge` for the steps. A refusal says what is wrong as well as can be found
        out; that is bounded, see `Doctor`.
        """
        found = self.judge(headers, body, now, at)
        if isinstance(found, Verified):
            return found
        return self._doctor.explain(found, headers, body, now, at)
