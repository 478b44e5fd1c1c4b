"""The calls of one attempt on DingTalk's roads, with a word on each that was closed."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from deliveries.outcomes import Outcome
from platforms.tokens import Grant, TokenWire

if TYPE_CHECKING:
    from platforms.sender import Sender


class RoadWire(TokenWire):
    """A TokenWire that hides addresses which are secrets, and notes why roads were left."""

    def __init__(
        self, sender: "Sender", key: str, fetch: "Callable[[TokenWire], Grant | Outcome]"
    ) -> None:
        super().__init__(sender, key, fetch)
        self.closed: list[str] = []

    def hide_query(self, url: str) -> None:
        """Keep what the query of an address says out of whatever is recorded from now on."""
        self.hide(*(value for _name, value in parse_qsl(urlsplit(url).query)))

    def note_closed(self, road: str, why: str) -> None:
        """Write down that a road could not be taken, beside the call that showed it, if any."""
        self.closed.append(f"{road}: {why}")
        if self._line:
            self._line += f" ({road}: {self.clean(why)})"
        else:
            self._earlier.append(f"{road}: {self.clean(why)}")
