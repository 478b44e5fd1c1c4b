"""The form of a route: its lists as lines, its target chosen from what there is."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from platforms.models import Channel
from platforms.registry import senders

from .models import Route
from .presets import AUTO, presets
from .services import LOG, is_loopback

Choices = list[tuple[Any, Any]]


class LinesField(forms.CharField):
    """A list of words, one a line; commas part them, too."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.Textarea(attrs={"rows": 3, "cols": 40}))
        super().__init__(required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Return the list as lines."""
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Return the words, each once, in their order."""
        words = str(value or "").replace(",", "\n").splitlines()
        return list(dict.fromkeys(word for raw in words if (word := raw.strip())))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the list is another one, however it is laid out."""
        return bool((initial or []) != self.to_python(data))


class RouteForm(forms.ModelForm[Route]):
    """A route as a person fills it in."""

    preset = forms.ChoiceField(
        label=_("Source"),
        help_text=_("Who sends. Pinned to one source, the route accepts its signature only."),
    )
    events = LinesField(
        label=_("Events"),
        help_text=_(
            "One a line, as “pull_request” or “issues.opened”. Empty: every event is accepted."
        ),
    )
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
    deliver = forms.ChoiceField(
        label=_("Deliver to"),
        help_text=_("Where the answer goes; with “deliver only”, where the prompt goes."),
    )

    class Meta:
        model = Route
        fields = (
            "name", "enabled", "description", "preset", "events", "prompt", "agent", "skills",
            "deliver", "deliver_extra", "deliver_only", "rate_limit", "max_body_bytes",
            "insecure_no_auth",
        )  # fmt: skip
        widgets = {  # noqa: RUF012  Django reads it once
            "prompt": forms.Textarea(attrs={"rows": 8, "cols": 80}),
            "deliver_extra": forms.Textarea(attrs={"rows": 4, "cols": 60}),
            "description": forms.TextInput(attrs={"size": 60}),
        }
        help_texts = {  # noqa: RUF012
            "name": _("The last part of the address: /webhooks/name."),
            "prompt": _(
                "What the agent is told. {a.b} takes a field of the payload, {__raw__} the whole "
                "of it. Empty: the whole payload."
            ),
            "deliver_extra": _(
                "A JSON object that says where on the channel, with the same templates: "
                '{"repo": "{repository.full_name}", "pr_number": "{number}"} or '
                '{"chat_id": "-100…"}. Empty: the channel’s own home.'
            ),
            "insecure_no_auth": _(
                "For trials only, and only while the gateway listens on a loopback address."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A reader without the right to change sees no fields at all.
        if "preset" in self.fields:
            self.fields["preset"].choices = preset_choices()  # type: ignore[attr-defined]
            self.fields["preset"].initial = AUTO
        if "deliver" in self.fields:
            self.fields["deliver"].choices = deliver_choices(self.instance.deliver)  # type: ignore[attr-defined]
            self.fields["deliver"].initial = LOG

    def clean_deliver_extra(self) -> dict[str, Any]:
        """Refuse JSON that is no object."""
        value = self.cleaned_data.get("deliver_extra") or {}
        if not isinstance(value, dict):
            raise forms.ValidationError(_('Give a JSON object, as {"chat_id": "42"}.'))
        return value

    def clean_insecure_no_auth(self) -> bool:
        """Refuse unsigned requests where strangers could send them."""
        wanted: bool = self.cleaned_data["insecure_no_auth"]
        if wanted and not is_loopback(settings.WEBHOOK_HOST):
            raise forms.ValidationError(
                _(
                    "Only for a gateway on a loopback address: set WEBHOOK_HOST to 127.0.0.1, or "
                    "give the route a secret."
                )
            )
        return wanted

    def clean(self) -> dict[str, Any]:
        """Refuse a direct delivery to the log."""
        data = super().clean() or self.cleaned_data
        if data.get("deliver_only") and data.get("deliver") == LOG:
            self.add_error("deliver", _("A direct delivery needs a target other than the log."))
        return data


def preset_choices() -> list[tuple[str, str | Promise]]:
    """Return the sources, the one that recognises its sender first."""
    known = [(name, preset.label) for name, preset in presets().items()]
    return [(AUTO, _("Recognised by the headers")), *known]


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
