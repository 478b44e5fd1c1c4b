"""The webhook mode: one signed POST per attempt, and what its answer means (spec 002)."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from agents import wire
from agents.event_types import WEBHOOK_EVENTS
from agents.models import Agent, AgentSecret
from agents.services.messages import check_payload
from agents.storage import StorageFailed
from deliveries.destinations import Destination
from deliveries.outbound import OutboundError, Policy, Reply, request
from deliveries.outcomes import Message, Outcome
from deliveries.retry_after import asked_wait
from vault.redaction import redact, redact_headers

from .destination import AgentDestination

# How much of a request's body and of a response an attempt keeps, in bytes.
KEPT_REQUEST = 4096
KEPT_RESPONSE = 4096
# How far a timestamp may be off before a receiver refuses it (spec 002, HMAC).
TOLERANCE = 300  # seconds


class WebhookDestination(AgentDestination):
    """An agent with a public address. ``secrets`` are the live ones, newest first."""

    def __init__(self, agent: Agent, secrets: Sequence[str]) -> None:
        super().__init__(agent)
        self.secrets = tuple(secrets)

    def send(self, message: Message) -> Outcome:
        """Post one delivery once and judge the answer.

        1. What a webhook does not carry ends here.
        2. The body is the one of `agents.wire.body_for`; timestamp and signature are new.
        3. The answer's status decides; its ``payload``, if any, is the agent's reply.
        """
        if message.event_type not in WEBHOOK_EVENTS:
            return Outcome.failed(
                "not_for_webhook",
                _("Events of type %(type)s reach an agent by WebSocket only.")
                % {"type": message.event_type},
            )
        if not self.secrets:
            # A retry, as the message is sound and an operator can mend this.
            return Outcome.retry(
                "no_secret", _("The agent has no secret to sign with; switch its connection anew.")
            )
        try:
            body = wire.body_for(message, self.agent)
        except StorageFailed as error:
            return Outcome.retry(
                "storage",
                _("The message is above 1 MB, and the storage %(fault)s.") % {"fault": error},
            )
        headers = wire.headers(
            secret=self.secrets[0],
            agent_id=self.agent.pk,
            delivery_id=message.id,
            body=body,
            timestamp=int(time.time()),
        )
        hidden = (*self.secrets, headers[wire.SIGNATURE_HEADER])
        sent = {"request": redact(_shown(self.agent.webhook_url, headers, body), hidden)}
        try:
            reply = request(
                "POST",
                self.agent.webhook_url,
                headers=headers,
                body=body,
                policy=Policy.PUBLIC,
                timeout=self.budget,
                secrets=hidden,
            )
        except OutboundError as error:
            return _unanswered(error, **sent)
        return judge(reply, response=_excerpt(reply, hidden), **sent)


def load(agents: Sequence[Agent]) -> Mapping[int, Destination]:
    """Return agents in webhook mode as destinations by lane id, with one query."""
    secrets: dict[UUID, list[str]] = {agent.pk: [] for agent in agents}
    for secret in AgentSecret.objects.live().filter(agent__in=agents):
        secrets[secret.agent_id].append(secret.value)
    return {agent.lane_id: WebhookDestination(agent, secrets[agent.pk]) for agent in agents}


def judge(reply: Reply, **facts: Any) -> Outcome:
    """Return what a status means: the table of spec 002, retry strategy.

    408 and 425 are final here, as the protocol makes every 4xx but 429 final.
    """
    facts["status"] = status = reply.status
    said = {"status": status}
    if 200 <= status < 300:
        return _acknowledged(reply, **facts)
    if status == 429:
        return Outcome.retry(
            "rate_limited",
            _("The agent asked to wait (429)."),
            retry_after=asked_wait(reply.headers.get("Retry-After", "")),
            **facts,
        )
    if 400 <= status < 500:
        return Outcome.failed("client_error", _refusal(reply), **facts)
    if 300 <= status < 400:
        return Outcome.failed(
            "redirect",
            _("The agent redirects (%(status)d), which is not followed; register the final URL.")
            % said,
            **facts,
        )
    return Outcome.retry("server_error", _("The agent answered %(status)d.") % said, **facts)


def _acknowledged(reply: Reply, **facts: Any) -> Outcome:
    """Return a success, with the answer if the body brings one that can be used.

    The delivery has arrived whatever the body says; an answer that is no message is told in
    ``error`` rather than dropped without a word.
    """
    if reply.truncated:
        return Outcome.delivered(
            error=_("The response is too long to be read as an answer."), **facts
        )
    content = reply.json()
    answer = content.get("payload") if isinstance(content, dict) else None
    if answer is None:
        return Outcome.delivered(**facts)
    try:
        check_payload(answer)
    except ValidationError as error:
        note = _("The answer was not used: %(why)s") % {"why": " ".join(error.messages)}
        return Outcome.delivered(error=note, **facts)
    return Outcome.delivered(answer=answer, **facts)


def _refusal(reply: Reply) -> str:
    """Return why a 4xx may have come: the usual reason first, where one can be seen."""
    said = _("The agent refused with %(status)d.") % {"status": reply.status}
    skew = _skew(reply)
    if reply.status not in (400, 401, 403) or abs(skew) <= TOLERANCE:
        return said
    wrong = _(
        "Its clock is %(seconds)d seconds from ours; a signature is refused beyond %(most)d."
    ) % {"seconds": abs(skew), "most": TOLERANCE}
    return f"{said} {wrong}"


def _skew(reply: Reply) -> float:
    """Return how far the receiver's clock is ahead of ours, in seconds; 0 if it does not say."""
    try:
        told = parsedate_to_datetime(reply.headers.get("Date", ""))
        # Written with "-0000" it is UTC, too, and comes without a zone.
        return told.replace(tzinfo=told.tzinfo or UTC).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0


def _unanswered(error: OutboundError, **facts: Any) -> Outcome:
    if error.error_class == "blocked":
        return Outcome.failed("blocked", str(error), **facts)
    return Outcome.retry(error.error_class, str(error), ambiguous=error.sent, **facts)


def _shown(url: str, headers: dict[str, str], body: bytes) -> str:
    """Return a request as an attempt keeps it: no query, which may hold a token; body cut."""
    parts = urlsplit(url)
    address = urlunsplit(parts._replace(query="***" if parts.query else "", fragment=""))
    fields = redact_headers(headers)
    lines = [f"POST {address}", *(f"{name}: {value}" for name, value in fields.items()), ""]
    text = body[:KEPT_REQUEST].decode(errors="replace")
    return "\n".join([*lines, f"{text}…" if len(body) > KEPT_REQUEST else text])


def _excerpt(reply: Reply, hidden: Sequence[str]) -> str:
    """Return the start of a response; hidden before it is cut, as a cut hides from redaction."""
    # PostgreSQL keeps no NUL in a text.
    text = redact(reply.body.decode(errors="replace").replace("\0", "�"), hidden)
    return text.encode()[:KEPT_RESPONSE].decode(errors="ignore")
