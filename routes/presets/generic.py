"""Senders of one's own, and what any sender can do (spec 001, security; spec 002)."""

from django.utils.translation import gettext_lazy as _

from .record import EventName, Greets, Handshake, Preset, Scheme, Timestamp

DOCS = "docs/routes.md"
NOT_PROTECTED = _("The secret travels in clear: the body is not protected.")

GENERIC = (
    Preset(
        name="hashee",
        label=_("Hashee (another Hermes)"),
        scheme=Scheme.HMAC,
        header="x-hashee-signature",
        docs="docs/protocol.md",
        timestamp=Timestamp("x-hashee-timestamp"),
        signed="{timestamp}.{id}.{body}",
        event=(EventName(body="type"),),
        id_headers=("x-hashee-delivery-id",),
        waits=10,
        repeats=True,
        retries=_("after 30 s, 2 min, 8 min, 32 min, 2 h, 6 h"),
        setup=_("The secret is the agent's webhook secret."),
    ),
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
        setup=_("For programs of your own: this can't be replayed later."),
    ),
    Preset(
        name="generic",
        label=_("Generic (V1)"),
        scheme=Scheme.HMAC,
        header="x-webhook-signature",
        docs=DOCS,
        id_headers=("x-request-id",),
        setup=_("For programs of your own that can't send a timestamp."),
    ),
    # What follows travels in Authorization, and counts only where no signature is there.
    Preset(
        name="cloudevents",
        label="CloudEvents",
        scheme=Scheme.BEARER,
        header="authorization",
        docs="https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md",
        recognised_by=("authorization", "ce-id"),
        event=(EventName("ce-type"), EventName(body="type")),
        id_headers=("ce-id",),
        id_paths=("id",),
        handshake=Handshake(Greets.CLOUDEVENTS, methods=("OPTIONS",), unsigned=True),
        repeats=True,
        note=NOT_PROTECTED,
        setup=_("The secret is sent as Authorization: Bearer. Binary and structured mode."),
    ),
    Preset(
        name="bearer",
        label=_("Bearer token"),
        scheme=Scheme.BEARER,
        header="authorization",
        docs=DOCS,
        id_headers=("x-request-id",),
        note=NOT_PROTECTED,
        setup=_("The sender says Authorization: Bearer and the secret."),
    ),
    Preset(
        name="basic",
        label=_("Basic authentication"),
        scheme=Scheme.BASIC,
        header="authorization",
        docs=DOCS,
        id_headers=("x-request-id",),
        note=NOT_PROTECTED,
        setup=_("The secret is user:password, or the password alone for any user."),
    ),
)
