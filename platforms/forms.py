"""A channel's form: its own fields and those of its platform, as one."""

from copy import deepcopy
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from .models import Channel
from .sender import Sender

CONFIG, HOME = "config", "home"  # prefixes of the platform's fields


class ChannelForm(forms.ModelForm[Channel]):
    """What every channel has; all there is for a platform that Hermes no longer knows."""

    class Meta:
        model = Channel
        fields = ("name", "enabled")
        help_texts: ClassVar = {
            "name": _("Routes name it under “deliver”: letters, digits, - and _."),
            "enabled": _("Off, whatever is delivered here fails."),
        }


class SenderForm(ChannelForm):
    """A channel's form with the fields of one sender's forms; made by `form_for`.

    Valid, it holds what those forms cleaned in ``config`` and ``home``.
    """

    sender: type[Sender]
    config: dict[str, Any]
    home: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stored = self.instance.readable_config() or {}
        for prefix, values in ((CONFIG, self.stored), (HOME, self.instance.home or {})):
            for name, value in values.items():
                if name not in self.sender.secret_names():
                    self.initial.setdefault(f"{prefix}-{name}", value)
        for name in self._stored_secrets():
            field = self.fields[f"{CONFIG}-{name}"]
            field.required = False
            field.help_text = _("One is stored. Leave this empty to keep it.")

    def clean(self) -> dict[str, Any] | None:
        """Clean the sender's fields by the sender's own forms."""
        cleaned = super().clean()
        config = self.sender.Config(self.data, prefix=CONFIG)
        for name in self._stored_secrets():
            config.fields[name].required = False
        home = self.sender.Home(self.data, prefix=HOME)
        self._take_errors(CONFIG, config)
        self._take_errors(HOME, home)
        self.config, self.home = config.cleaned_data, home.cleaned_data
        self._keep_secrets_from_a_new_address()
        return cleaned

    def _stored_secrets(self) -> list[str]:
        return [name for name in self.sender.secret_names() if self.stored.get(name)]

    def _take_errors(self, prefix: str, form: forms.Form) -> None:
        for name, errors in form.errors.as_data().items():
            key = f"{prefix}-{name}" if name in form.fields else None
            if key not in self.errors:  # else this form's copy of the field has said so
                self.add_error(key, errors)

    def _keep_secrets_from_a_new_address(self) -> None:
        """Ask again for credentials that would go to another address.

        Otherwise whoever may change a channel could read its token: by sending it to themselves.
        """
        if not self.sender.moves(self.stored, self.config):
            return
        for name in self._stored_secrets():
            if not self.config.get(name):
                self.add_error(
                    f"{CONFIG}-{name}",
                    _("The address has changed; enter this again for the new one."),
                )


def form_for(sender: type[Sender] | None) -> type[ChannelForm]:
    """Return the form of a platform's channels."""
    if sender is None:
        return ChannelForm
    fields: dict[str, Any] = {"sender": sender}
    for prefix, form in ((CONFIG, sender.Config), (HOME, sender.Home)):
        for name, field in form.base_fields.items():
            fields[f"{prefix}-{name}"] = deepcopy(field)
    return type(f"{sender.__name__}Form", (SenderForm,), fields)


def fieldsets_for(
    sender: type[Sender] | None, *, adding: bool = False
) -> list[tuple[Any, dict[str, Any]]]:
    """Return the fields of that form in their groups, as the admin takes them."""
    groups: list[tuple[Any, dict[str, Any]]] = [(None, {"fields": ChannelForm.Meta.fields})]
    if sender is None:
        return groups
    names = [n for n in sender.Config.base_fields if not (adding and n in sender.of_stored)]
    config = [name for name in names if name not in sender.advanced]
    advanced = [name for name in names if name in sender.advanced]
    if config:
        groups.append((sender.label, {"fields": [f"{CONFIG}-{name}" for name in config]}))
    if sender.Home.base_fields:
        names = [f"{HOME}-{name}" for name in sender.Home.base_fields]
        groups.append((_("Home target"), {"fields": names}))
    if advanced:
        names = [f"{CONFIG}-{name}" for name in advanced]
        groups.append((_("Advanced"), {"fields": names, "classes": ["collapse"]}))
    return groups
