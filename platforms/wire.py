"""The calls of one attempt: they share its time, and are remembered without secrets."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from deliveries.outbound import OutboundError, Reply, TimedOut, request
from deliveries.outcomes import Outcome
from vault.redaction import redact, redact_headers

from .replies import unreached
from .splitting import sendable

if TYPE_CHECKING:
    from .sender import Sender

MAX_RESPONSE = 65_536  # bytes
EXCERPT = 4096  # characters of a request or a response that the ledger keeps
LATE = 2.0  # seconds: with less left, nothing more is begun


class Wire:
    """What one attempt says to a platform, and hears."""

    def __init__(self, sender: "Sender") -> None:
        self._deadline = time.monotonic() + sender.budget
        self._policy = sender.policy
        self._secrets = sender.secrets()
        self._earlier: list[str] = []
        self._request = ""
        self._reply: Reply | None = None
        self._line = ""

    @property
    def left(self) -> float:
        """Return the seconds that are left of the attempt's time."""
        return max(self._deadline - time.monotonic(), 0.0)

    @property
    def is_late(self) -> bool:
        """Whether too little time is left to begin something new."""
        return self.left < LATE

    def hide(self, *secrets: str) -> None:
        """Keep these out of whatever is recorded from now on, as the channel's own secrets."""
        new = (one for one in secrets if one and one not in self._secrets)
        self._secrets = (*self._secrets, *dict.fromkeys(new))

    def post(
        self, url: str, document: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Post JSON, non-ASCII text as it is: escaped, each Chinese character takes six bytes."""
        body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        return self.call("POST", url, {"Content-Type": "application/json", **(headers or {})}, body)

    def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        max_response: int = MAX_RESPONSE,
    ) -> Reply:
        """Make one call in what is left of the time; raises OutboundError."""
        if self._line:
            self._earlier.append(self._line)
        self._line = f"{method} {url}"
        self._request = _written(self._line, headers, body)
        self._reply = None
        left = self.left
        try:
            if not left:
                raise TimedOut(_("The time of the attempt was used up."), sent=False)
            self._reply = request(
                method,
                url,
                headers=headers,
                body=body,
                policy=self._policy,
                timeout=left,
                max_response=max_response,
                secrets=self._secrets,
            )
        except OutboundError as error:
            self._line += f" → {error.error_class}"
            raise
        self._line += f" → HTTP {self._reply.status}"
        return self._reply

    def record(self, outcome: Outcome) -> Outcome:
        """Return the outcome with what was said and heard, every secret taken out."""
        return replace(
            outcome,
            status=self._reply.status if self._reply else outcome.status,
            error=self.clean(outcome.error),
            request=self.clean("\n".join([*self._earlier, self._request]))[:EXCERPT],
            response=self.clean(self._reply.text[:MAX_RESPONSE] if self._reply else "")[:EXCERPT],
        )

    def clean(self, text: str) -> str:
        """Return text for the ledger: without secrets, and of characters a database takes."""
        return sendable(redact(text, self._secrets))

    def reason(self, failure: Outcome | OutboundError) -> str:
        """Return why a call failed, as a sentence for a person."""
        outcome = unreached(failure) if isinstance(failure, OutboundError) else failure
        return self.clean(outcome.error)


def _written(line: str, headers: Mapping[str, str], body: bytes | None) -> str:
    fields = [f"{name}: {value}" for name, value in redact_headers(headers).items()]
    text = (body or b"").decode("utf-8", "replace")
    return "\n".join([line, *fields, "", text]).rstrip()
