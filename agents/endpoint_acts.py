"""What a person can do with an agent's chat endpoint: try it out."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.acts import Act

from .models import Agent
from .services.completions import endpoint_of, without_query
from .services.completions_trial import TRIAL_SECONDS, TRIAL_TOKENS, try_model


class TestModel(Act):
    """Asks the agent's model one short question."""

    slug = "try"
    label = gettext_lazy("Test the model")
    permission = "agents.change_agent"
    template = "admin/agents/agent/try.html"

    def offered(self) -> bool:
        """Offer it where there is a model to ask."""
        return bool(self.row.connection_mode == Agent.Mode.COMPLETIONS)

    def context(self) -> dict[str, Any]:
        """Explain: what is called, and what it costs."""
        endpoint = endpoint_of(self.row)
        return {
            "offered": self.offered(),
            "address": without_query(endpoint.url),
            "model": endpoint.model,
            "tokens": TRIAL_TOKENS,
            "seconds": int(TRIAL_SECONDS),
        }

    def perform(self, form: Any) -> HttpResponse:
        """Ask it, and say what came back."""
        if not self.offered():
            return self.done(_("The agent is not in completions mode."), level=messages.WARNING)
        trial = try_model(self.row)
        if trial.ok:
            return self.done(trial.detail, log=_("Tested the model: it answers."))
        log = _("Tested the model without success: %s") % trial.detail
        return self.done(trial.detail, log=log, level=messages.ERROR)
