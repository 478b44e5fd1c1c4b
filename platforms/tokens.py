"""Access tokens that platforms lend for an hour or two: kept in memory, fetched by one at a time.

They are this process's own and are never written down (facts/channels.md §0.5): a platform that is
asked early gives the same token again, or another beside it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from django.utils.translation import gettext as _

from deliveries.outbound import OutboundError
from deliveries.outcomes import Outcome

from .replies import unreached
from .wire import Wire

if TYPE_CHECKING:
    from .sender import Sender

MARGIN = 300.0  # seconds before its end from which a token is not used any more
LONGEST_WAIT = 3.0  # seconds for another attempt's call
DEFAULT_LIFETIME = 7200.0  # seconds: what all of these platforms give
LONGEST_LIFETIME = 86_400.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Grant:
    """A token as the platform gave it, for so many seconds."""

    token: str
    lifetime: float = DEFAULT_LIFETIME


@dataclass(slots=True)
class _Flight:
    """A call for a token that is under way, and what it brought."""

    landed: threading.Event = field(default_factory=threading.Event)
    brought: str | Outcome | None = None


_held: dict[str, tuple[str, float]] = {}  # by key: a token, and until when it is used
_flights: dict[str, _Flight] = {}
_lock = threading.Lock()


class TokenWire(Wire):
    """The calls of one attempt to a platform that wants an access token with each.

    ``key`` tells credentials apart (see `key_of`); ``fetch`` makes the platform's token call and
    returns a Grant, or the failure. It may raise OutboundError.
    """

    def __init__(
        self, sender: "Sender", key: str, fetch: "Callable[[TokenWire], Grant | Outcome]"
    ) -> None:
        super().__init__(sender)
        self._key = key
        self._fetch = fetch

    def with_token(
        self, call: Callable[[str], Answer], is_refused: Callable[[Answer], bool]
    ) -> Answer | Outcome:
        """Return what a call with the token answers; once more with a fresh one if it is refused.

        An Outcome is why there is no token. Raises OutboundError as the call does.
        """
        token = self._token()
        if isinstance(token, Outcome):
            return token
        answer = call(token)
        if not is_refused(answer):
            return answer
        forget(self._key, token)
        token = self._token()
        return token if isinstance(token, Outcome) else call(token)

    def _token(self) -> str | Outcome:
        """Return the token; fetched, by whoever comes first, if none is held."""
        with _lock:
            token, until = _held.get(self._key, ("", 0.0))
            if time.monotonic() < until:
                return self._hidden(token)
            flight = _flights.get(self._key)
            is_ours = flight is None
            if flight is None:
                flight = _flights[self._key] = _Flight()
        if is_ours:
            self._fly(flight)
        elif not flight.landed.wait(min(LONGEST_WAIT, self.left)):
            # No step of the ladder: whoever fetches it learns what is wrong.
            return Outcome.retry(
                "local_rate_limit",
                _("Another delivery is still fetching the access token."),
                retry_after=LONGEST_WAIT,
            )
        brought = flight.brought
        return self._hidden(brought) if isinstance(brought, str) else brought or _lost()

    def _fly(self, flight: _Flight) -> None:
        """Fetch a token for all who wait for it; a failure is theirs too."""
        until = 0.0
        try:
            grant = self._fetch(self)
            if isinstance(grant, Outcome):
                # Nothing of the message has been sent yet.
                flight.brought = replace(grant, ambiguous=False)
            else:
                flight.brought = grant.token
                until = time.monotonic() + _used_for(grant.lifetime)
        except OutboundError as error:
            flight.brought = replace(unreached(error), ambiguous=False)
        finally:
            with _lock:
                del _flights[self._key]
                _prune()
                if isinstance(flight.brought, str) and until:
                    _held[self._key] = (flight.brought, until)
            flight.landed.set()

    def _hidden(self, token: str) -> str:
        """Return the token, kept out of whatever is recorded from now on."""
        self.hide(token)
        return token


def key_of(*parts: str) -> str:
    """Return the key of a credential: with another address or secret, it is another one."""
    return sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def forget(key: str, token: str) -> None:
    """Drop a token that the platform refused, unless another has taken its place meanwhile."""
    with _lock:
        if _held.get(key, ("",))[0] == token:
            del _held[key]


def forget_all() -> None:
    """Drop every token of this process."""
    with _lock:
        _held.clear()


def lifetime_of(value: Any) -> float:
    """Return the seconds that a platform names, as number or text; without any, two hours."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_LIFETIME
    return min(seconds, LONGEST_LIFETIME) if seconds > 0 else DEFAULT_LIFETIME


def _used_for(lifetime: float) -> float:
    # A platform that is asked early names what is left; a short rest is used to its half.
    return max(lifetime - MARGIN, lifetime / 2)


def _prune() -> None:
    """Drop what is used no more, as of credentials that were replaced."""
    now = time.monotonic()
    for key in [key for key, (_token, until) in _held.items() if until <= now]:
        del _held[key]


def _lost() -> Outcome:
    """Return the outcome of those who waited for a call that raised what nobody foresaw."""
    return Outcome.retry("temporary", _("The access token could not be fetched."))
