"""Forms before a person in the admin: propose a switch, decide on what is proposed, answer."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.acts import Act

from .models import Agent, Artifact
from .questions import answer_form, in_words
from .services import DecisionRefused, propose_switch
from .services.artifacts import answer, is_open
from .services.decisions import ANSWER, Done, confirm, describe, reject, title_of
from .services.manifests import differences
from .services.pinging import ping

SWITCH = "agents.switch_agent"
DECIDED = (Artifact.Kind.SWITCH, Artifact.Kind.ACT, Artifact.Kind.MANIFEST)


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
            "seconds. A signed ping is sent there when you continue."
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
    base_url = forms.CharField(
        label=gettext_lazy("Address of the chat endpoint"),
        required=False,
        max_length=2000,
        widget=forms.URLInput(attrs={"placeholder": "https://llm.example/v1"}),
        help_text=gettext_lazy("Only for chat completions: any OpenAI-compatible API."),
    )
    model = forms.CharField(
        label=gettext_lazy("Model"),
        required=False,
        max_length=200,
        help_text=gettext_lazy(
            "Only for chat completions. System text, limits and history are on the agent's page."
        ),
    )
    key = forms.CharField(
        label=gettext_lazy("API key"),
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "Only for chat completions. Leave it empty to keep the one stored for this host, or "
            "where none is needed."
        ),
    )
    lan = forms.BooleanField(
        label=gettext_lazy("On a private network"),
        required=False,
        help_text=gettext_lazy(
            "Only for chat completions: allows addresses of this machine and its network."
        ),
    )

    def of_webhook(self) -> list[forms.BoundField]:
        """Return the fields of the webhook mode."""
        return [self["url"], self["secret"]]

    def of_completions(self) -> list[forms.BoundField]:
        """Return the fields of the completions mode."""
        return [self["base_url"], self["model"], self["key"], self["lan"]]


class Switch(Act):
    """First step of a switch: propose it. Nothing changes but the form that it opens."""

    slug = "switch"
    label = gettext_lazy("Switch connection mode")
    permission = SWITCH
    template = "admin/agents/agent/switch.html"
    form_class = SwitchForm

    def initial(self) -> dict[str, Any]:
        """Start with a mode the agent is not in, and the endpoint it has."""
        agent: Agent = self.row
        other = Agent.Mode.WEBHOOK
        if agent.connection_mode == Agent.Mode.WEBHOOK:
            other = Agent.Mode.WEBSOCKET
        known = {name: agent.endpoint.get(name) for name in ("base_url", "model", "lan")}
        return known | {"mode": other}

    def perform(self, form: Any) -> HttpResponse | None:
        """Open the form on which it is decided; what is at a webhook's URL is asked first."""
        wanted = form.cleaned_data
        mode = wanted["mode"]
        in_completions = mode == Agent.Mode.COMPLETIONS
        try:
            artifact = propose_switch(
                self.row,
                mode,
                url=wanted["url"],
                secret=wanted["key"] if in_completions else wanted["secret"],
                endpoint={name: wanted[name] for name in ("base_url", "model", "lan")},
                by=self.request.user.get_username(),
            )
        except ValidationError as error:
            _put_on(form, error, secret="key" if in_completions else "secret")
            return None
        if mode == Agent.Mode.WEBHOOK:
            ping(artifact)
        self.log(_("Proposed to switch to %(mode)s.") % {"mode": Agent.Mode(mode).label})
        return HttpResponseRedirect(
            reverse("admin:agents_artifact_decide", args=[quote(artifact.pk)])
        )


def _put_on(form: forms.Form, error: ValidationError, *, secret: str) -> None:
    """Put the errors of a proposal on the form; those of fields that it lacks on its top."""
    for name, faults in error.error_dict.items():
        field = secret if name == "secret" else name
        form.add_error(field if field in form.fields else None, faults)


class OnArtifact(Act):
    """An act on a form; its permission depends on the form (see `ArtifactAdmin`)."""

    permission = ANSWER

    @property
    def agent(self) -> Agent:
        """Return the agent the form is about."""
        agent: Agent = self.row.agent
        return agent

    @property
    def by(self) -> str:
        """Return the name under which the decision is kept."""
        return self.request.user.get_username()

    def log(self, sentence: str) -> None:
        """Remember it in the agent's History, where a person looks for it."""
        self.model_admin.log_change(self.request, self.agent, sentence)

    def row_url(self) -> str:
        """Return the address of the agent's page: that is where it goes on."""
        return reverse("admin:agents_agent_change", args=[quote(self.agent.pk)])


class Decide(OnArtifact):
    """Second step: confirm what is proposed, or cancel it."""

    slug = "decide"
    label = gettext_lazy("Decide")
    template = "admin/agents/artifact/decide.html"

    def offered(self) -> bool:
        """Offer it until it was decided or has expired."""
        return self.row.kind in DECIDED and is_open(self.row)

    def context(self) -> dict[str, Any]:
        """Explain: now, then, and what follows from it."""
        artifact: Artifact = self.row
        shown: dict[str, Any] = {
            "agent": self.agent,
            "open": self.offered(),
            "title": title_of(artifact),
        }
        if artifact.kind == Artifact.Kind.MANIFEST:
            wanted = artifact.proposal["manifest"]
            return shown | {
                "differences": differences(self.agent.manifest, wanted),
                "by_agent": True,
            }
        change = describe(artifact)
        return shown | {"change": change, "by_agent": change.by_agent}

    def perform(self, form: Any) -> HttpResponse:
        """Confirm, check again or cancel, as the button says."""
        decision = self.request.POST.get("decision")
        try:
            if decision == "check" and self.offered() and self.row.proposal.get("url"):
                ping(self.row)
                return HttpResponseRedirect(self.url())
            if decision != "confirm":
                done = reject(self.row, self.by)
                return self.done(done.said, log=self._cancelled())
            if self._in_doubt():
                self.model_admin.message_user(
                    self.request,
                    _("Tick that you want it anyway, or check the URL again."),
                    messages.ERROR,
                )
                return HttpResponseRedirect(self.url())
            done = confirm(self.row, self.by, anyway="anyway" in self.request.POST)
        except DecisionRefused as refusal:
            return self.done(str(refusal), level=messages.ERROR)
        return self._confirmed(done)

    def _in_doubt(self) -> bool:
        return (
            self.row.kind == Artifact.Kind.SWITCH
            and self.offered()
            and describe(self.row).in_doubt
            and "anyway" not in self.request.POST
        )

    def _confirmed(self, done: Done) -> HttpResponse:
        log = done.said
        if self.row.kind == Artifact.Kind.SWITCH:
            mode = Agent.Mode(self.row.proposal["mode"]).label
            log = _("Switched to %(mode)s.") % {"mode": mode}
        if done.secret is None:
            return self.done(done.said, log=log)
        self.log(log)
        return self.shown_once(
            done.secret,
            title=_("Secret of %(name)s") % {"name": self.agent},
            what=_(
                "%(done)s From now on every delivery to it is signed with this secret; give it "
                "to the agent."
            )
            % {"done": done.said},
        )

    def _cancelled(self) -> str:
        match self.row.kind:
            case Artifact.Kind.SWITCH:
                return _("Cancelled the proposed switch.")
            case Artifact.Kind.MANIFEST:
                return _("Rejected a manifest.")
            case _:
                return _("Cancelled: %(title)s") % {"title": title_of(self.row)}


class Answer(OnArtifact):
    """Answer what an agent asks."""

    slug = "answer"
    label = gettext_lazy("Answer")
    template = "admin/agents/artifact/answer.html"

    def offered(self) -> bool:
        """Offer it until it was answered, cancelled, or has expired."""
        return self.row.kind == Artifact.Kind.FORM and is_open(self.row)

    def _form(self, posted: bool) -> forms.Form | None:
        if not self.offered():
            return None
        form = answer_form(self.row.form)
        return form(self.request.POST if posted else None, prefix="answer")

    def context(self) -> dict[str, Any]:
        """Show the question."""
        return {
            "agent": self.agent,
            "open": self.offered(),
            "question": self.row.form,
            "answer": in_words(self.row.form, self.row.answer) if self.row.answer else [],
            "title": title_of(self.row),
            "cancel_url": super().row_url(),
        }

    def perform(self, form: Any) -> HttpResponse:
        """Take the answer and send it to the agent."""
        try:
            if form is None:
                raise DecisionRefused(_("This form is no longer open."))
            answer(self.row, form.cleaned_data, by=self.by)
        except DecisionRefused as refusal:
            return self.done(str(refusal), level=messages.ERROR)
        return self.done(
            _("Your answer is on its way to %(name)s.") % {"name": self.agent},
            log=_("Answered “%(title)s”.") % {"title": title_of(self.row)},
        )
