"""What can be done with a DingTalk channel on its page, beside what any channel can."""

from typing import Any

from django import forms
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.acts import Act
from platforms.models import Channel

from . import KIND


class AgentForm(forms.ModelForm[Channel]):
    """Who answers."""

    class Meta:
        model = Channel
        fields = ("agent",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        agents: Any = self.fields["agent"]
        agents.queryset = agents.queryset.only("name").order_by("name")
        agents.empty_label = _("the default agent")


class ChooseAgent(Act):
    """Says which agent gets what people write here."""

    slug = "agent"
    label = gettext_lazy("Choose agent")
    permission = "platforms.change_channel"

    def offered(self) -> bool:
        """Return whether people can write here at all."""
        return bool(self.row.kind == KIND)

    def _form(self, posted: bool) -> Any:
        return AgentForm(
            self.request.POST if posted else None, initial={"agent": self.row.agent_id}
        )

    def perform(self, form: Any) -> HttpResponse:
        """Let it answer from the next message on."""
        agent = form.cleaned_data["agent"]
        Channel.objects.filter(pk=self.row.pk).update(agent=agent)
        words = {"name": self.row.name, "agent": agent or _("the default agent")}
        said = _("What people write on “%(name)s” goes to %(agent)s.") % words
        return self.done(said, log=said)
