"""Home Assistant: a notification in its panel, or on phones by its notify services.

https://developers.home-assistant.io/docs/api/rest/
"""

import re
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Policy, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from platforms.fields import OutboundURLField, SecretField
from platforms.incoming import no_credential
from platforms.parts import send_parts
from platforms.plain import to_plain
from platforms.replies import Meaning, outcome_of
from platforms.sender import Check, Sender
from platforms.splitting import split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import MAX_RESPONSE, Wire

TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
SERVICE = re.compile(r"(?:notify\.)?[a-z0-9_]{1,100}")
RECEIVER = re.compile(r"[\w.@+:-]{1,255}", re.ASCII)
PANEL = "persistent_notification"
ENTITIES = "send_message"  # the service of notify entities
TITLE = "Hermes"
TITLE_LENGTH = 150  # characters
MANY_SERVICES = 2_097_152  # bytes: the list of services describes each field of each

# A service that failed may fail for good; the second time it is believed.
SERVICE_FAILED = Meaning(Verdict.FAILED, "server_error")


class HomeAssistant(Sender):
    """Without a service a note in the panel, which a repeat replaces."""

    kind = "homeassistant"
    addresses = ("url",)
    label = "Home Assistant"
    summary = gettext_lazy("Shows notifications in its panel, or on phones.")
    check_calls = gettext_lazy(
        "Its API is asked whether it runs, and which notify services there are. Nothing is shown."
    )
    max_length = 2000  # a push to a phone has 4 KB
    policy = Policy.LAN
    advanced = ()

    class Config(forms.Form):
        url = OutboundURLField(
            label=gettext_lazy("Address"),
            policy=Policy.LAN,
            assume_scheme="http",
            help_text=gettext_lazy(
                "Such as http://homeassistant.local:8123; with https from outside the network. "
                "The token goes there."
            ),
        )
        token = SecretField(
            label=gettext_lazy("Access token"),
            validators=[
                RegexValidator(
                    rf"\A{TOKEN.pattern}\Z",
                    gettext_lazy("A long-lived access token has three parts with dots between."),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy("A long-lived access token, from the security page of a user."),
        )

    class Home(forms.Form):
        service = forms.CharField(
            label=gettext_lazy("Service"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{SERVICE.pattern}\Z",
                    gettext_lazy("A service is written notify.mobile_app_phone."),
                )
            ],
            help_text=gettext_lazy(
                "A notify service such as notify.mobile_app_phone, or notify.send_message for a "
                "notify entity. Empty: a notification in the panel."
            ),
        )
        chat_id = forms.CharField(
            label=gettext_lazy("Receiver"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{RECEIVER.pattern}\Z",
                    gettext_lazy("A receiver has letters, digits and . @ + : - _"),
                    flags=re.ASCII,
                )
            ],
            help_text=gettext_lazy(
                "What the service takes as target; for notify.send_message the entity's id."
            ),
        )

    @property
    def api_base(self) -> str:
        """Return the address of Home Assistant."""
        return str(self.config.get("url") or super().api_base).rstrip("/")

    def send(self, message: Message) -> Outcome:
        """Notify by the service of the target or the home, in parts if the text is long."""
        if not (self.config.get("token") and self.api_base):
            return no_credential()
        service = value_of(message.target, "service")
        receiver = value_of(message.target, "chat_id")
        if not service:
            service = value_of(self.home, "service") or PANEL
            receiver = receiver or value_of(self.home, "chat_id")
        if not SERVICE.fullmatch(service):
            return bad_target("service", service)
        service = service.removeprefix("notify.")
        if service == ENTITIES and not receiver:
            return no_destination("chat_id")
        if receiver and not RECEIVER.fullmatch(receiver):
            return bad_target("chat_id", receiver)
        # The panel shows Markdown, phones do not.
        text = message.text if service == PANEL else to_plain(message.text)
        parts = split(text, self.max_length)
        if not parts:
            return no_text()
        title = value_of(message.target, "title")[:TITLE_LENGTH] or TITLE
        wire = Wire(self)

        def send_part(number: int, text: str) -> Outcome:
            notification = {"message": text, "title": title}
            if service == PANEL:
                # One with the same id replaces the earlier one.
                notification["notification_id"] = f"hermes_{message.id}_{number}"
            return self._notify(wire, message, service, receiver, notification)

        return send_parts(wire, message, parts, send_part)

    def check(self) -> Check:
        """Ask whether the API runs, and whether the home's service is there."""
        wire = Wire(self)
        if not (self.config.get("token") and self.api_base):
            return Check(False, no_credential().error)
        try:
            reply = self._get(wire, "/api/")
            body = reply.json()
            said = body.get("message") if isinstance(body, dict) else None
            if reply.status != 200 or not isinstance(said, str):
                return Check(False, wire.reason(_failure(reply)))
            service = value_of(self.home, "service").removeprefix("notify.")
            if service in ("", PANEL):
                return Check(True, wire.clean(said))
            services = self._get(wire, "/api/services", MANY_SERVICES)
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if services.status != 200:
            return Check(False, wire.reason(_failure(services)))
        if service not in _notify_services(services):
            return Check(False, _("There is no service notify.%s.") % service)
        return Check(True, wire.clean(said + " " + _("notify.%s is there.") % service))

    def _notify(
        self,
        wire: Wire,
        message: Message,
        service: str,
        receiver: str,
        notification: dict[str, Any],
    ) -> Outcome:
        if service == PANEL:
            path = f"/api/services/{PANEL}/create"
        else:
            path = f"/api/services/notify/{service}"
            if service == ENTITIES:
                notification["entity_id"] = receiver
            elif receiver:
                notification["target"] = [receiver]
        reply = wire.post(f"{self.api_base}{path}", notification, self._headers())
        # A list of the states that changed, mostly none.
        if reply.status == 200 and isinstance(reply.json(), list):
            return Outcome.delivered()
        has_failed_before = reply.status == 500 and message.number > 1
        return _failure(reply, SERVICE_FAILED if has_failed_before else None)

    def _get(self, wire: Wire, path: str, max_response: int = MAX_RESPONSE) -> Reply:
        url = f"{self.api_base}{path}"
        return wire.call("GET", url, self._headers(), max_response=max_response)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.config['token']}"}


def _notify_services(reply: Reply) -> list[str]:
    """Return the names of the notify services in a list of domains."""
    domains = reply.json()
    for domain in domains if isinstance(domains, list) else []:
        if isinstance(domain, dict) and domain.get("domain") == "notify":
            services = domain.get("services")
            return list(services) if isinstance(services, dict) else []
    return []


def _failure(reply: Reply, meaning: Meaning | None = None) -> Outcome:
    """Return what a reply means that is not a success; by its status, if not said otherwise."""
    body = reply.json()
    words = body.get("message") if isinstance(body, dict) else None
    detail = words if isinstance(words, str) else ""
    return outcome_of(reply, meaning, detail)
