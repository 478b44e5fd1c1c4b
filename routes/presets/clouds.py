"""Platforms that programs run on or pass through: Vercel, ElevenLabs, Dropbox, Hookdeck."""

from django.utils.translation import gettext_lazy as _

from .record import Encoding, EventName, Greets, Handshake, Preset, Scheme, Timestamp

CLOUDS = (
    Preset(
        name="vercel",
        label="Vercel",
        scheme=Scheme.HMAC,
        header="x-vercel-signature",
        docs="https://vercel.com/docs/webhooks/webhooks-api",
        algorithm="sha1",
        event=(EventName(body="type"),),
        id_paths=("id",),
        waits=30,
        repeats=True,
        retries=_("for up to 24 h"),
        setup=_("Team settings → Webhooks shows the secret once; an integration has its own."),
    ),
    Preset(
        name="elevenlabs",
        label="ElevenLabs",
        scheme=Scheme.HMAC,
        header="elevenlabs-signature",
        docs="https://elevenlabs.io/docs/overview/administration/webhooks",
        prefix="v0=",
        timestamp=Timestamp("elevenlabs-signature", part="t=", tolerance=1800),
        signed="{timestamp}.{body}",
        event=(EventName(body="type"),),
        setup=_("Settings → Webhooks → Create, HMAC: the secret is shown once."),
    ),
    Preset(
        name="dropbox",
        label="Dropbox",
        scheme=Scheme.HMAC,
        header="x-dropbox-signature",
        docs="https://www.dropbox.com/developers/reference/webhooks",
        event=(EventName(keys=("list_folder", "delta")),),
        handshake=Handshake(Greets.DROPBOX, methods=("GET",), unsigned=True),
        waits=10,
        repeats=True,
        note=_("It says whose files changed, not which; repeats within the hour are dropped."),
        setup=_("App console → Webhooks; the secret is the App secret."),
    ),
    # After all others: it passes the headers of the first sender on, and a route that trusted
    # that sender before goes on doing so.
    Preset(
        name="hookdeck",
        label="Hookdeck",
        scheme=Scheme.HMAC,
        header="x-hookdeck-signature",
        docs="https://hookdeck.com/docs/authentication",
        encoding=Encoding.BASE64,
        other_headers=("x-hookdeck-signature-2",),
        id_headers=("x-hookdeck-eventid",),
        waits=60,
        repeats=True,
        retries=_("as its connection is set to"),
        setup=_(
            "Project settings → Secrets → Signing secret. Name this preset on the route: the "
            "first sender's headers come too, and “auto” would check those."
        ),
    ),
)
