"""What a switch of the connection mode would do, in the reader's language."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from agents.models import Agent, Artifact
from deliveries.selectors import waiting

from .completions import effects_of
from .pinging import Check, check_of

# Where a proposal's secret comes from; the secret itself is never part of it.
GIVEN, GENERATED, KEPT, NONE = "given", "generated", "kept", "none"
# Who proposed, when it was the agent with its own token. No person's: these have no space.
BY_AGENT = "the agent"

Mode = Agent.Mode


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a proposed switch would do, in the reader's language.

    ``check`` is what the ping of a webhook came to, ``checked`` the same in words.
    """

    now: str
    then: str
    effects: tuple[str, ...]
    by_agent: bool = False
    check: Check | None = None
    checked: str = ""

    @property
    def in_doubt(self) -> bool:
        """Return whether a person has to say that it is wanted anyway."""
        return self.check is not None and not self.check.ok


def describe_switch(artifact: Artifact) -> Consequences:
    """Return now, then and the effects of a proposed switch, as things stand at this moment."""
    proposal, basis = artifact.proposal, artifact.basis
    check = check_of(proposal)
    generated = proposal.get("secret") == GENERATED
    return Consequences(
        now=named(basis["mode"], basis.get("place") or basis["url"]),
        then=named(proposal["mode"], proposal.get("place") or proposal["url"]),
        effects=tuple(_effects(artifact)),
        by_agent=proposal.get("by") == BY_AGENT,
        check=check,
        checked=check.in_words(generated=generated) if check else "",
    )


def named(mode: str, place: str) -> str:
    """Return a connection in words: its mode, and where it leads if it leads somewhere."""
    label = str(Mode(mode).label)
    return f"{label}: {place}" if place else label


def place_of(endpoint: dict[str, Any]) -> str:
    """Return a chat endpoint in words: where it is, and the model. No query: it may hold a key."""
    address = urlunsplit(urlsplit(endpoint.get("base_url", ""))._replace(query=""))
    return " ".join(part for part in (address, endpoint.get("model")) if part)


def _effects(artifact: Artifact) -> Iterator[str]:
    before, after = artifact.basis["mode"], artifact.proposal["mode"]
    yield from _left(before, after)
    match after:
        case Mode.WEBHOOK:
            if artifact.proposal["secret"] == GENERATED:
                yield _("A new secret is generated and shown once, after the confirmation.")
            else:
                yield _("The secret you gave signs every delivery from then on.")
            yield _("An older secret signs nothing any more; give the new one to the agent.")
        case Mode.WEBSOCKET:
            yield _("The agent is offline until it connects; what is for it waits up to 24 hours.")
        case Mode.PULL:
            yield _(
                "The agent is offline until it asks for its deliveries; what is for it waits up "
                "to 24 hours."
            )
        case Mode.COMPLETIONS:
            yield from effects_of(artifact.proposal["endpoint"])
            yield _("The model is told messages only: no relation, artifact or other events.")
            yield str(_keys[artifact.proposal["secret"]])
    yield _waiting(artifact.agent, after)


_keys = {
    GIVEN: gettext_lazy("The API key you gave is stored encrypted, and used from then on."),
    KEPT: gettext_lazy("The API key that is stored goes on to be used."),
    NONE: gettext_lazy("No API key is used: none was given, and none is stored for this host."),
}


def _left(before: str, after: str) -> Iterator[str]:
    """Say what ends with the mode that is left."""
    if before == Mode.WEBSOCKET and after != before:
        yield _("The agent's WebSocket, if it is open, is closed.")
    if before == Mode.PULL and after != before:
        yield _("The agent can no longer ask for its deliveries.")
    if before == Mode.COMPLETIONS and after != before:
        yield _("The model is asked no more; its settings and its key are kept.")
    if before == Mode.WEBHOOK and after != before:
        yield _("The gateway stops posting to the webhook URL and forgets it.")
    if before in (Mode.WEBSOCKET, Mode.PULL) and after == Mode.WEBHOOK:
        yield _(
            "Governance, reaction, group, artifact expiry, session and key events no longer "
            "reach the agent: a webhook does not carry them."
        )


def _waiting(agent: Agent, after: str) -> str:
    count = waiting(agent.lane_id).count()
    told = {"count": count}
    if agent.suspended_at is not None:
        said = ngettext(
            "The agent stays suspended; %(count)d delivery that waits stays until it is restored.",
            "The agent stays suspended; %(count)d deliveries that wait stay until it is restored.",
            count,
        )
    elif after in (Mode.WEBSOCKET, Mode.PULL):
        said = ngettext(
            "%(count)d delivery that waits now stays until then.",
            "%(count)d deliveries that wait now stay until then.",
            count,
        )
    elif after == Mode.WEBHOOK:
        said = ngettext(
            "%(count)d delivery that waits is sent to the new URL at once.",
            "%(count)d deliveries that wait are sent to the new URL at once, oldest first.",
            count,
        )
    else:
        said = ngettext(
            "%(count)d delivery that waits is put to the model at once.",
            "%(count)d deliveries that wait are put to the model at once, oldest first.",
            count,
        )
    return said % told
