"""What a person can do to an agent: recover it, suspend it, issue a token."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from deliveries.acts import Act
from deliveries.selectors import waiting

from .models import Agent, AgentToken
from .selectors import live_tokens
from .services import issue_token, recover, restore, revoke_token, suspend

SUSPEND = "agents.change_agent"


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


class SuspendForm(forms.Form):
    """Why, in the words that the agent is told."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=500,
        help_text=gettext_lazy("The agent is told, where its connection carries it."),
    )


class Suspend(Act):
    """Take an agent out of service."""

    slug = "suspend"
    label = gettext_lazy("Suspend")
    permission = SUSPEND
    template = "admin/agents/agent/suspend.html"
    form_class = SuspendForm

    def offered(self) -> bool:
        """Offer it while the agent is in service."""
        return self.row.suspended_at is None

    def context(self) -> dict[str, Any]:
        """Explain: how many wait already."""
        count, drops_at = queue_of(self.row)
        return {"offered": self.offered(), "count": count, "drops_at": drops_at}

    def perform(self, form: Any) -> HttpResponse:
        """Suspend it; someone may have been quicker."""
        by, reason = self.request.user.get_username(), form.cleaned_data["reason"]
        if not suspend(self.row, by=by, reason=reason):
            return self.done(
                _("%(name)s is suspended already.") % {"name": self.row}, level=messages.WARNING
            )
        return self.done(
            _("%(name)s is suspended. It is sent nothing until it is restored.")
            % {"name": self.row},
            log=_("Suspended.") if not reason else _("Suspended: %(why)s") % {"why": reason},
        )


class Restore(Act):
    """Put a suspended agent back in service."""

    slug = "restore"
    label = gettext_lazy("Restore")
    permission = SUSPEND
    template = "admin/agents/agent/restore.html"

    def offered(self) -> bool:
        """Offer it while the agent is suspended."""
        return self.row.suspended_at is not None

    def context(self) -> dict[str, Any]:
        """Explain: how many wait, when the oldest would be dropped."""
        count, drops_at = queue_of(self.row)
        return {"offered": self.offered(), "count": count, "drops_at": drops_at}

    def perform(self, form: Any) -> HttpResponse:
        """Restore it; someone may have been quicker."""
        if not restore(self.row, by=self.request.user.get_username()):
            return self.done(
                _("%(name)s is not suspended; nothing was changed.") % {"name": self.row},
                level=messages.WARNING,
            )
        return self.done(_("%(name)s is back in service.") % {"name": self.row}, log=_("Restored."))


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
