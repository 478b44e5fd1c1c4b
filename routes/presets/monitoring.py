"""Who watches: Sentry, PagerDuty, Grafana, Alertmanager, Datadog."""

from dataclasses import replace

from django.utils.translation import gettext_lazy as _

from .record import EventName, Preset, Scheme, Timestamp

ALERTMANAGER = Preset(
    name="alertmanager",
    label=_("Alertmanager, bearer token"),
    scheme=Scheme.BEARER,
    header="authorization",
    docs="https://prometheus.io/docs/alerting/latest/configuration/#webhook_config",
    auto=False,
    event=(EventName(body="status"),),
    waits=10,
    repeats=True,
    retries=_("on 5xx, until its notify loop ends; the wait is set there"),
    note=_(
        "The body is not protected. An alert that is repeated unchanged within the hour counts "
        "as a duplicate."
    ),
    setup=_("webhook_configs: url, and http_config.authorization.credentials: the secret."),
)

MONITORING = (
    Preset(
        name="sentry",
        label="Sentry",
        scheme=Scheme.HMAC,
        header="sentry-hook-signature",
        docs="https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
        event=(EventName("sentry-hook-resource"),),
        id_headers=("request-id",),
        waits=1,
        repeats=False,
        retries=_("none; 1000 timeouts in 24 h end the subscription"),
        setup=_("Settings → Custom Integrations: the secret is the client secret."),
    ),
    Preset(
        name="pagerduty",
        label="PagerDuty",
        scheme=Scheme.HMAC,
        header="x-pagerduty-signature",
        docs="https://developer.pagerduty.com/docs/verifying-webhook-signatures",
        prefix="v1=",
        event=(EventName(body="event.event_type"),),
        id_paths=("event.id",),
        greetings=frozenset({"pagey.ping"}),
        waits=5,
        repeats=True,
        retries=_("on 5xx and timeouts; 4xx is not repeated"),
        setup=_("Integrations → Generic Webhooks (v3): the secret is shown once, on creation."),
    ),
    Preset(
        name="grafana",
        label="Grafana",
        scheme=Scheme.HMAC,
        header="x-grafana-alerting-signature",
        docs="https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/",
        timestamp=Timestamp("x-grafana-alerting-timestamp", optional=True),
        signed="{timestamp}:{body}",
        event=(EventName(body="status"),),
        note=_(
            "An alert that is repeated unchanged within the hour counts as a duplicate. Without "
            "a timestamp header a captured request can be sent again."
        ),
        setup=_(
            "Grafana 12 or later: contact point → Webhook → HMAC signature: the secret, and "
            "X-Grafana-Alerting-Timestamp as the timestamp header."
        ),
    ),
    ALERTMANAGER,
    replace(
        ALERTMANAGER,
        name="alertmanager_basic",
        label=_("Alertmanager, basic authentication"),
        scheme=Scheme.BASIC,
        setup=_("webhook_configs: http_config.basic_auth; the secret is user:password."),
    ),
    Preset(
        name="datadog",
        label="Datadog",
        scheme=Scheme.TOKEN,
        header="x-datadog-token",
        docs="https://docs.datadoghq.com/integrations/webhooks/",
        event=(EventName(body="alert_transition"), EventName(body="event_type")),
        id_paths=("id",),
        waits=15,
        repeats=True,
        retries=_("on 5xx, a few"),
        note=_("Datadog does not sign: the header is the secret, the body is not protected."),
        setup=_(
            'Integrations → Webhooks: custom header {"X-Datadog-Token": "the secret"}; payload '
            'with "id": "$ID", "alert_transition": "$ALERT_TRANSITION" and what you need.'
        ),
    ),
)
