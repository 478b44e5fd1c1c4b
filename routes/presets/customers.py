"""Where customers pay, ask and answer: Stripe, Shopify, Zendesk, Intercom, HubSpot, Typeform."""

from types import MappingProxyType

from django.utils.translation import gettext_lazy as _

from .record import Encoding, EventName, Preset, Scheme, Timestamp

CUSTOMERS = (
    Preset(
        name="stripe",
        label="Stripe",
        scheme=Scheme.HMAC,
        header="stripe-signature",
        docs="https://docs.stripe.com/webhooks",
        prefix="v1=",
        timestamp=Timestamp("stripe-signature", part="t="),
        signed="{timestamp}.{body}",
        event=(EventName(body="type"),),
        id_paths=("id",),
        waits=10,
        repeats=True,
        retries=_("for up to 3 days"),
        setup=_("Developers → Webhooks → Add destination: the secret is the whole “whsec_…”."),
    ),
    Preset(
        name="shopify",
        label="Shopify",
        scheme=Scheme.HMAC,
        header="x-shopify-hmac-sha256",
        docs="https://shopify.dev/docs/apps/build/webhooks",
        encoding=Encoding.BASE64,
        event=(EventName("x-shopify-topic"),),
        id_headers=("x-shopify-webhook-id", "x-shopify-event-id"),
        waits=5,
        repeats=True,
        retries=_("8 over 4 h, then the subscription is removed"),
        setup=_(
            "Settings → Notifications → Webhooks shows the secret; an app signs with its client "
            "secret."
        ),
    ),
    Preset(
        name="zendesk",
        label="Zendesk",
        scheme=Scheme.HMAC,
        header="x-zendesk-webhook-signature",
        docs="https://developer.zendesk.com/documentation/webhooks/verifying/",
        encoding=Encoding.BASE64,
        # Its time is written out (2026-03-02T11:20:44Z): signed with the rest, not compared.
        nonce_header="x-zendesk-webhook-signature-timestamp",
        signed="{nonce}{body}",
        event=(EventName(body="type"),),
        id_headers=("x-zendesk-webhook-invocation-id",),
        waits=12,
        repeats=True,
        note=_("The time of signing is covered by the signature, but its age is not checked."),
        setup=_(
            "Admin Center → Apps and integrations → Webhooks → Create; “Show signing secret”. "
            "A trigger's own JSON should name the event as “type”."
        ),
    ),
    # GitHub, Gitea and Meta send the same header besides a better one, by which they are told.
    Preset(
        name="intercom",
        label="Intercom",
        scheme=Scheme.HMAC,
        header="x-hub-signature",
        docs="https://developers.intercom.com/docs/webhooks",
        recognised_without=("x-github-event", "x-event-key"),
        recognised_values=MappingProxyType({"x-hub-signature": "sha1="}),
        algorithm="sha1",
        prefix="sha1=",
        event=(EventName(body="topic"),),
        id_paths=("id",),
        greetings=frozenset({"ping"}),
        waits=5,
        repeats=True,
        rewrites_retries=True,  # delivery_attempts
        setup=_("Developer Hub → your app → Webhooks: the secret is the app's client secret."),
    ),
    Preset(
        name="hubspot",
        label="HubSpot",
        scheme=Scheme.HMAC,
        header="x-hubspot-signature-v3",
        docs="https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation",
        encoding=Encoding.BASE64,
        timestamp=Timestamp("x-hubspot-request-timestamp", per_second=1000),
        signed="{method}{url}{body}{timestamp}",
        # A post is a batch; retries may be batched anew, so the first item's id is not its own.
        event=(EventName(body="0.subscriptionType"), EventName(body="subscriptionType")),
        waits=5,
        repeats=True,
        retries=_("10 over 24 h"),
        setup=_("Your app → Webhooks: the secret is the app's client secret."),
    ),
    Preset(
        name="typeform",
        label="Typeform",
        scheme=Scheme.HMAC,
        header="typeform-signature",
        docs="https://www.typeform.com/developers/webhooks/secure-your-webhooks/",
        encoding=Encoding.BASE64,
        prefix="sha256=",
        event=(EventName(body="event_type"),),
        id_paths=("event_id",),
        repeats=True,
        setup=_("Form → Connect → Webhooks → Add a webhook, then Edit: set a secret."),
    ),
)
