"""Log: one line in the gateway's own log; the default target, for testing."""

import json
import logging
import re

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outcomes import Message, Outcome
from platforms.sender import Check, Sender
from platforms.splitting import Unit, sendable

logger = logging.getLogger("deliveries")

# Control characters but tab and line feed, other line ends, and what turns the writing
# direction: with them a text could forge lines of the log.
FORGING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
TRUNCATED = "… [truncated]"
EXCERPT = 4096  # characters that the attempt keeps


class Log(Sender):
    """Writes deliveries to the log, and nowhere else."""

    kind = "log"
    label = gettext_lazy("Log")
    summary = gettext_lazy("Writes messages to the gateway's own log. Nothing to set up.")
    check_calls = gettext_lazy("Nothing is called: a log is always there.")
    max_length = 65_536
    unit = Unit.BYTES

    def send(self, message: Message) -> Outcome:
        """Write one record at INFO; a text of several lines is indented after its first."""
        text = message.text or json.dumps(dict(message.payload), ensure_ascii=False)
        text = self._bounded(FORGING.sub("", sendable(text).replace("\r\n", "\n")))
        logger.info(
            "delivery %s %s: %s",
            message.id,
            FORGING.sub("", sendable(message.event_type)).replace("\n", " "),
            text.replace("\n", "\n    "),  # no line of the text can pass for a record
            extra={"delivery_id": str(message.id), "event_type": message.event_type},
        )
        return Outcome.delivered(request=text[:EXCERPT])

    def check(self) -> Check:
        """Say that there is nothing to test."""
        return Check(True, _("The log is always there."))

    def _bounded(self, text: str) -> str:
        if self.unit.size(text) <= self.max_length:
            return text
        return self.unit.head(text, self.max_length - self.unit.size(TRUNCATED)) + TRUNCATED
