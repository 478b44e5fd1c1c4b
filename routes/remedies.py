"""What to do about a refusal, by its reason: for the page of one, after the explanation."""

from collections.abc import Mapping
from types import MappingProxyType

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Steps = tuple[str | Promise, ...]

_SECRET: Steps = (
    _("Compare the end of the secret at the sender with the end shown on the route’s page."),
    _(
        "If in doubt give the route a new secret and enter it at the sender, whole and without "
        "spaces round it. The old one counts for another 24 hours."
    ),
    _("Send a signed test: if that is accepted, what is wrong lies at the sender or on the way."),
)
_CLOCK: Steps = (
    _("Look at both clocks; on this machine “timedatectl” says whether it is kept right."),
    _(
        "If the sender repeats old requests with their old signature, have it send a new one: "
        "an old signature stays refused, so that nobody can replay it."
    ),
)
_PLAIN: Steps = (_("Look at the headers and the body below: is this your sender at all?"),)

REMEDIES: Mapping[str, Steps] = MappingProxyType(
    {
        "missing_signature": (
            _("Set a secret at the sender; without one most senders do not sign."),
            _("If it is another source than the route is set to, change the route’s source."),
            _("A proxy in between must pass on every header."),
        ),
        "bad_signature": (
            *_SECRET,
            _("If a proxy stands in between, it must pass on the body byte by byte."),
        ),
        "unusable_secret": _SECRET,
        "undecipherable": (
            _("Compare the encryption key at the sender with the one in the route’s secret."),
            _("A proxy in between must pass on the body byte by byte."),
        ),
        "missing_secret": (
            _("Give the route a secret and enter the same one at the sender."),
            _("Or set WEBHOOK_SECRET, which counts for every route that has none of its own."),
        ),
        "stale_timestamp": _CLOCK,
        "missing_timestamp": (
            _("A proxy in between must pass on every header."),
            _("If the sender signs without a time, choose another source for the route."),
        ),
        "bad_timestamp": (
            _("Let the sender write the time as the source does: digits only, seconds or ms."),
        ),
        "bad_id": (_("Let the sender give each delivery an id of letters, digits and hyphens."),),
        "bad_nonce": (
            _("A proxy in between must pass on every header and the whole address."),
            _("Let the sender’s random text be letters and digits, and new each time."),
        ),
        "unknown_route": (
            _("Compare the last part of the address at the sender with the names of the routes."),
            _("Strangers try addresses at random; then there is nothing to do."),
        ),
        "disabled_route": (_("Enable the route, or remove the webhook at the sender."),),
        "too_large": (
            _("Raise the route’s body limit, or let the sender send less."),
            _("A proxy in between may have a limit of its own, which must be as high."),
        ),
        "bad_request": (
            _("The body did not arrive whole or not in time: look at the network in between."),
        ),
        "unparseable": (
            _("Set the sender to JSON (“application/json”); forms are understood, too."),
        ),
        "encoding": (
            _("Let the sender compress with gzip or deflate, or not at all."),
            _("A proxy in between must not pack the body anew."),
        ),
        "bad_handshake": (
            _("Enter the same secret or verify token at the sender and on the route."),
            _("Then let the sender ask again: most have a button for it where the address is."),
        ),
        "has_secret": (
            _("If you set the sender up anew, give the route that secret, or make a new route."),
            _("If you did not, somebody else tried to give the route a secret of their own."),
        ),
        "no_destination": (
            _("Choose another target for the route, or add the channel that it names."),
        ),
        "busy": (
            _(
                "Many direct deliveries take long at once. Test the channel they go to, or let the "
                "route answer at once."
            ),
        ),
        "id_conflict": (
            _("The sender must not use one id for two bodies; within the hour the first counts."),
        ),
        "rate_limited": (
            _("Raise the route’s rate limit if this much is to be expected."),
            _("Choose fewer events: those that the route ignores do not count."),
        ),
    }
)


def remedies(reason: str) -> Steps:
    """Return what to do, one sentence a step."""
    return REMEDIES.get(reason, _PLAIN)


def may_be_the_secret(reason: str) -> bool:
    """Return whether a new secret and a signed test would tell more."""
    return reason in ("bad_signature", "unusable_secret", "missing_secret", "missing_signature")
