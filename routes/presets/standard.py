"""Standard Webhooks and Svix, and those who sign with them."""

from dataclasses import replace

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .record import Encoding, EventName, Preset, Scheme, Timestamp, Variant

STANDARD_WEBHOOKS = Preset(
    name="standard_webhooks",
    label="Standard Webhooks",
    scheme=Scheme.HMAC,
    header="webhook-signature",
    docs="https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
    encoding=Encoding.BASE64,
    prefix="v1,",
    separator=" ",
    timestamp=Timestamp("webhook-timestamp"),
    signed="{id}.{timestamp}.{body}",
    base64_secret_prefix="whsec_",  # noqa: S106  the mark of one, not a secret
    variants=(Variant("whpk_", Scheme.ED25519, prefix="v1a,", private_prefix="whsk_"),),
    event=(EventName(body="type"),),
    id_headers=("webhook-id",),
    repeats=True,
    setup=_("Copy the secret whole: “whsec_…”, or the public key “whpk_…”."),
)

SVIX = replace(
    STANDARD_WEBHOOKS,
    name="svix",
    label="Svix",
    header="svix-signature",
    docs="https://docs.svix.com/receiving/verifying-payloads/how",
    timestamp=Timestamp("svix-timestamp"),
    id_headers=("svix-id",),
    waits=15,
    retries=_("after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h"),
    setup=_("Endpoint → Signing Secret: copy “whsec_…” whole."),
)


def _by_svix(name: str, label: str, docs: str, *event: EventName) -> Preset:
    return replace(SVIX, name=name, label=label, docs=docs, auto=False, event=event or SVIX.event)


def _by_standard(name: str, label: str | Promise, docs: str, *event: EventName) -> Preset:
    return replace(
        STANDARD_WEBHOOKS,
        name=name,
        label=label,
        docs=docs,
        auto=False,
        event=event or STANDARD_WEBHOOKS.event,
        variants=(),
    )


STANDARD = (
    SVIX,
    STANDARD_WEBHOOKS,
    _by_svix("clerk", "Clerk", "https://clerk.com/docs/guides/development/webhooks/overview"),
    _by_svix("resend", "Resend", "https://resend.com/docs/webhooks/introduction"),
    # A prediction, as it stands; its status says what happened.
    _by_svix(
        "replicate",
        "Replicate",
        "https://replicate.com/docs/topics/webhooks/verify-webhook",
        EventName(body="status"),
    ),
    _by_svix(
        "brex", "Brex", "https://developer.brex.com/docs/webhooks/", EventName(body="event_type")
    ),
    _by_standard("openai", "OpenAI", "https://platform.openai.com/docs/guides/webhooks"),
    _by_standard("render", "Render", "https://render.com/docs/webhooks"),
    _by_standard(
        "recall",
        "Recall.ai",
        "https://docs.recall.ai/docs/authenticating-requests-from-recallai",
        EventName(body="event"),
    ),
    _by_standard("loops", "Loops", "https://loops.so/docs/webhooks", EventName(body="eventName")),
    replace(
        _by_standard(
            "supabase",
            _("Supabase auth hooks"),
            "https://supabase.com/docs/guides/auth/auth-hooks",
            EventName(body="email_data.email_action_type"),
        ),
        base64_secret_prefix="v1,whsec_",  # noqa: S106  the mark of one, not a secret
        waits=5,
        setup=_("Authentication → Hooks: copy the secret whole, “v1,whsec_…”."),
    ),
)
