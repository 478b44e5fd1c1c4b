"""Switching the connection mode in two steps: propose, then confirm (spec 002, registration)."""

import base64
import binascii
import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from agents.models import Agent, Artifact
from deliveries.lanes import hold, release
from deliveries.outbound import Policy, validate_outbound_url
from deliveries.selectors import waiting
from deliveries.transactions import engine_transaction
from vault.services import generate_secret, rotate

logger = logging.getLogger(__name__)

PROPOSAL_LIFE = timedelta(minutes=10)
# "随机 base64 字符串,至少 32 字节" (spec 002)
SECRET_BYTES = 32
# Where a proposal's secret comes from; the secret itself is never part of it.
GIVEN, GENERATED = "given", "generated"
# How long the old secret still counts. Deliveries are signed with the newest at once.
SECRET_OVERLAP = timedelta(days=1)


class SwitchRefused(Exception):
    """A confirmation or cancellation that came too late; the text says why."""


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a proposed switch would do, in the reader's language."""

    now: str
    then: str
    effects: tuple[str, ...]


def propose_switch(agent: Agent, mode: str, url: str = "", secret: str = "") -> Artifact:
    """Return the form on which a person decides about a switch; nothing else changes yet.

    ``url`` and ``secret`` are for the webhook mode; an empty secret is generated on
    confirmation. An earlier open form of the agent is cancelled. Raises ValidationError by
    field (``mode``, ``url``, ``secret``).
    """
    proposal: dict[str, object] = {"mode": mode, "url": ""}
    match mode:
        case Agent.Mode.WEBHOOK:
            secret = secret.strip()
            proposal |= {"url": _checked_url(url), "secret": GIVEN if secret else GENERATED}
            if secret:
                _check_secret(secret)
        case Agent.Mode.WEBSOCKET:
            secret = ""
            if agent.connection_mode == mode:
                raise ValidationError({"mode": _("The agent is in WebSocket mode already.")})
        case _:
            raise ValidationError({"mode": _("Choose the mode: websocket or webhook.")})
    now = timezone.now()
    with transaction.atomic():
        _close(Artifact.objects.filter(agent=agent, state=Artifact.State.OPEN))
        return Artifact.objects.create(
            agent=agent,
            kind=Artifact.Kind.SWITCH,
            proposal=proposal,
            basis={"mode": agent.connection_mode, "url": agent.webhook_url},
            secret=secret,
            created_at=now,
            expires_at=now + PROPOSAL_LIFE,
        )


def describe_switch(artifact: Artifact) -> Consequences:
    """Return now, then and the effects of a proposed switch, as things stand at this moment."""
    proposal, basis = artifact.proposal, artifact.basis
    return Consequences(
        now=_named(basis["mode"], basis["url"]),
        then=_named(proposal["mode"], proposal["url"]),
        effects=tuple(_effects(artifact)),
    )


def confirm_switch(artifact: Artifact, by: object) -> str | None:
    """Switch the agent as proposed, at once and whole; ``by`` is named in the log.

    Returns the generated secret, to be shown this once; None if a person gave it or none is
    needed. Raises SwitchRefused, with nothing changed, when the form was decided or has
    expired, or when the agent's connection is no longer the one it was made for.
    """
    now = timezone.now()
    # The engine's own transaction: a runner that gives the agent up at this moment takes lane and
    # agent in the other order.
    with engine_transaction():
        artifact = Artifact.objects.select_related("agent").get(pk=artifact.pk)
        decided = Artifact.objects.filter(
            pk=artifact.pk, state=Artifact.State.OPEN, expires_at__gt=now
        ).update(state=Artifact.State.CONFIRMED, decided_at=now, secret="")
        if not decided:
            raise SwitchRefused(_why_closed(artifact.pk))
        agent, proposal, basis = artifact.agent, artifact.proposal, artifact.basis
        to_webhook = proposal["mode"] == Agent.Mode.WEBHOOK
        changed = Agent.objects.filter(
            pk=agent.pk, connection_mode=basis["mode"], webhook_url=basis["url"]
        ).update(
            connection_mode=proposal["mode"],
            webhook_url=proposal["url"],
            connection_status=Agent.Status.READY if to_webhook else Agent.Status.OFFLINE,
            status_changed_at=now,
        )
        if not changed:
            raise SwitchRefused(
                _("The agent's connection was changed after this was proposed. Propose it anew.")
            )
        generated = None
        if to_webhook:
            if not artifact.secret:
                generated = generate_secret()
            rotate(agent.secrets, artifact.secret or generated, SECRET_OVERLAP)
            # Held and released: what waits on a rung of the old address starts anew, too.
            hold(agent.lane_id)
            release(agent.lane_id)
        else:
            hold(agent.lane_id)
    logger.info("Agent %s was switched to %s mode by %s", agent.pk, proposal["mode"], by)
    return generated


def cancel(artifact: Artifact) -> None:
    """Close a form without effect; raise SwitchRefused when it was decided already."""
    if not _close(Artifact.objects.filter(pk=artifact.pk, state=Artifact.State.OPEN)):
        raise SwitchRefused(_why_closed(artifact.pk))


def _close(artifacts: QuerySet[Artifact]) -> int:
    """Cancel artifacts; a secret that was given with one goes with it."""
    return artifacts.update(state=Artifact.State.CANCELLED, decided_at=timezone.now(), secret="")


def _checked_url(url: str) -> str:
    url = url.strip()
    if not url:
        raise ValidationError({"url": _("A webhook needs a URL.")})
    try:
        validate_outbound_url(url, Policy.PUBLIC)
    except ValidationError as error:
        raise ValidationError({"url": error.messages}) from None
    return url


def _check_secret(secret: str) -> None:
    """Raise ValidationError unless a secret carries 32 bytes.

    What reads as base64 is measured decoded, as the random bytes in it are what counts;
    anything else by its UTF-8 length.
    """
    decoded = _decoded(secret)
    size = len(secret.encode(errors="replace")) if decoded is None else len(decoded)
    if size >= SECRET_BYTES:
        return
    told = {"size": size, "least": SECRET_BYTES}
    if decoded is None:
        problem = _("The secret has %(size)d bytes; it needs at least %(least)d.")
    else:
        problem = _(
            "The secret reads as base64 of %(size)d bytes; it needs at least %(least)d before "
            "they are encoded. “openssl rand -base64 32” makes a good one."
        )
    raise ValidationError({"secret": problem % told})


def _decoded(secret: str) -> bytes | None:
    """Return the bytes of a text that is base64, standard or url-safe, padded or not."""
    text = secret.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _why_closed(artifact_id: UUID) -> str:
    match Artifact.objects.values_list("state", flat=True).get(pk=artifact_id):
        case Artifact.State.CONFIRMED:
            return _("This switch was confirmed already.")
        case Artifact.State.CANCELLED:
            return _("This switch was cancelled, or a newer one was proposed.")
        case _:
            return _("This proposal has expired. Propose the switch anew.")


def _named(mode: str, url: str) -> str:
    label = str(Agent.Mode(mode).label)
    return f"{label}: {url}" if url else label


def _effects(artifact: Artifact) -> list[str]:
    proposal, basis = artifact.proposal, artifact.basis
    count = waiting(artifact.agent.lane_id).count()
    if proposal["mode"] == Agent.Mode.WEBSOCKET:
        return [
            _("The gateway stops posting to the webhook URL and forgets it."),
            _("The agent is offline until it connects; what is for it waits up to 24 hours."),
            ngettext(
                "%(count)d delivery that waits now stays until then.",
                "%(count)d deliveries that wait now stay until then.",
                count,
            )
            % {"count": count},
        ]
    effects = []
    if basis["mode"] == Agent.Mode.WEBSOCKET:
        effects += [
            _("The agent's WebSocket, if it is open, is closed."),
            _(
                "Governance, reaction, group, artifact expiry, session and key events no longer "
                "reach the agent: a webhook does not carry them."
            ),
        ]
    effects += [
        _("A new secret is generated and shown once, after the confirmation.")
        if proposal["secret"] == GENERATED
        else _("The secret you gave signs every delivery from then on."),
        _("An older secret signs nothing any more; give the new one to the agent."),
        ngettext(
            "%(count)d delivery that waits is sent to the new URL at once.",
            "%(count)d deliveries that wait are sent to the new URL at once, oldest first.",
            count,
        )
        % {"count": count},
    ]
    return effects
