"""The retry ladder, as data."""

from dataclasses import dataclass
from enum import Enum


class Top(Enum):
    """What happens when the ladder has no rung left."""

    FAIL = "fail"  # the delivery has failed
    UNREACHABLE = "unreachable"  # its destination is marked unreachable, the delivery waits


@dataclass(frozen=True, slots=True)
class Ladder:
    """The waits in seconds after the first, second … failure; one failure more is the top."""

    rungs: tuple[float, ...]
    top: Top

    @property
    def tries(self) -> int:
        """Return how many attempts one climb has."""
        return len(self.rungs) + 1

    def delay_after(self, failures: int) -> float | None:
        """Return the wait in seconds after so many failures; None at the top."""
        return self.rungs[failures - 1] if failures <= len(self.rungs) else None


# Spec 002, retry strategy: failure 1 is repeated at once, the eighth ends the climb.
AGENT_LADDER = Ladder((0, 30, 120, 480, 1920, 7200, 21600), Top.UNREACHABLE)

# facts/channels.md §0.7: chat targets give up after about three hours.
CHANNEL_LADDER = Ladder((30, 120, 480, 1920, 7200), Top.FAIL)
