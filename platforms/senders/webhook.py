"""Webhook: a signed POST to an address of one's own, in the manner of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import json
import secrets as random
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.ids import new_id
from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from platforms.fields import OutboundURLField, SecretField
from platforms.replies import Meaning, outcome_of, unreached
from platforms.sender import Check, Sender
from platforms.wire import Wire

PREFIX = "whsec_"
SHORTEST_KEY, LONGEST_KEY = 24, 64  # bytes, by the specification
# For so long a secret that was replaced signs too: time to change it at the receiver.
OVERLAP = timedelta(hours=24)

# facts/channels.md §19: a receiver's refusal is about the message; only "gone" is about the
# address, which nobody listens at any more.
MEANINGS = {
    401: Meaning(Verdict.FAILED, "unauthorized"),
    403: Meaning(Verdict.FAILED, "forbidden"),
    410: Meaning(Verdict.FAILED, "gone", faults_channel=True),
}


class Webhook(Sender):
    """Posts ``{"type", "timestamp", "data"}``, the same bytes on every try, signed anew."""

    kind = "webhook"
    label = gettext_lazy("Webhook")
    summary = gettext_lazy("Posts signed JSON to an address of your own.")
    check_calls = gettext_lazy("A signed event of the type “ping” is posted to the address.")
    # The text is not cut; the receiver decides what it takes (413 fails the delivery).
    max_length = 1_048_576
    of_stored = ("new_secret",)

    class Config(forms.Form):
        url = OutboundURLField(label=gettext_lazy("Address"), max_length=2048)
        secret = SecretField(
            label=gettext_lazy("Signing secret"),
            required=False,
            help_text=gettext_lazy(
                "whsec_ and the base64 of 24 to 64 bytes. Empty: one is generated, and shown "
                "once. A secret that is replaced goes on signing for 24 hours beside the new one."
            ),
        )
        new_secret = forms.BooleanField(
            label=gettext_lazy("Generate a new signing secret"), required=False
        )
        also_sign = forms.MultipleChoiceField(
            label=gettext_lazy("Sign also in the style of"),
            choices=[("hashee", "Hashee"), ("github", "GitHub")],
            widget=forms.CheckboxSelectMultiple,
            required=False,
            help_text=gettext_lazy("Standard Webhooks signatures are always there."),
        )

        def clean_secret(self) -> str:
            """Return a secret that is empty or long enough to sign with."""
            secret: str = self.cleaned_data["secret"]
            if secret:
                try:
                    key = key_of(secret)
                except ValueError:
                    key = b""
                if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
                    raise forms.ValidationError(
                        _("This is not whsec_ and the base64 of 24 to 64 bytes."), code="secret"
                    )
            return secret

    def send(self, message: Message) -> Outcome:
        """Post the event; any 2xx is a success."""
        wire = Wire(self)
        body = document(message.event_type, message.created_at, message.payload)
        try:
            reply = self._post(wire, str(message.id), body)
        except OutboundError as error:
            return wire.record(unreached(error))
        if not 200 <= reply.status < 300:
            return wire.record(outcome_of(reply, MEANINGS.get(reply.status)))
        return wire.record(Outcome.delivered())

    def check(self) -> Check:
        """Post a signed ping."""
        wire = Wire(self)
        try:
            reply = self._post(wire, str(new_id()), document("ping", timezone.now(), {}))
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if not 200 <= reply.status < 300:
            return Check(False, wire.reason(outcome_of(reply)))
        return Check(True, _("The ping was answered with HTTP %s.") % reply.status)

    def called_address(self) -> str:
        """Return the channel's address, without what its query may carry."""
        return str(self.config.get("url", "")).partition("?")[0]

    def secrets(self) -> tuple[str, ...]:
        """Return the signing secrets, and what the address carries in its query."""
        query = parse_qsl(urlsplit(str(self.config.get("url", ""))).query)
        return (*self.signing_secrets(keep_ended=True), *(value for _name, value in query))

    def signing_secrets(self, *, keep_ended: bool = False) -> list[str]:
        """Return the secrets that sign now, newest first."""
        secrets = [self.config.get("secret", "")]
        if previous := self.config.get("previous_secret"):
            ends = datetime.fromisoformat(self.config["previous_until"])
            if keep_ended or timezone.now() < ends:
                secrets.append(previous)
        return [secret for secret in secrets if secret]

    @classmethod
    def prepare_config(
        cls, stored: Mapping[str, Any], cleaned: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what to store: with a secret in any case, and the one that it replaces."""
        config = super().prepare_config(stored, cleaned)
        wants_new = config.pop("new_secret", False) and not cleaned.get("secret")
        if wants_new or not config.get("secret"):
            config["secret"] = generate_secret()
        before = stored.get("secret")
        if before and before != config["secret"]:
            config["previous_secret"] = before
            config["previous_until"] = (timezone.now() + OVERLAP).isoformat()
        elif "previous_secret" in stored:
            config["previous_secret"] = stored["previous_secret"]
            config["previous_until"] = stored["previous_until"]
        return config

    def _post(self, wire: Wire, delivery_id: str, body: bytes) -> Reply:
        secrets = self.signing_secrets()
        headers = signatures(delivery_id, int(time.time()), body, secrets)
        also = self.config.get("also_sign", ())
        if "hashee" in also:
            headers |= hashee_signature(delivery_id, int(time.time()), body, secrets[0])
        if "github" in also:
            headers |= github_signature(body, secrets[0])
        headers["Content-Type"] = "application/json"
        return wire.call("POST", self.config["url"], headers, body)


def document(event_type: str, created_at: datetime, payload: Mapping[str, Any]) -> bytes:
    """Return the body: the same bytes for the same event, as receivers may compare them."""
    stamp = created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {"type": event_type, "timestamp": stamp, "data": dict(payload)}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def generate_secret() -> str:
    """Return a new signing secret of 32 random bytes."""
    return PREFIX + base64.b64encode(random.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Return the key bytes of a secret; raise ValueError for what is no base64."""
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)


def signatures(delivery_id: str, timestamp: int, body: bytes, secrets: list[str]) -> dict[str, str]:
    """Return the headers of Standard Webhooks, with one signature for each secret."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key_of(secret), signed, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
    }


def hashee_signature(delivery_id: str, timestamp: int, body: bytes, secret: str) -> dict[str, str]:
    """Return the headers of spec 002; the key is the secret's text as it stands."""
    signed = f"{timestamp}.{delivery_id}.".encode() + body
    return {
        "X-Hashee-Timestamp": str(timestamp),
        "X-Hashee-Delivery-Id": delivery_id,
        "X-Hashee-Signature": hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest(),
    }


def github_signature(body: bytes, secret: str) -> dict[str, str]:
    """Return the header that GitHub signs with; the key is the secret's text as it stands."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}"}
