"""The webhook mode: one signed POST per attempt, and what its answer means (spec 002)."""

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from agents import wire
from agents.models import Agent
from agents.services.messages import check_payload
from deliveries.outbound import OutboundError, Policy, Reply, request
from deliveries.outcomes import Message, Outcome
from deliveries.retry_after import asked_wait
from vault.redaction import redact, redact_headers

from .destination import AgentDestination

# Spec 002, event types (webhook subset); everything else needs a websocket.
WEBHOOK_EVENTS = frozenset(
    {
        "message.new",
        "relation.established",
        "relation.revoked",
        "relation.suspended",
        "relation.restored",
        "artifact_response",
        "agent.capability_changed",
    }
)

# How much of a request's body and of a response an attempt keeps, in bytes.
KEPT_REQUEST = 4096
KEPT_RESPONSE = 4096


class WebhookDestination(AgentDestination):
    """An agent with a public address. ``secrets`` are the live ones, newest first."""

    def __init__(self, agent: Agent, secrets: Sequence[str]) -> None:
        super().__init__(agent)
        self.secrets = tuple(secrets)

    def send(self, message: Message) -> Outcome:
        """Post one delivery once and judge the answer.

        1. What a webhook does not carry, and what it cannot, ends here.
        2. The body is the same as in every attempt; timestamp and signature are new.
        3. The answer's status decides; its ``payload``, if any, is the agent's reply.
        """
        if message.event_type not in WEBHOOK_EVENTS:
            return Outcome.failed(
                "skipped",
                _("Events of type %(type)s reach an agent by WebSocket only.")
                % {"type": message.event_type},
            )
        if not self.secrets:
            # A retry, as the message is sound and an operator can mend this.
            return Outcome.retry(
                "no_secret", _("The agent has no secret to sign with; switch its connection anew.")
            )
        try:
            body = wire.body(message)
        except wire.BodyTooLarge as error:
            return Outcome.failed(
                "too_large",
                _("The message makes a body of %(size)d bytes; a webhook carries %(limit)d.")
                % {"size": error.size, "limit": wire.BODY_LIMIT},
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
        return Outcome.failed(
            "client_error", _("The agent refused with %(status)d.") % said, **facts
        )
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
