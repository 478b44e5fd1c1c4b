"""What a reply means where a platform's own table is silent (facts/channels.md §0.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Outcome, Verdict
from deliveries.retry_after import asked_wait, bounded

DETAIL_LENGTH = 500  # characters of a platform's own words


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a kind of reply means; platforms' tables are made of these."""

    verdict: Verdict
    error_class: str
    faults_channel: bool = False
    ambiguous: bool = False


RATE_LIMITED = Meaning(Verdict.RETRY, "rate_limited")
SERVER_ERROR = Meaning(Verdict.RETRY, "server_error")
# The gateway in front gave up waiting; what is behind it may have gone on.
GATEWAY_ERROR = Meaning(Verdict.RETRY, "server_error", ambiguous=True)
TEMPORARY = Meaning(Verdict.RETRY, "temporary")
# A success that cannot be read: a proxy's login page, or an answer cut short.
BAD_REPLY = Meaning(Verdict.RETRY, "bad_reply", ambiguous=True)
NOT_IMPLEMENTED = Meaning(Verdict.FAILED, "server_error")
# Credentials must not follow a redirect, so one is a wrong address.
REDIRECTED = Meaning(Verdict.FAILED, "redirected", faults_channel=True)
UNAUTHORIZED = Meaning(Verdict.FAILED, "unauthorized", faults_channel=True)
FORBIDDEN = Meaning(Verdict.FAILED, "forbidden", faults_channel=True)
NOT_FOUND = Meaning(Verdict.FAILED, "not_found")
REFUSED = Meaning(Verdict.FAILED, "client_error")


def meaning_of(status: int) -> Meaning:
    """Return what a status means that is not a success."""
    match status:
        case 408 | 425:
            return TEMPORARY
        case 429:
            return RATE_LIMITED
        case 401:
            return UNAUTHORIZED
        case 403:
            return FORBIDDEN
        case 404 | 410:
            return NOT_FOUND
        case 501:
            return NOT_IMPLEMENTED
        case 502 | 504:
            return GATEWAY_ERROR
    if 300 <= status < 400:
        return REDIRECTED
    if 400 <= status < 500:
        return REFUSED
    return SERVER_ERROR if status >= 500 else BAD_REPLY


def outcome_of(
    reply: Reply,
    meaning: Meaning | None = None,
    detail: str = "",
    *,
    wait: float | None = None,
    **facts: Any,
) -> Outcome:
    """Return the outcome of a reply that is not a success.

    ``detail`` is what the platform said; ``wait`` the delay its body asked for, in seconds,
    which goes before its Retry-After header.
    """
    meaning = meaning or meaning_of(reply.status)
    asked = bounded(wait) if wait is not None else retry_after(reply.headers)
    return Outcome(
        meaning.verdict,
        meaning.error_class,
        sentence(reply.status, detail),
        status=reply.status,
        retry_after=asked if meaning.verdict == Verdict.RETRY else None,
        faults_channel=meaning.faults_channel,
        ambiguous=meaning.ambiguous,
        **facts,
    )


def sentence(status: int, detail: str) -> str:
    """Return the status and the platform's own words as a sentence."""
    if not detail:
        return _("The answer was HTTP %(status)s.") % {"status": status}
    words = {"status": status, "detail": detail[:DETAIL_LENGTH]}
    return _("The answer was HTTP %(status)s: %(detail)s") % words


def unreached(error: OutboundError) -> Outcome:
    """Return the outcome of a call that brought no answer."""
    if error.error_class in ("blocked", "tls"):
        return Outcome.failed(error.error_class, str(error), faults_channel=True)
    return Outcome.retry(error.error_class, str(error), ambiguous=error.sent)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, number or HTTP date; None without a good one."""
    return asked_wait(headers.get("Retry-After", "").strip())
