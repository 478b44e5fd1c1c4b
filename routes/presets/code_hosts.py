"""Where code lives: GitHub, GitLab, Bitbucket, Forgejo and its relatives, Redmine."""

from dataclasses import replace
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
GITLAB_RETRIES = _("none; a hook that keeps failing is switched off, for longer each time")

GITEA = Preset(
    name="gitea",
    label="Gitea",
    scheme=Scheme.HMAC,
    header="x-gitea-signature",
    docs="https://docs.gitea.com/usage/repository/webhooks",
    event=(EventName("x-gitea-event"),),
    id_headers=("x-gitea-delivery",),
    setup=_("Repository → Settings → Webhooks → Add Webhook → Gitea, content type JSON."),
)

BITBUCKET = Preset(
    name="bitbucket",
    label=_("Bitbucket Cloud"),
    scheme=Scheme.HMAC,
    header="x-hub-signature",
    docs="https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
    recognised_by=("x-hub-signature", "x-event-key", "x-request-uuid"),
    prefix="sha256=",
    event=(EventName("x-event-key"),),
    id_headers=("x-request-uuid",),
    greetings=frozenset({"diagnostics:ping"}),
    waits=10,
    repeats=True,
    retries=_("a couple, quickly"),
    setup=_("Repository settings → Webhooks → Add webhook, with a secret."),
)

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
        waits=10,
        retries=GITLAB_RETRIES,
        setup=_("Settings → Webhooks: generate a signing token and copy it here, whole."),
    ),
    # Forgejo also sends the headers of Gitea, Gogs and GitHub, Gitea those of Gogs and GitHub.
    replace(
        GITEA,
        name="forgejo",
        label="Forgejo",
        header="x-forgejo-signature",
        docs="https://forgejo.org/docs/latest/user/webhooks/",
        event=(EventName("x-forgejo-event"),),
        id_headers=("x-forgejo-delivery",),
        setup=_("Repository → Settings → Webhooks → Add Webhook → Forgejo, content type JSON."),
    ),
    GITEA,
    replace(
        GITEA,
        name="gogs",
        label="Gogs",
        header="x-gogs-signature",
        docs="https://gogs.io/advancing/webhooks",
        event=(EventName("x-gogs-event"),),
        id_headers=("x-gogs-delivery",),
        setup=_("Repository → Settings → Webhooks → Add a new webhook → Gogs."),
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
        waits=10,
        repeats=False,
        retries=_("none; redelivery by hand for 3 days"),
        setup=_("Settings → Webhooks → Add webhook: Payload URL, Secret, either content type."),
    ),
    Preset(
        name="gitlab",
        label=_("GitLab, secret token"),
        scheme=Scheme.TOKEN,
        header="x-gitlab-token",
        docs=GITLAB_DOCS,
        event=(GITLAB_EVENT,),
        id_headers=("idempotency-key", "x-gitlab-event-uuid"),
        waits=10,
        retries=GITLAB_RETRIES,
        note=_("The token travels in clear; a signing token (gitlab_signed) protects the body."),
        setup=_("Settings → Webhooks: the secret goes into “Secret token”."),
    ),
    BITBUCKET,
    replace(
        BITBUCKET,
        name="bitbucket_server",
        label=_("Bitbucket Data Center"),
        docs="https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html",
        recognised_by=("x-hub-signature", "x-event-key"),
        id_headers=("x-request-id",),
        waits=None,
        repeats=None,
        retries="",
        setup=_("Repository settings → Webhooks; “Test connection” is answered and wakes nobody."),
    ),
    Preset(
        name="redmine",
        label="Redmine",
        scheme=Scheme.HMAC,
        header="x-redmine-signature-256",
        docs="https://www.redmine.org/projects/redmine/wiki",
        prefix="sha256=",
        event=(EventName(body="type"),),
        setup=_("Redmine 7 or later: My account → Webhooks, with a secret."),
    ),
)
