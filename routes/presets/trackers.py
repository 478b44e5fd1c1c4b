"""Where work is tracked: Linear, Jira, Asana, Notion."""

from types import MappingProxyType

from django.utils.translation import gettext_lazy as _

from .record import EventName, Greets, Handshake, Preset, Scheme, Timestamp

JIRA_EVENT = EventName(body="webhookEvent")
# The same on a retry; X-Atlassian-Webhook-Retry counts them.
JIRA_ID = "x-atlassian-webhook-identifier"
JIRA_RETRIES = _("up to 5, some minutes apart")

TRACKERS = (
    Preset(
        name="linear",
        label="Linear",
        scheme=Scheme.HMAC,
        header="linear-signature",
        docs="https://linear.app/developers/webhooks",
        # In the signed body, so that leaving it out is nobody's but Linear's choice.
        timestamp=Timestamp(path="webhookTimestamp", per_second=1000, tolerance=60, optional=True),
        event=(EventName("linear-event"), EventName(body="type")),
        id_headers=("linear-delivery",),
        waits=5,
        repeats=True,
        retries=_("3: after 1 min, 1 h, 6 h; only a 200 counts as success"),
        rewrites_retries=True,  # webhookTimestamp is the time of this try
        setup=_("Settings → API → Webhooks: the signing secret is shown there."),
    ),
    Preset(
        name="jira",
        label=_("Jira Cloud, webhook with a secret"),
        scheme=Scheme.HMAC,
        header="x-hub-signature",
        docs="https://developer.atlassian.com/cloud/jira/platform/webhooks/",
        recognised_by=("x-hub-signature", JIRA_ID),
        prefix="sha256=",
        event=(JIRA_EVENT,),
        id_headers=(JIRA_ID,),
        repeats=True,
        retries=JIRA_RETRIES,
        setup=_("Settings → System → WebHooks → Create a WebHook, with a secret."),
    ),
    Preset(
        name="jira_app",
        label=_("Jira Cloud, app or OAuth webhook"),
        scheme=Scheme.JWT,
        header="authorization",
        docs="https://developer.atlassian.com/cloud/jira/platform/webhooks/",
        recognised_by=("authorization", JIRA_ID),
        recognised_values=MappingProxyType({"authorization": "bearer "}),
        event=(JIRA_EVENT,),
        id_headers=(JIRA_ID,),
        repeats=True,
        retries=JIRA_RETRIES,
        note=_(
            "The token says who sends and not what: the body is not protected. Hermes expects "
            "HS256 under the client secret and an expiry; Atlassian leaves details open."
        ),
        setup=_("The secret is the app's client secret."),
    ),
    Preset(
        name="asana",
        label="Asana",
        scheme=Scheme.HMAC,
        header="x-hook-signature",
        docs="https://developers.asana.com/docs/webhooks-guide",
        # A post is a batch of events and has no id; the first of them names it.
        event=(EventName(body="events.0.resource.resource_type", joined=("events.0.action",)),),
        handshake=Handshake(Greets.ASANA, unsigned=True),
        waits=10,
        repeats=True,
        retries=_("for 24 h, then the webhook is removed"),
        setup=_(
            "POST /webhooks of Asana's API with the route's address. The handshake tells the "
            "secret, to a route that has none yet. Heartbeats carry no event and are “unknown”: "
            "list the events you want."
        ),
    ),
    Preset(
        name="notion",
        label="Notion",
        scheme=Scheme.HMAC,
        header="x-notion-signature",
        docs="https://developers.notion.com/reference/webhooks",
        prefix="sha256=",
        event=(EventName(body="type"),),
        id_paths=("id",),
        handshake=Handshake(Greets.NOTION, unsigned=True),
        repeats=True,
        retries=_("up to 8 over about 24 h"),
        rewrites_retries=True,  # attempt_number
        setup=_(
            "Integration → Webhooks → Create a subscription. The first request tells the "
            "verification token, which is the secret, to a route that has none yet; paste it "
            "back in Notion to confirm."
        ),
    ),
)
