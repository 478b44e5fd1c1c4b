"""What every sender is: the code that speaks to one kind of platform."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.conf import settings

from deliveries.outbound import Policy
from deliveries.outcomes import Message, Outcome

from .fields import SecretField
from .splitting import Unit

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

BUDGET = 10.0  # seconds for one attempt, all its calls together (facts/channels.md §0.2)


@dataclass(frozen=True, slots=True)
class Check:
    """What Test connection found; ``detail`` is a sentence for a person, free of secrets."""

    ok: bool
    detail: str


class NoFields(forms.Form):
    """The form of a platform that has nothing to fill in here."""


class Sender(ABC):
    """The code that speaks to one kind of platform, with the configuration of one channel.

    Instances are shared by threads and hold nothing but their configuration. A sender never
    sleeps and has no retry loop: the ladder is the engine's.
    """

    kind: ClassVar[str]
    label: ClassVar["StrOrPromise"]
    #: One line for the page on which a platform is chosen.
    summary: ClassVar["StrOrPromise"]
    #: What Test connection will call, for the page before it does.
    check_calls: ClassVar["StrOrPromise"]
    #: The longest text of one message, counted in ``unit``; longer ones go in parts.
    max_length: ClassVar[int]
    unit: ClassVar[Unit] = Unit.CODE_POINTS
    default_api_base: ClassVar[str] = ""
    policy: ClassVar[Policy] = Policy.PUBLIC
    #: Credentials, addresses, options. Fields in ``advanced`` are folded away, those in
    #: ``of_stored`` change what is stored and are not asked for before something is.
    Config: ClassVar[type[forms.Form]] = NoFields
    #: The fields that say where the credentials go.
    addresses: ClassVar[tuple[str, ...]] = ("api_base",)
    advanced: ClassVar[tuple[str, ...]] = ("api_base",)
    of_stored: ClassVar[tuple[str, ...]] = ()
    #: Where messages go when a route names no target; by the names that targets use.
    Home: ClassVar[type[forms.Form]] = NoFields

    budget: float = BUDGET

    def __init__(
        self, config: Mapping[str, Any] | None = None, home: Mapping[str, Any] | None = None
    ) -> None:
        self.config = dict(config or {})
        self.home = dict(home or {})

    @abstractmethod
    def send(self, message: Message) -> Outcome:
        """Send once; return what came of it, and never raise for what the platform may do."""

    @abstractmethod
    def check(self) -> Check:
        """Test the connection by the platform's free verify call; nothing is posted."""

    @property
    def api_base(self) -> str:
        """Return the platform's address without a slash at its end."""
        base = self.config.get("api_base") or settings.CHANNEL_API_BASES.get(self.kind)
        return str(base or self.default_api_base).rstrip("/")

    def called_address(self) -> str:
        """Return the address that Test connection will call, for the page before it does."""
        return self.api_base

    def secrets(self) -> tuple[str, ...]:
        """Return every secret value of the configuration; none may be stored or shown."""
        values = (self.config.get(name) for name in self.secret_names())
        return tuple(value for value in values if isinstance(value, str) and value)

    @classmethod
    def secret_names(cls) -> tuple[str, ...]:
        """Return the names of the configuration's secret fields."""
        fields = cls.Config.base_fields.items()
        return tuple(name for name, field in fields if isinstance(field, SecretField))

    @classmethod
    def moves(cls, stored: Mapping[str, Any], cleaned: Mapping[str, Any]) -> bool:
        """Return whether a cleaned form sends the credentials to another address than before."""
        return any((cleaned.get(name) or "") != (stored.get(name) or "") for name in cls.addresses)

    @classmethod
    def prepare_config(
        cls, stored: Mapping[str, Any], cleaned: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what to store for a cleaned form: a secret that was left empty stays.

        It does not follow to another address: whoever may change a channel could read it there.
        """
        kept = {}
        if not cls.moves(stored, cleaned):
            kept = {name: stored[name] for name in cls.secret_names() if stored.get(name)}
        filled = {name: value for name, value in cleaned.items() if value not in ("", None)}
        return kept | filled
