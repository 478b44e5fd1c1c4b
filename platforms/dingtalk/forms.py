"""What a DingTalk channel asks for."""

import re
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from platforms.fields import ApiBaseField, SecretField

from .robot import RobotURLField

TO_THE_ROBOT = "robot"  # a target: the group of the custom robot
CONVERSATION = re.compile(r"cid[A-Za-z0-9+/=_-]{10,200}", re.ASCII)
PERSON = re.compile(r"user:([\w.$:@-]{1,128})", re.ASCII)


class ConfigForm(forms.Form):
    client_id = forms.CharField(
        label=gettext_lazy("Client ID (AppKey)"),
        required=False,
        validators=[
            RegexValidator(
                r"\A[\w.-]{1,128}\Z", gettext_lazy("A client ID looks like ding1a2b3c….")
            )
        ],
    )
    client_secret = SecretField(
        label=gettext_lazy("Client secret (AppSecret)"),
        required=False,
        help_text=gettext_lazy("Of the app in DingTalk's developer console."),
    )
    robot_code = forms.CharField(
        label=gettext_lazy("Robot code"),
        required=False,
        validators=[RegexValidator(r"\A[\w.-]{1,128}\Z", gettext_lazy("This is no robot code."))],
        help_text=gettext_lazy("Empty: the client ID, or what came with a message."),
    )
    stream = forms.BooleanField(
        label=gettext_lazy("Receive messages"),
        required=False,
        initial=True,
        help_text=gettext_lazy(
            "By Stream Mode. DingTalk gives each message to one of the connections of an "
            "app: switch it off while another program listens for the same app."
        ),
    )
    nudge = forms.BooleanField(
        label=gettext_lazy("Ask people to write"),
        required=False,
        help_text=gettext_lazy(
            "Before a session webhook ends, ask in its chat for a reply, which renews it."
        ),
    )
    robot_url = RobotURLField(
        label=gettext_lazy("Group robot's webhook address"),
        required=False,
        help_text=gettext_lazy("Of a custom robot, for its one group. It can only send."),
    )
    robot_secret = SecretField(
        label=gettext_lazy("Group robot's signing secret"),
        required=False,
        help_text=gettext_lazy("SEC…, if its security settings ask for a signature."),
    )
    robot_keyword = forms.CharField(
        label=gettext_lazy("Group robot's keyword"),
        required=False,
        max_length=100,
        help_text=gettext_lazy("If its security settings ask for one; added where missing."),
    )
    last_resort = forms.BooleanField(
        label=gettext_lazy("Group robot as last resort"),
        required=False,
        help_text=gettext_lazy(
            "What reaches its own chat by no road is said in the robot's group, where "
            "everybody there reads it."
        ),
    )
    api_base = ApiBaseField()

    def clean(self) -> dict[str, Any]:
        """Ask for the ID that a secret is of."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("client_secret") and cleaned.get("client_id") == "":
            self.add_error("client_id", _("Enter the ID of the app that the secret is of."))
        return cleaned


class HomeForm(forms.Form):
    chat_id = forms.CharField(
        label=gettext_lazy("Chat"),
        required=False,
        validators=[
            RegexValidator(
                rf"\A(?:{CONVERSATION.pattern}|{PERSON.pattern}|{TO_THE_ROBOT})\Z",
                gettext_lazy("A chat is cid…, a person user:ID, the robot's group robot."),
                flags=re.ASCII,
            )
        ],
        help_text=gettext_lazy(
            "Where messages go when a route names no chat_id: cid… (see the sessions of this "
            "page), user:ID of a member, or robot for the group robot's group."
        ),
    )
