"""Switching the connection mode in two steps: propose, then confirm (spec 002, registration)."""

import base64
import binascii
import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from agents.models import Agent, Artifact
from deliveries.fetching import give_back
from deliveries.lanes import hold, release
from deliveries.outbound import Policy, validate_outbound_url
from deliveries.transactions import engine_transaction, write_transaction
from vault.services import generate_secret, rotate

from .artifacts import DecisionRefused, close, still_open, supersede
from .completions import check_endpoint, check_key, keeps_key
from .consequences import BY_AGENT, GENERATED, GIVEN, KEPT, NONE, place_of
from .events import skip_what_is_not_carried
from .pinging import check_of
from .presence import FETCHING, announce

logger = logging.getLogger(__name__)

PROPOSAL_LIFE = timedelta(minutes=10)
# An agent's proposals make the gateway post to addresses that the agent names.
AGENTS_PER_MINUTE = 5
# "随机 base64 字符串,至少 32 字节" (spec 002)
SECRET_BYTES = 32
# How long the old secret still counts. Deliveries are signed with the newest at once.
SECRET_OVERLAP = timedelta(days=1)

Mode = Agent.Mode


class TooManyProposals(DecisionRefused):
    """An agent that proposes again and again."""


def propose_switch(
    agent: Agent,
    mode: str,
    url: str = "",
    secret: str = "",
    *,
    endpoint: Mapping[str, Any] | None = None,
    by: str = "",
) -> Artifact:
    """Return the form on which a person decides about a switch; nothing else changes yet.

    ``url`` and ``secret`` are for the webhook mode; an empty secret is generated. ``endpoint`` is
    for the completions mode, where ``secret`` is the API key; empty, the stored one is kept.
    An earlier open form of the agent is cancelled; but not by the agent itself (``by`` BY_AGENT)
    if a person made it. Raises ValidationError by field (``mode``, ``url``, ``secret``, those of
    the endpoint), DecisionRefused, TooManyProposals. Ask `pinging.ping` next for a webhook.
    """
    if by == BY_AGENT and (endpoint or {}).get("lan"):
        raise ValidationError({"lan": _("Only a person may allow private addresses.")})
    proposal, secret = _checked(agent, mode, url.strip(), secret.strip(), endpoint or {})
    in_completions = agent.connection_mode == Mode.COMPLETIONS
    now = timezone.now()
    with write_transaction():
        if by == BY_AGENT:
            _check_agents_own(agent)
        supersede(agent, Artifact.Kind.SWITCH, now)
        return Artifact.objects.create(
            agent=agent,
            kind=Artifact.Kind.SWITCH,
            proposal=proposal | {"by": by},
            basis={
                "mode": agent.connection_mode,
                "url": agent.webhook_url,
                "place": place_of(agent.endpoint) if in_completions else "",
            },
            secret=secret,
            created_at=now,
            expires_at=now + PROPOSAL_LIFE,
        )


def confirm_switch(artifact: Artifact, by: object, *, anyway: bool = False) -> str | None:
    """Switch the agent as proposed, at once and whole; ``by`` is named in the log.

    Returns the generated secret, to be shown this once; None if a person gave it or none is
    needed. Raises DecisionRefused, with nothing changed, when the form was decided or has
    expired, when the agent's connection is no longer the one it was made for, and when a ping
    was not answered as it should, unless it is wanted ``anyway``.
    """
    now = timezone.now()
    # The engine's own transaction: a runner that gives the agent up at this moment takes lane and
    # agent in the other order.
    with engine_transaction():
        artifact = Artifact.objects.select_related("agent").get(pk=artifact.pk)
        secret, proposal = artifact.secret, artifact.proposal
        close(artifact, Artifact.State.CONFIRMED, now, decided_by=str(by)[:150])
        check = check_of(proposal)
        if check is not None and not check.ok and not anyway:
            raise DecisionRefused(
                _("The URL did not answer the ping as a webhook does. Say that you want it anyway.")
            )
        _take(artifact, secret)
        _move_lane(artifact.agent, proposal["mode"])
        # An open socket is to be closed at once.
        transaction.on_commit(partial(announce, artifact.agent_id))
    logger.info("Agent %s was switched to %s mode by %s", artifact.agent_id, proposal["mode"], by)
    return secret if proposal["secret"] == GENERATED else None


def rotate_secret(agent: Agent, secret: str = "", *, by: object) -> str | None:
    """Give an agent in webhook mode a new secret; return it if it was generated.

    Deliveries are signed with it at once. Raises DecisionRefused in another mode, ValidationError
    on ``secret``.
    """
    if secret:
        check_secret(secret)
    with engine_transaction():
        webhooks = Agent.objects.filter(pk=agent.pk, connection_mode=Mode.WEBHOOK)
        if not webhooks.exists():
            raise DecisionRefused(_("Only an agent in webhook mode has a secret."))
        new = secret or generate_secret()
        rotate(agent.secrets, new, SECRET_OVERLAP)
    logger.info("The secret of agent %s was rotated by %s", agent.pk, by)
    return None if secret else new


def check_secret(secret: str) -> None:
    """Raise ValidationError on ``secret`` unless a secret carries 32 bytes.

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


def _checked(
    agent: Agent, mode: str, url: str, secret: str, endpoint: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Return the proposal and the secret that goes with it."""
    match mode:
        case Mode.WEBHOOK:
            _check_url(url)
            if secret:
                check_secret(secret)
            source = GIVEN if secret else GENERATED
            return {"mode": mode, "url": url, "secret": source}, secret or generate_secret()
        case Mode.WEBSOCKET | Mode.PULL:
            if agent.connection_mode == mode:
                raise ValidationError(
                    {
                        "mode": _("The agent is in %(mode)s mode already.")
                        % {"mode": Mode(mode).label}
                    }
                )
            return {"mode": mode, "url": "", "secret": ""}, ""
        case Mode.COMPLETIONS:
            cleaned = check_endpoint(agent.endpoint | dict(endpoint))
            proposal = {
                "mode": mode,
                "url": "",
                "secret": _source_of_key(agent, cleaned, secret),
                "endpoint": cleaned,
                "place": place_of(cleaned),
            }
            return proposal, secret
        case _:
            raise ValidationError(
                {"mode": _("Choose the mode: %(modes)s.") % {"modes": ", ".join(Mode.values)}}
            )


def _source_of_key(agent: Agent, cleaned: Mapping[str, Any], key: str) -> str:
    try:
        check_key(key)
    except ValidationError as error:
        raise ValidationError({"secret": error.messages}) from None
    if key:
        return GIVEN
    return KEPT if agent.endpoint_key and keeps_key(agent.endpoint, cleaned) else NONE


def _check_agents_own(agent: Agent) -> None:
    """Refuse an agent's proposal beside a person's, and one too many."""
    now = timezone.now()
    proposals = Artifact.objects.filter(agent=agent, kind=Artifact.Kind.SWITCH)
    if still_open(now).filter(pk__in=proposals).exclude(proposal__by=BY_AGENT).exists():
        raise DecisionRefused(_("A person is about to switch this agent; try again later."))
    recent = proposals.filter(created_at__gt=now - timedelta(minutes=1), proposal__by=BY_AGENT)
    if recent.count() >= AGENTS_PER_MINUTE:
        raise TooManyProposals(_("Too many proposals; wait a minute."))


def _take(artifact: Artifact, secret: str) -> None:
    """Write the proposed connection, if the agent still has the one it was made for."""
    proposal, basis, agent = artifact.proposal, artifact.basis, artifact.agent
    mode = proposal["mode"]
    fields: dict[str, Any] = {
        "connection_mode": mode,
        "webhook_url": proposal["url"],
        "connection_status": Agent.Status.OFFLINE if mode in FETCHING else Agent.Status.READY,
        "status_changed_at": timezone.now(),
    }
    if mode == Mode.COMPLETIONS:
        fields["endpoint"] = proposal["endpoint"]
        if proposal["secret"] != KEPT:
            fields["endpoint_key"] = secret
    same = Agent.objects.filter(
        pk=agent.pk, connection_mode=basis["mode"], webhook_url=basis["url"]
    )
    if not same.update(**fields):
        raise DecisionRefused(
            _("The agent's connection was changed after this was proposed. Propose it anew.")
        )
    if mode == Mode.WEBHOOK:
        rotate(agent.secrets, secret, SECRET_OVERLAP)


def _move_lane(agent: Agent, mode: str) -> None:
    """Hold what the agent is to fetch; send what the engine is to send, all of it anew."""
    # Held first also where it is released: what waits on a rung of the old address starts anew.
    hold(agent.lane_id)
    # What a pulling agent has taken and not acknowledged is nobody's any more.
    give_back(agent.pk, "The agent's connection was switched.")
    skip_what_is_not_carried(agent, mode)
    suspended = Agent.objects.filter(pk=agent.pk, suspended_at__isnull=False).exists()
    if mode not in FETCHING and not suspended:
        release(agent.lane_id)


def _check_url(url: str) -> None:
    if not url:
        raise ValidationError({"url": _("A webhook needs a URL.")})
    try:
        validate_outbound_url(url, Policy.PUBLIC)
    except ValidationError as error:
        raise ValidationError({"url": error.messages}) from None


def _decoded(secret: str) -> bytes | None:
    """Return the bytes of a text that is base64, standard or url-safe, padded or not."""
    text = secret.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
