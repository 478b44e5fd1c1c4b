"""Sending a text in parts, such that a retry goes on where the last attempt stopped."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from deliveries.outbound import OutboundError
from deliveries.outcomes import Message, Outcome, Verdict

from .replies import unreached
from .splitting import sendable
from .wire import Wire


def send_parts(
    wire: Wire,
    message: Message,
    parts: Sequence[str],
    send_part: Callable[[int, str], Outcome],
) -> Outcome:
    """Send the parts that are not sent yet, in order, up to the first that does not arrive.

    ``send_part`` takes the number of the part, from 1, and its text. The outcome carries
    ``progress["parts_sent"]`` and what the parts' outcomes added to the progress, and their
    provider ids as lists.
    """
    sent = _already_sent(message, len(parts))
    progress = dict(message.progress)
    ids: dict[str, list[Any]] = {}
    for number, text in enumerate(parts[sent:], start=sent + 1):
        if number > sent + 1 and wire.is_late:
            outcome = _to_be_continued(number - 1, len(parts))
        else:
            outcome = _sent_part(send_part, number, text)
        progress |= outcome.progress
        for name, value in outcome.provider_ids.items():
            ids.setdefault(name, []).append(sendable(value) if isinstance(value, str) else value)
        if outcome.verdict != Verdict.DELIVERED:
            if number > 1:
                progress["parts_sent"] = number - 1
            return wire.record(replace(outcome, progress=progress, provider_ids=ids))
    if "parts_sent" in progress:
        progress["parts_sent"] = 0  # redelivered by hand, it goes out whole again
    return wire.record(Outcome.delivered(progress=progress, provider_ids=ids))


def _already_sent(message: Message, total: int) -> int:
    """Return how many parts earlier attempts sent; none if the text has become another."""
    sent = message.progress.get("parts_sent", 0)
    return sent if isinstance(sent, int) and 0 <= sent < total else 0


def _sent_part(send_part: Callable[[int, str], Outcome], number: int, text: str) -> Outcome:
    try:
        return send_part(number, text)
    except OutboundError as error:
        return unreached(error)


def _to_be_continued(sent: int, total: int) -> Outcome:
    # This class of waits climbs no ladder: the platform is slow, not failing.
    return Outcome.retry(
        "local_rate_limit",
        _("%(sent)s of %(total)s parts went out in time; the rest follows.")
        % {"sent": sent, "total": total},
        retry_after=1.0,
    )
