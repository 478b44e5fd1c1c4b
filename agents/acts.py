"""What a person can do to an agent: recover it, switch its connection, issue a token."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from deliveries.acts import Act
from deliveries.selectors import waiting

from .models import Agent, AgentToken, Artifact
from .selectors import live_tokens
from .services import (
    SwitchRefused,
    cancel,
    confirm_switch,
    describe_switch,
    issue_token,
    propose_switch,
    recover,
    revoke_token,
)

SWITCH = "agents.switch_agent"


def queue_of(agent: Agent) -> tuple[int, datetime | None]:
    """Return how many deliveries wait for an agent, and when the oldest of them is dropped."""
    pending = waiting(agent.lane_id)
    oldest = pending.values_list("created_at", flat=True).first()
    if oldest is None:
        return 0, None
    return pending.count(), oldest + timedelta(hours=settings.PENDING_HOURS)


class Recover(Act):
    """Take an unreachable agent back and send what waited."""

    slug = "recover"
    label = gettext_lazy("Recover")
    permission = "agents.recover_agent"
    template = "admin/agents/agent/recover.html"

    def offered(self) -> bool:
        """Offer it where there is something to recover from."""
        return bool(self.row.connection_status == Agent.Status.UNREACHABLE)

    def context(self) -> dict[str, Any]:
        """Explain: how many wait, where they will go, when the oldest would be dropped."""
        count, drops_at = queue_of(self.row)
        return {"unreachable": self.offered(), "count": count, "drops_at": drops_at}

    def perform(self, form: Any) -> HttpResponse:
        """Recover it; someone may have been quicker."""
        if not self.offered():
            return self.done(
                _("%(name)s is not unreachable; nothing was changed.") % {"name": self.row},
                level=messages.WARNING,
            )
        count = recover(self.row)
        said = ngettext(
            "%(name)s is ready again. %(count)d delivery is on its way.",
            "%(name)s is ready again. %(count)d deliveries are on their way, oldest first.",
            count,
        )
        log = ngettext(
            "Recovered; %(count)d delivery waited.",
            "Recovered; %(count)d deliveries waited.",
            count,
        )
        told = {"name": self.row, "count": count}
        return self.done(said % told, log=log % told)


class SwitchForm(forms.Form):
    """The connection that is wanted; checked by `propose_switch`."""

    mode = forms.ChoiceField(
        label=gettext_lazy("Connection mode"), choices=Agent.Mode, widget=forms.RadioSelect
    )
    url = forms.CharField(
        label=gettext_lazy("Webhook URL"),
        required=False,
        max_length=2048,
        widget=forms.URLInput(attrs={"placeholder": "https://agent.example/hashee/webhook"}),
        help_text=gettext_lazy(
            "Only for the webhook mode. Every message is posted there; it must answer within ten "
            "seconds."
        ),
    )
    secret = forms.CharField(
        label=gettext_lazy("Secret"),
        required=False,
        max_length=512,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "Only for the webhook mode: signs every delivery, at least 32 random bytes. Leave it "
            "empty to have one generated and shown once."
        ),
    )


class Switch(Act):
    """First step of a switch: propose it. Nothing changes but the form that it opens."""

    slug = "switch"
    label = gettext_lazy("Switch connection mode")
    permission = SWITCH
    template = "admin/agents/agent/switch.html"
    form_class = SwitchForm

    def initial(self) -> dict[str, Any]:
        """Start with the mode the agent is not in."""
        other = {Agent.Mode.WEBSOCKET: Agent.Mode.WEBHOOK, Agent.Mode.WEBHOOK: Agent.Mode.WEBSOCKET}
        return {"mode": other.get(self.row.connection_mode, Agent.Mode.WEBHOOK)}

    def perform(self, form: Any) -> HttpResponse | None:
        """Open the form on which it is decided."""
        wanted = form.cleaned_data
        try:
            artifact = propose_switch(
                self.row, wanted["mode"], url=wanted["url"], secret=wanted["secret"]
            )
        except ValidationError as error:
            form.add_error(None, error)
            return None
        self.log(_("Proposed to switch to %(mode)s.") % {"mode": Agent.Mode(wanted["mode"]).label})
        return HttpResponseRedirect(
            reverse("admin:agents_artifact_decide", args=[quote(artifact.pk)])
        )


class Decide(Act):
    """Second step: confirm what is proposed, or cancel it."""

    slug = "decide"
    label = gettext_lazy("Switch connection mode")
    permission = SWITCH
    template = "admin/agents/artifact/decide.html"

    @property
    def agent(self) -> Agent:
        """Return the agent the form is about."""
        agent: Agent = self.row.agent
        return agent

    def offered(self) -> bool:
        """Offer it until it was decided or has expired."""
        artifact: Artifact = self.row
        return artifact.state == Artifact.State.OPEN and artifact.expires_at > timezone.now()

    def context(self) -> dict[str, Any]:
        """Explain: now, then, and what follows from it."""
        return {
            "agent": self.agent,
            "open": self.offered(),
            "change": describe_switch(self.row),
            "generates": self.row.proposal.get("secret") == "generated",
        }

    def perform(self, form: Any) -> HttpResponse:
        """Confirm or cancel, as the button says."""
        try:
            if self.request.POST.get("decision") != "confirm":
                cancel(self.row)
                return self.done(
                    _("Cancelled. Nothing was changed."), log=_("Cancelled the proposed switch.")
                )
            secret = confirm_switch(self.row, by=self.request.user)
        except SwitchRefused as refusal:
            return self.done(str(refusal), level=messages.ERROR)
        mode = Agent.Mode(self.row.proposal["mode"]).label
        self.log(_("Switched to %(mode)s.") % {"mode": mode})
        if secret is None:
            return self.done(
                _("%(name)s is switched to %(mode)s.") % {"name": self.agent, "mode": mode}
            )
        return self.shown_once(
            secret,
            title=_("Secret of %(name)s") % {"name": self.agent},
            what=_(
                "%(name)s is switched to %(mode)s. From now on every delivery to it is signed "
                "with this secret; give it to the agent."
            )
            % {"name": self.agent, "mode": mode},
        )

    def log(self, sentence: str) -> None:
        """Remember it in the agent's History, where a person looks for it."""
        self.model_admin.log_change(self.request, self.agent, sentence)

    def row_url(self) -> str:
        """Return the address of the agent's page: that is where it goes on."""
        return reverse("admin:agents_agent_change", args=[quote(self.agent.pk)])


def tokens_of(agent: Agent) -> QuerySet[AgentToken]:
    """Return the valid tokens of an agent, newest first."""
    return live_tokens(timezone.now()).filter(agent=agent).order_by("-created_at")


class IssueToken(Act):
    """Give the agent one more token for the REST interface."""

    slug = "token"
    label = gettext_lazy("Issue token")
    permission = "agents.add_agenttoken"
    template = "admin/agents/agent/token.html"

    def context(self) -> dict[str, Any]:
        """Explain: which tokens there are already."""
        return {"tokens": list(tokens_of(self.row)[:20])}

    def perform(self, form: Any) -> HttpResponse:
        """Issue it and show it."""
        token = issue_token(self.row)
        self.log(_("Issued a token that ends in %(end)s.") % {"end": token[-4:]})
        return self.shown_once(
            token,
            title=_("Token of %(name)s") % {"name": self.row},
            what=_(
                "With this token %(name)s signs in to the REST interface, as "
                "“Authorization: Bearer …”."
            )
            % {"name": self.row},
        )


class RevokeForm(forms.Form):
    """Which token; ``initial["tokens"]`` are those to choose from."""

    token = forms.ModelChoiceField(
        label=gettext_lazy("Token"),
        queryset=AgentToken.objects.none(),
        widget=forms.RadioSelect,
        empty_label=None,
    )

    def __init__(self, data: Any, *, initial: dict[str, Any]) -> None:
        super().__init__(data, initial=initial)
        self.fields["token"].queryset = initial["tokens"]  # type: ignore[attr-defined]


class RevokeToken(Act):
    """End one token of the agent."""

    slug = "revoke"
    label = gettext_lazy("Revoke token")
    permission = "agents.delete_agenttoken"
    template = "admin/agents/agent/revoke.html"
    form_class = RevokeForm

    def offered(self) -> bool:
        """Offer it where there is a token to end."""
        return tokens_of(self.row).exists()

    def initial(self) -> dict[str, Any]:
        """Give the form the agent's tokens."""
        return {"tokens": tokens_of(self.row)}

    def context(self) -> dict[str, Any]:
        """Explain, unless there is no token left."""
        return {"offered": self.offered()}

    def perform(self, form: Any) -> HttpResponse:
        """End it."""
        token: AgentToken = form.cleaned_data["token"]
        revoke_token(token)
        told = {"token": token}
        return self.done(
            _("The token %(token)s is revoked: whoever uses it is refused from now on.") % told,
            log=_("Revoked the token %(token)s.") % told,
        )
