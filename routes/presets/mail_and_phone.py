"""Mail and telephone: Twilio, SendGrid, Mailgun."""

from django.utils.translation import gettext_lazy as _

from .messengers import ONE_HOUR
from .record import Encoding, EventName, Key, Preset, Scheme, Timestamp

MAIL_AND_PHONE = (
    Preset(
        name="twilio",
        label="Twilio",
        scheme=Scheme.HMAC,
        header="x-twilio-signature",
        docs="https://www.twilio.com/docs/usage/webhooks/webhooks-security",
        algorithm="sha1",
        encoding=Encoding.BASE64,
        signed="{url}{form}",
        body_digest_query="bodySHA256",
        event=(
            EventName(body="MessageStatus"),
            EventName(body="SmsStatus"),
            EventName(body="CallStatus"),
            EventName(body="RecordingStatus"),
            EventName(body="EventType"),
        ),
        id_headers=("i-twilio-idempotency-token",),
        waits=15,
        setup=_("Phone number → Messaging or Voice → Webhook; the secret is the Auth Token."),
    ),
    Preset(
        name="sendgrid",
        label="SendGrid",
        scheme=Scheme.ECDSA,
        header="x-twilio-email-event-webhook-signature",
        docs="https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features",
        encoding=Encoding.BASE64,
        timestamp=Timestamp("x-twilio-email-event-webhook-timestamp", tolerance=ONE_HOUR),
        signed="{timestamp}{body}",
        key=Key.BASE64,
        # A post is a batch; its items have ids (sg_event_id), itself it has none.
        event=(EventName(body="0.event"),),
        repeats=True,
        retries=_("for up to 24 h"),
        setup=_(
            "Settings → Mail Settings → Event Webhook → signed: the secret of the route is the "
            "Verification Key."
        ),
    ),
    Preset(
        name="mailgun",
        label="Mailgun",
        scheme=Scheme.HMAC,
        header="",
        docs="https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks",
        auto=False,
        paths=("signature.signature",),
        # It repeats for 8 h, and may well repeat the signature.
        timestamp=Timestamp(path="signature.timestamp", tolerance=8 * ONE_HOUR),
        signed="{timestamp}{id}",
        event=(EventName(body="event-data.event"),),
        id_paths=("signature.token",),
        repeats=True,
        retries=_("for about 8 h; a 406 ends them"),
        note=_("Only the time and a token are signed: the rest of the body is not protected."),
        setup=_("Send → Sending → Webhooks; the secret is the HTTP webhook signing key."),
    ),
)
