"""The form of a route: its lists as lines, its targets chosen from what there is."""

from collections.abc import Iterable
from typing import Any, Final

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from platforms.models import Channel
from platforms.registry import senders

from .chats import chat_choices, chats, filled_in
from .coalescing import MAX_WAIT, WINDOW
from .form_fields import Choices, FiltersField, JSONTextField, LinesField, TargetsField
from .models import Route
from .presets import AUTO, CUSTOM
from .rules import faults, nowhere
from .scheme_form import SchemeFields
from .services import LOG, is_loopback
from .sources import preset_choices

COALESCE_FIELDS: Final = ("coalesce_key", "coalesce_window", "coalesce_max_wait")


class RouteForm(SchemeFields, forms.ModelForm[Route]):
    """A route as a person fills it in."""

    chat = forms.ChoiceField(
        label=_("Let people talk to an agent here"),
        required=False,
        help_text=_(
            "Saving fills in what is empty below: what people write to your bot on this platform "
            "goes to the agent, and its answers go to the same chat. Whoever can write to the bot "
            "can then ask the agent."
        ),
    )
    preset = forms.ChoiceField(
        label=_("Source"),
        help_text=_(
            "Who sends. Pinned to one source, the route accepts its signature only. For a sender "
            "that is not listed, choose the second line and say how it signs."
        ),
    )
    events = LinesField(
        label=_("Events"),
        help_text=_(
            "One a line, as “pull_request” or “issues.opened”. Empty: every event is accepted."
        ),
    )
    filters = FiltersField()
    # Declared here, it comes without Django's four buttons beside it.
    agent = forms.ModelChoiceField(
        label=_("Agent"),
        queryset=Agent.objects.order_by("name"),
        required=False,
        empty_label=_("The default agent"),
    )
    skills = LinesField(
        label=_("Skills"), help_text=_("One a line; they are named to the agent. May stay empty.")
    )
    coalesce_key = forms.CharField(
        label=_("Key"),
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text=_(
            "Of events with the same key, as {repository.full_name}#{number}, the agent gets the "
            "latest. Empty: every event goes out at once."
        ),
    )
    coalesce_window = forms.IntegerField(
        label=_("Wait for a newer one"),
        required=False,
        min_value=1,
        help_text=_("Seconds. Empty: %s.") % WINDOW,
    )
    coalesce_max_wait = forms.IntegerField(
        label=_("Wait at most"),
        required=False,
        min_value=1,
        help_text=_("Seconds since the first one, however many follow. Empty: %s.") % MAX_WAIT,
    )
    deliver = forms.ChoiceField(
        label=_("Deliver to"),
        help_text=_("Where the answer goes; with “deliver only”, where the prompt goes."),
    )
    deliver_extra = JSONTextField(
        label=_("Where on it"),
        empty={},
        help_text=_(
            "A JSON object that says where on the channel, with the same templates: "
            '{"repo": "{repository.full_name}", "pr_number": "{number}"} or '
            '{"chat_id": "-100…"}. Empty: the channel’s own home.'
        ),
    )
    fan_out = TargetsField(
        label=_("Further targets"),
        help_text=_("The same goes to these, too. Saving gives new rows; choose “–” to drop one."),
    )

    class Meta:
        model = Route
        fields = (
            "name", "enabled", "description", "preset", "events", "filters", "prompt", "fence",
            "agent", "skills", "conversation_key", "deliver", "deliver_extra", "fan_out",
            "deliver_only", "answer_at_once", "rate_limit", "max_body_bytes", "insecure_no_auth",
        )  # fmt: skip
        widgets = {  # noqa: RUF012  Django reads it once
            "prompt": forms.Textarea(attrs={"rows": 8, "cols": 80}),
            "description": forms.TextInput(attrs={"size": 60}),
            "conversation_key": forms.TextInput(attrs={"size": 40}),
        }
        help_texts = {  # noqa: RUF012
            "name": _("The last part of the address: /webhooks/name."),
            "prompt": _(
                "What the agent is told. {a.b} takes a field of the payload, {__raw__} the whole "
                "of it. Empty: the whole payload. Try it in the workbench."
            ),
            "insecure_no_auth": _(
                "For trials only, and only while the gateway listens on a loopback address."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.update(coalesce_initial(self.instance.coalesce))
        self.initial.update(self.scheme_initial(self.instance.custom_scheme))
        # A reader without the right to change sees no fields at all.
        if "chat" in self.fields:
            self.fields["chat"].choices = [("", "–"), *chat_choices()]  # type: ignore[attr-defined]
        if "preset" in self.fields:
            self.fields["preset"].choices = preset_choices()  # type: ignore[attr-defined]
            self.fields["preset"].initial = AUTO
        if "deliver" in self.fields:
            choices = deliver_choices(self.instance.deliver)
            self.fields["deliver"].choices = choices  # type: ignore[attr-defined]
            self.fields["deliver"].initial = LOG
            self.fields["fan_out"].widget.choices = deliver_choices("")

    def clean_deliver_extra(self) -> dict[str, Any]:
        """Refuse JSON that is no object."""
        value = self.cleaned_data["deliver_extra"]
        if not isinstance(value, dict):
            raise ValidationError(_('Give a JSON object, as {"chat_id": "42"}.'))
        return value

    def clean_insecure_no_auth(self) -> bool:
        """Refuse unsigned requests where strangers could send them."""
        wanted: bool = self.cleaned_data["insecure_no_auth"]
        if wanted and not is_loopback(settings.WEBHOOK_HOST):
            raise ValidationError(
                _(
                    "Only for a gateway on a loopback address: set WEBHOOK_HOST to 127.0.0.1, or "
                    "give the route a secret."
                )
            )
        return wanted

    def clean(self) -> dict[str, Any] | None:
        """Fill in what a chat has ready; a fence is not left round what people ask."""
        cleaned = super().clean()
        chat = chats().get(self.cleaned_data.get("chat", ""))
        if chat is not None and not self.errors:
            said = {name: value for name, value in self.cleaned_data.items() if name != "fence"}
            try:
                self.cleaned_data |= filled_in(chat, said)
            except ValidationError as error:
                self.add_error(None, error)
        return cleaned

    def _post_clean(self) -> None:
        """Put what several fields say together on the row, and judge the whole."""
        self.instance.coalesce = self._coalesce()
        if self.cleaned_data.get("preset") == CUSTOM:
            self.instance.custom_scheme = self.scheme()
        super()._post_clean()  # type: ignore[misc]  # not in the stubs
        found = faults(self.instance)
        found.pop("custom_scheme", None)  # its fields have named theirs
        for field, text in found.items():
            at = "coalesce_key" if field == "coalesce" else field
            if at not in self.errors:
                self.add_error(at if at in self.fields else None, text)
        if "fan_out" not in self.errors and nowhere(self.instance):
            self.add_error("deliver", _("A direct delivery needs a target other than the log."))

    def _coalesce(self) -> dict[str, Any]:
        """Return what the three fields say; without a key there is nothing to coalesce."""
        data = self.cleaned_data
        if not data.get("coalesce_key"):
            return {}
        seconds = {
            "window_seconds": data.get("coalesce_window"),
            "max_wait_seconds": data.get("coalesce_max_wait"),
        }
        given = {name: value for name, value in seconds.items() if value is not None}
        return {"key": data["coalesce_key"], **given}


def coalesce_initial(coalesce: Any) -> dict[str, Any]:
    """Return what the three fields start with."""
    found = coalesce if isinstance(coalesce, dict) else {}
    return {
        "coalesce_key": found.get("key", ""),
        "coalesce_window": found.get("window_seconds"),
        "coalesce_max_wait": found.get("max_wait_seconds"),
    }


def deliver_choices(current: str) -> Choices:
    """Return the channels, then the platforms that have exactly one enabled channel.

    What is stored stays among them, even if its channel is gone: the form must not choose another.
    """
    channels = list(Channel.objects.order_by("name").values_list("name", "kind", "enabled"))
    enabled = [kind for _name, kind, on in channels if on]
    labels = {kind: sender.label for kind, sender in senders().items()}
    named: Choices = [(name, f"{name} ({labels.get(kind, kind)})") for name, kind, _on in channels]
    taken = {name for name, _label in named}
    kinds: Choices = [
        (kind, label)
        for kind, label in labels.items()
        if kind not in taken and (enabled.count(kind) == 1 or kind == LOG)
    ]
    if LOG not in taken and LOG not in labels:
        kinds.insert(0, (LOG, _("Log")))
    gone: Choices = []
    if current and current not in taken and current not in _keys(kinds):
        gone = [(current, _("%(name)s (no such channel)") % {"name": current})]
    groups: Choices = [(_("The one channel of a platform"), kinds)]
    if named:
        groups.insert(0, (_("Channels"), named))
    return gone + groups


def _keys(choices: Iterable[tuple[Any, Any]]) -> set[Any]:
    return {key for key, _label in choices}
