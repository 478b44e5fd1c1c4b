"""The chat endpoint of an agent as fields of its form in the admin."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .models import Agent
from .services.completions import (
    DEFAULTS,
    HISTORY,
    MAX_TOKENS,
    MODEL_LIMIT,
    SYSTEM_LIMIT,
    TEMPERATURE,
    TIMEOUT_SECONDS,
    check_endpoint,
    check_key,
    keeps_key,
)

PREFIX = "endpoint_"
KEY, FORGET_KEY = "key", "forget_key"
ADVANCED = ("max_tokens", "temperature", "timeout_seconds", "stream", "lan")


class EndpointForm(forms.ModelForm[Agent]):
    """What the form of an agent in completions mode has besides; another agent's has none of it.

    The key is written here and never read back. Checking looks the endpoint's host up: let it
    happen outside a transaction.
    """

    endpoint_base_url = forms.CharField(
        label=_("Address"),
        max_length=2000,
        widget=forms.URLInput(
            attrs={"class": "vURLField", "placeholder": "http://localhost:11434/v1"}
        ),
        help_text=_("Of the OpenAI-compatible API; “/chat/completions” is added to it."),
    )
    endpoint_model = forms.CharField(
        label=_("Model"),
        max_length=MODEL_LIMIT,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("As the endpoint names it: “llama3.1:8b”, “hermes-agent”."),
    )
    endpoint_key = forms.CharField(
        label=_("API key"),
        required=False,
        # "new-password" keeps browsers from filling in the operator's own one.
        widget=forms.PasswordInput(
            render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}
        ),
        help_text=_("Sent as “Authorization: Bearer …”. Leave it empty if there is none."),
    )
    endpoint_forget_key = forms.BooleanField(
        label=_("Forget the stored key"),
        required=False,
    )
    endpoint_system = forms.CharField(
        label=_("System text"),
        required=False,
        max_length=SYSTEM_LIMIT,
        widget=forms.Textarea(attrs={"rows": 6, "class": "vLargeTextField"}),
        help_text=_("Who the model is and how it answers; stands before every conversation."),
    )
    endpoint_history = forms.IntegerField(
        label=_("Earlier messages"),
        required=False,
        min_value=HISTORY[0],
        max_value=HISTORY[1],
        help_text=_(
            "How many earlier messages of a conversation are sent along with each new one. Each "
            "costs its tokens again; 0 sends none."
        ),
    )
    endpoint_max_tokens = forms.IntegerField(
        label=_("Longest answer"),
        required=False,
        min_value=MAX_TOKENS[0],
        max_value=MAX_TOKENS[1],
        help_text=_("In tokens, reasoning included. Empty: the endpoint decides."),
    )
    endpoint_temperature = forms.FloatField(
        label=_("Temperature"),
        required=False,
        min_value=TEMPERATURE[0],
        max_value=TEMPERATURE[1],
        widget=forms.NumberInput(attrs={"step": "0.1"}),
        help_text=_("0 is sober, 2 is wild. Empty: the endpoint decides."),
    )
    endpoint_timeout_seconds = forms.IntegerField(
        label=_("Time-out"),
        required=False,
        min_value=TIMEOUT_SECONDS[0],
        max_value=TIMEOUT_SECONDS[1],
        help_text=_("In seconds. A message that takes longer is tried again."),
    )
    endpoint_stream = forms.BooleanField(
        label=_("Streamed"),
        required=False,
        help_text=_(
            "The answer comes in pieces. Tick it if a proxy on the way ends connections that are "
            "silent for long."
        ),
    )
    endpoint_lan = forms.BooleanField(
        label=_("On a private network"),
        required=False,
        help_text=_("Allows an address of this machine or its network, and plain http to it."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_endpoint = self.instance.connection_mode == Agent.Mode.COMPLETIONS
        if not self.has_endpoint:
            for name in _names((*DEFAULTS, KEY, FORGET_KEY)):
                self.fields.pop(name, None)
            return
        for name, default in DEFAULTS.items():
            self.initial.setdefault(PREFIX + name, self.instance.endpoint.get(name, default))
        if self.instance.endpoint_key:
            self.fields[PREFIX + KEY].help_text = _("One is stored. Leave this empty to keep it.")
        else:
            self.fields.pop(PREFIX + FORGET_KEY, None)

    def clean(self) -> dict[str, Any] | None:
        """Check the endpoint as every other door does; ask anew for a key that would move."""
        cleaned = super().clean()
        if not self.has_endpoint or self.errors:
            return cleaned
        said = self.cleaned_data
        try:
            self._endpoint = check_endpoint({name: said[PREFIX + name] for name in DEFAULTS})
            self._key = check_key(said[PREFIX + KEY])
        except ValidationError as error:
            for name, messages in error.message_dict.items():
                self.add_error(PREFIX + name, messages)
            return cleaned
        stored = self.instance.endpoint_key
        if said.get(PREFIX + FORGET_KEY) or self._key or not stored:
            return cleaned
        if keeps_key(self.instance.endpoint, self._endpoint):
            self._key = stored
        else:
            self.add_error(
                PREFIX + KEY, gettext("The address has changed; enter the key of the new one.")
            )
        return cleaned

    def save(self, commit: bool = True) -> Agent:
        """Save, with the endpoint."""
        if self.has_endpoint:
            self.instance.endpoint, self.instance.endpoint_key = self._endpoint, self._key
        return super().save(commit)


def endpoint_fieldsets(agent: Agent | None) -> list[tuple[Any, dict[str, Any]]]:
    """Return the endpoint's fields in their groups, as the admin takes them; none in other modes.

    They are for a form that can be changed: who may only look sees none of them.
    """
    if agent is None or agent.connection_mode != Agent.Mode.COMPLETIONS:
        return []
    key = (KEY, FORGET_KEY) if agent.endpoint_key else (KEY,)
    first = ("base_url", "model", *key, "system", "history")
    return [
        (_("Chat endpoint"), {"fields": _names(first)}),
        (_("Limits and network"), {"fields": _names(ADVANCED), "classes": ["collapse"]}),
    ]


def _names(names: tuple[str, ...]) -> list[str]:
    return [PREFIX + name for name in names]
