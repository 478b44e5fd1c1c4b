"""The signed ping: does a webhook answer before deliveries are sent to it?"""

import time
from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from agents import wire
from agents.models import Artifact
from deliveries.ids import new_id
from deliveries.outbound import OutboundError, Policy, request
from deliveries.outcomes import Message
from vault.redaction import redact

PING = "ping"
SECONDS = 10.0  # as long as a delivery may take (spec 002)


@dataclass(frozen=True, slots=True)
class Check:
    """What came back: a status, or the class and text of the error that came instead of one."""

    status: int | None = None
    error_class: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        """Return whether it answered as a webhook that takes deliveries."""
        return self.status is not None and 200 <= self.status < 300

    def in_words(self, *, generated: bool) -> str:
        """Return what came back, for a person; ``generated``: the secret is not known there yet."""
        if self.ok:
            return _("The URL answered a signed ping with %(status)d.") % {"status": self.status}
        if self.status is None:
            return _("The URL did not answer a signed ping: %(error)s") % {"error": self.error}
        said = _("The URL answered a signed ping with %(status)d; a webhook answers 2xx.") % {
            "status": self.status
        }
        if generated and self.status in (400, 401, 403):
            more = _("It can't know the generated secret yet, so this may be all that is wrong.")
            return f"{said} {more}"
        return said


def ping(artifact: Artifact) -> Check:
    """Post a signed ping to the URL of an open proposal, and note in it what came back.

    Its body is a delivery of type ``ping``, signed with the secret that is proposed. Takes up to
    ten seconds: call it outside a transaction.
    """
    check = _post(artifact)
    noted = {"status": check.status, "error_class": check.error_class, "error": check.error}
    artifact.proposal = artifact.proposal | {"check": noted}
    # The whole proposal, which nobody else writes.
    Artifact.objects.filter(pk=artifact.pk, state=Artifact.State.OPEN).update(
        proposal=artifact.proposal
    )
    return check


def check_of(proposal: dict[str, Any]) -> Check | None:
    """Return what the last ping of a proposal came to; None when there was none."""
    noted = proposal.get("check")
    return Check(**noted) if noted else None


def _post(artifact: Artifact) -> Check:
    delivery_id = new_id()
    message = Message(
        id=delivery_id,
        event_type=PING,
        payload={"type": PING},
        created_at=timezone.now(),
        event_id=delivery_id,
        trace=delivery_id,
    )
    body = wire.body(message)
    headers = wire.headers(
        secret=artifact.secret,
        agent_id=artifact.agent_id,
        delivery_id=delivery_id,
        body=body,
        timestamp=int(time.time()),
    )
    hidden = (artifact.secret, headers[wire.SIGNATURE_HEADER])
    try:
        reply = request(
            "POST",
            artifact.proposal["url"],
            headers=headers,
            body=body,
            policy=Policy.PUBLIC,
            timeout=SECONDS,
            secrets=hidden,
        )
    except OutboundError as error:
        return Check(error_class=error.error_class, error=redact(str(error), hidden))
    return Check(status=reply.status)
