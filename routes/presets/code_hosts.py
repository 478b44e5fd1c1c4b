"""Where code lives: GitHub, GitLab."""

from types import MappingProxyType

from django.utils.translation import gettext_lazy as _

from .record import Encoding, EventName, Preset, Scheme, Timestamp

# https://docs.gitlab.com/user/project/integrations/webhook_events/; any other header is reported
# as it stands, unless the body has an object_kind.
GITLAB_HOOKS = MappingProxyType(
    {
        "Push Hook": "push",
        "Tag Push Hook": "tag_push",
        "Issue Hook": "issue",
        "Confidential Issue Hook": "issue",
        "Note Hook": "note",
        "Confidential Note Hook": "note",
        "Merge Request Hook": "merge_request",
        "Wiki Page Hook": "wiki_page",
        "Pipeline Hook": "pipeline",
        "Job Hook": "build",
        "Deployment Hook": "deployment",
        "Feature Flag Hook": "feature_flag",
        "Release Hook": "release",
        "Milestone Hook": "milestone",
        "Emoji Hook": "emoji",
        "Work Item Hook": "work_item",
        "Vulnerability Hook": "vulnerability",
        "Resource Access Token Hook": "access_token",
        "Resource Deploy Token Hook": "deploy_token",
    }
)

GITHUB_EVENT = EventName("x-github-event")
GITLAB_EVENT = EventName("x-gitlab-event", body="object_kind", spellings=GITLAB_HOOKS)
GITLAB_DOCS = "https://docs.gitlab.com/user/project/integrations/webhooks/"

CODE_HOSTS = (
    # GitLab's signing token has the names of Standard Webhooks; its event header tells it apart.
    Preset(
        name="gitlab_signed",
        label=_("GitLab, signing token"),
        scheme=Scheme.HMAC,
        header="webhook-signature",
        docs=GITLAB_DOCS,
        recognised_by=("webhook-signature", "x-gitlab-event"),
        encoding=Encoding.BASE64,
        prefix="v1,",
        separator=" ",
        timestamp=Timestamp("webhook-timestamp"),
        signed="{id}.{timestamp}.{body}",
        base64_secret_prefix="whsec_",  # noqa: S106  the mark of one, not a secret
        event=(GITLAB_EVENT,),
        id_headers=("webhook-id",),
    ),
    Preset(
        name="github",
        label="GitHub",
        scheme=Scheme.HMAC,
        header="x-hub-signature-256",
        docs="https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
        prefix="sha256=",
        event=(GITHUB_EVENT,),
        id_headers=("x-github-delivery",),
        greetings=frozenset({"ping"}),
    ),
    Preset(
        name="gitlab",
        label=_("GitLab, secret token"),
        scheme=Scheme.TOKEN,
        header="x-gitlab-token",
        docs=GITLAB_DOCS,
        event=(GITLAB_EVENT,),
        id_headers=("idempotency-key", "x-gitlab-event-uuid"),
    ),
)
