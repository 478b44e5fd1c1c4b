"""Incoming webhooks of chat platforms: addresses that are a credential, and a place, in one."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import validate_outbound_url
from deliveries.outcomes import Outcome

from .fields import SecretField
from .sender import Sender


class IncomingWebhookField(SecretField):
    """The address of an incoming webhook; whoever knows it may post, so it is never shown."""

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        kwargs.setdefault("label", gettext_lazy("Webhook address"))
        super().__init__(**kwargs)
        self.path = re.compile(path, re.ASCII)

    def clean(self, value: Any) -> str:
        """Return the address; raise ValidationError for one of another shape, or inside."""
        url = str(super().clean(value) or "")
        if not url:
            return ""
        parts = urlsplit(url)
        if parts.query or parts.fragment or not self.path.fullmatch(parts.path):
            raise forms.ValidationError(
                _("This is not the address of an incoming webhook as the platform gives it."),
                code="invalid",
            )
        if parts.scheme != "https" and not settings.OUTBOUND_ALLOW_PRIVATE:
            raise forms.ValidationError(_("Use https: the address is a secret."), code="insecure")
        validate_outbound_url(url)
        return url


class TokenOrWebhook(Sender):
    """A platform that a channel may speak to with a token, or by an incoming webhook.

    The configuration's ``webhook_url`` is the webhook's address, ``token_name`` names the token.
    """

    token_name: ClassVar[str]

    @property
    def webhook_url(self) -> str:
        """Return the webhook's address; empty for a channel that has a token."""
        return "" if self.token else str(self.config.get("webhook_url") or "")

    @property
    def token(self) -> str:
        """Return the token; empty for a channel without one."""
        return str(self.config.get(self.token_name) or "")

    def secrets(self) -> tuple[str, ...]:
        """Return the token, the webhook's address, and the part of that which is the secret."""
        last = urlsplit(str(self.config.get("webhook_url") or "")).path.rpartition("/")[2]
        return (*super().secrets(), last) if last else super().secrets()

    def called_address(self) -> str:
        """Return the address that Test connection will call, without the webhook's secret path."""
        if not self.webhook_url:
            return self.api_base
        parts = urlsplit(self.webhook_url)
        return f"{parts.scheme}://{parts.netloc}"

    @classmethod
    def prepare_config(
        cls, stored: Mapping[str, Any], cleaned: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what to store: the credential that was entered takes the other one's place."""
        config = super().prepare_config(stored, cleaned)
        names = (cls.token_name, "webhook_url")
        entered = [name for name in names if cleaned.get(name)]
        return {
            name: value
            for name, value in config.items()
            if name not in names or not entered or name in entered
        }


def refuse_both(cleaned: Mapping[str, Any], token_name: str) -> None:
    """Raise ValidationError if a form was given a token and a webhook's address."""
    if cleaned.get(token_name) and cleaned.get("webhook_url"):
        raise forms.ValidationError(
            _("Enter the token or the webhook address, not both."), code="both"
        )


def no_credential() -> Outcome:
    """Return the failure of a channel that has nothing to sign in with."""
    return Outcome.failed(
        "unauthorized", _("The channel has no credential; enter it again."), faults_channel=True
    )
