"""The form fields that a sender's configuration is made of."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from deliveries.outbound import Policy, validate_outbound_url


class SecretField(forms.CharField):
    """A credential: never shown again. Left empty, what is stored stays."""

    def __init__(self, **kwargs: Any) -> None:
        # "new-password" keeps browsers from filling in the operator's own one.
        kwargs.setdefault(
            "widget",
            forms.PasswordInput(
                render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}
            ),
        )
        super().__init__(**kwargs)


class OutboundURLField(forms.URLField):
    """An address that Hermes will call; refused when it points inside."""

    def __init__(self, *, policy: Policy = Policy.PUBLIC, **kwargs: Any) -> None:
        kwargs.setdefault("assume_scheme", "https")
        kwargs.setdefault("widget", forms.URLInput(attrs={"class": "vURLField"}))
        super().__init__(**kwargs)
        self.policy = policy
        # Django's own check refuses names without a dot, which a local network is full of;
        # `validate_outbound_url` knows what may be called.
        self.validators = [self.may_be_called]

    def may_be_called(self, value: str) -> None:
        """Raise ValidationError when the guard would refuse this address."""
        if value:
            validate_outbound_url(value, self.policy)


class ApiBaseField(OutboundURLField):
    """Another address of a platform's API: a server of one's own, a proxy, a test double."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        kwargs.setdefault("label", _("API address"))
        kwargs.setdefault(
            "help_text",
            _("Only for a server of your own. Empty: the platform's. The credentials go there."),
        )
        super().__init__(**kwargs)

    def may_be_called(self, value: str) -> None:
        """Raise ValidationError for clear text over the internet too: credentials travel."""
        if value.startswith("http:") and not settings.OUTBOUND_ALLOW_PRIVATE:
            raise forms.ValidationError(
                _("Use https: the credentials of this channel go to this address."), code="insecure"
            )
        super().may_be_called(value)

    def clean(self, value: Any) -> str:
        """Return the address without a slash at its end, as senders add paths."""
        return str(super().clean(value) or "").rstrip("/")
