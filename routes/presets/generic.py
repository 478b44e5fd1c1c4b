"""Senders of one's own: the two schemes of Hermes itself (spec 001, security)."""

from django.utils.translation import gettext_lazy as _

from .record import Preset, Scheme, Timestamp

DOCS = "docs/routes.md"

GENERIC = (
    # Before V1: a request that carries both is held to the one that can't be replayed.
    Preset(
        name="generic_v2",
        label=_("Generic, with a timestamp (V2)"),
        scheme=Scheme.HMAC,
        header="x-webhook-signature-v2",
        docs=DOCS,
        timestamp=Timestamp("x-webhook-timestamp"),
        signed="{timestamp}.{body}",
        id_headers=("x-request-id",),
    ),
    Preset(
        name="generic",
        label=_("Generic (V1)"),
        scheme=Scheme.HMAC,
        header="x-webhook-signature",
        docs=DOCS,
        id_headers=("x-request-id",),
    ),
)
