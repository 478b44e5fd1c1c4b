"""Channels from the environment: a platform whose well-known variables are set has one.

The variables are those of hermes-agent (facts/hermes-agent.md §10), so that a copied home finds
its platforms. A channel made so is named after its platform, and its configuration carries a mark
that any form a person saves takes away: from then on it is theirs, and stays as they left it.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django import forms
from django.db import IntegrityError, transaction

from vault.redaction import redact

from .models import Channel
from .registry import senders
from .sender import Sender

logger = logging.getLogger(__name__)

#: The mark in a channel's configuration; no form of a sender has such a field.
MARK: Final = "from_environment"

# The fields of a sender's form by name, each with the variables that may hold it, first come.
Fields = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables of one platform.

    ``needed`` make a channel when all are set; without any, it is made for a route that names it.
    ``instead`` says what to do where the variables are of no use here.
    """

    kind: str
    needed: tuple[str, ...] = ()
    config: Fields = field(default_factory=dict)
    home: Fields = field(default_factory=dict)
    instead: str = ""


def _chat(platform: str, *more: str) -> Fields:
    """Return the usual home: a chat."""
    names = (platform, *more)
    return {"chat_id": tuple(f"{name}_HOME_CHANNEL" for name in names)}


_PLATFORMS: Final = (
    Variables("github_comment", config={"token": ("GH_TOKEN", "GITHUB_TOKEN")}),
    Variables(
        "telegram",
        ("TELEGRAM_BOT_TOKEN",),
        {"bot_token": ("TELEGRAM_BOT_TOKEN",)},
        {
            **_chat("TELEGRAM"),
            "message_thread_id": ("TELEGRAM_HOME_CHANNEL_THREAD_ID",),
        },
    ),
    Variables(
        "discord",
        ("DISCORD_BOT_TOKEN",),
        {"bot_token": ("DISCORD_BOT_TOKEN",)},
        {**_chat("DISCORD"), "thread_id": ("DISCORD_HOME_CHANNEL_THREAD_ID",)},
    ),
    Variables(
        "slack",
        ("SLACK_BOT_TOKEN",),
        {"bot_token": ("SLACK_BOT_TOKEN",)},
        {**_chat("SLACK"), "thread_id": ("SLACK_HOME_CHANNEL_THREAD_ID",)},
    ),
    Variables(
        "mattermost",
        ("MATTERMOST_URL", "MATTERMOST_TOKEN"),
        {"url": ("MATTERMOST_URL",), "token": ("MATTERMOST_TOKEN",)},
        {**_chat("MATTERMOST"), "thread_id": ("MATTERMOST_HOME_CHANNEL_THREAD_ID",)},
    ),
    Variables(
        "matrix",
        ("MATRIX_HOMESERVER", "MATRIX_ACCESS_TOKEN"),
        {"homeserver": ("MATRIX_HOMESERVER",), "access_token": ("MATRIX_ACCESS_TOKEN",)},
        {"chat_id": ("MATRIX_HOME_ROOM",)},
    ),
    Variables(
        "homeassistant",
        ("HASS_TOKEN",),
        {"url": ("HASS_URL",), "token": ("HASS_TOKEN",)},
    ),
    Variables(
        "email",
        ("EMAIL_ADDRESS", "EMAIL_PASSWORD", "EMAIL_SMTP_HOST"),
        {
            "address": ("EMAIL_ADDRESS",),
            "password": ("EMAIL_PASSWORD",),
            "smtp_host": ("EMAIL_SMTP_HOST",),
            "smtp_port": ("EMAIL_SMTP_PORT",),
        },
        {"chat_id": ("EMAIL_HOME_ADDRESS",)},
    ),
    Variables(
        "sms",
        ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER"),
        {
            "account_sid": ("TWILIO_ACCOUNT_SID",),
            "auth_token": ("TWILIO_AUTH_TOKEN",),
            "phone_number": ("TWILIO_PHONE_NUMBER",),
        },
        _chat("SMS"),
    ),
    Variables("whatsapp", home=_chat("WHATSAPP")),
    Variables(
        "signal",
        ("SIGNAL_HTTP_URL", "SIGNAL_ACCOUNT"),
        {"http_url": ("SIGNAL_HTTP_URL",), "account": ("SIGNAL_ACCOUNT",)},
        _chat("SIGNAL"),
    ),
    Variables(
        "dingtalk",
        ("DINGTALK_CLIENT_ID", "DINGTALK_CLIENT_SECRET"),
        {"client_id": ("DINGTALK_CLIENT_ID",), "client_secret": ("DINGTALK_CLIENT_SECRET",)},
        _chat("DINGTALK"),
    ),
    Variables(
        "feishu",
        ("FEISHU_APP_ID", "FEISHU_APP_SECRET"),
        {
            "app_id": ("FEISHU_APP_ID",),
            "app_secret": ("FEISHU_APP_SECRET",),
            "domain": ("FEISHU_DOMAIN",),
        },
        _chat("FEISHU"),
    ),
    Variables(
        "wecom",
        ("WECOM_BOT_ID", "WECOM_SECRET"),
        instead="they open the AI bot's socket, which Hermes does not speak; add a wecom channel "
        "with the key of a robot or the credentials of an app",
    ),
    Variables(
        "weixin",
        ("WEIXIN_ACCOUNT_ID", "WEIXIN_TOKEN"),
        instead="Hermes does not keep the login of a person's WeChat; add a webhook channel to a "
        "bridge that does, or a wecom channel",
    ),
    Variables(
        "bluebubbles",
        ("BLUEBUBBLES_SERVER_URL", "BLUEBUBBLES_PASSWORD"),
        {"server_url": ("BLUEBUBBLES_SERVER_URL",), "password": ("BLUEBUBBLES_PASSWORD",)},
        _chat("BLUEBUBBLES"),
    ),
    Variables(
        "qqbot",
        ("QQ_APP_ID", "QQ_CLIENT_SECRET"),
        {"app_id": ("QQ_APP_ID",), "client_secret": ("QQ_CLIENT_SECRET",)},
        _chat("QQBOT", "QQ"),
    ),
)


def platform_variables() -> Mapping[str, Variables]:
    """Return the variables of every platform by its kind."""
    return {one.kind: one for one in _PLATFORMS}


def is_from_environment(channel: Channel) -> bool:
    """Return whether the environment made a channel, and nobody has saved it since."""
    return bool((channel.readable_config() or {}).get(MARK))


def sync_home_channels(variables: Mapping[str, str], wanted: Collection[str] = ()) -> list[str]:
    """Create or change the channels that the variables describe; return what was left out, and why.

    ``wanted`` are the platforms that routes of the home deliver to. A channel whose variables are
    gone stays. One that a person made is never changed, and keeps another of its platform from
    being made, as ``deliver: <platform>`` means that one.
    """
    found = []
    for platform in _PLATFORMS:
        if platform.needed:
            asked = all(variables.get(name) for name in platform.needed)
        else:
            asked = platform.kind in wanted
        if not asked:
            continue
        if sender := senders().get(platform.kind):
            found += _sync(platform, sender, variables)
        elif platform.instead:
            found.append(_useless(platform))
    return found


def adopt_home_channels() -> list[str]:
    """Make the environment's channels the operator's own; return their names."""
    names = []
    for channel in Channel.objects.defer("config").order_by("name"):
        config = channel.readable_config() or {}
        if config.pop(MARK, False):
            channel.config = config
            channel.save(update_fields=["config"])
            names.append(channel.name)
    return names


def _sync(platform: Variables, sender: type[Sender], variables: Mapping[str, str]) -> list[str]:
    channels = Channel.objects.defer("config")
    channel = channels.filter(name=platform.kind).first()
    if channel is not None and (channel.kind != platform.kind or not is_from_environment(channel)):
        return []
    others = channels.filter(kind=platform.kind).exclude(name=platform.kind)
    if channel is None and (other := others.first()):
        if not platform.needed:
            return []
        names = ", ".join(platform.needed)
        return [f"{names}: there is a {platform.kind} channel already, “{other.name}”; left out"]
    if platform.instead:
        return [_useless(platform)]
    config = _Filled(sender.Config, platform.config, variables)
    if not config.is_valid:
        return [f"{fault}; the {platform.kind} channel is left out" for fault in config.faults()]
    home = _Filled(sender.Home, platform.home, variables)
    stored = {**sender.prepare_config({}, config.cleaned), MARK: True}
    place = {name: value for name, value in home.cleaned.items() if value not in ("", None)}
    _save(channel or Channel(name=platform.kind, kind=platform.kind), stored, place)
    return [f"{fault}; the {platform.kind} channel has no home" for fault in home.faults()]


def _useless(platform: Variables) -> str:
    return f"{', '.join(platform.needed)}: {platform.instead}"


def _save(channel: Channel, config: dict[str, Any], home: dict[str, Any]) -> None:
    if channel.pk and channel.readable_config() == config and channel.home == home:
        return
    channel.config, channel.home = config, home
    try:
        with transaction.atomic():
            if channel.pk:
                channel.save(update_fields=["config", "home"])
            else:
                channel.save()
                logger.info("channel %s: made of the environment's variables", channel.name)
    except IntegrityError:
        # Another process has read the same variables at this moment.
        logger.info("channel %s: another process made it", channel.name)


class _Filled:
    """A sender's form, filled in with variables."""

    def __init__(
        self, form: type[forms.Form], fields: Fields, variables: Mapping[str, str]
    ) -> None:
        self.sources = {
            name: next((one for one in names if variables.get(one)), names[0])
            for name, names in fields.items()
        }
        data = {name: field.initial for name, field in form.base_fields.items()}
        data |= {
            name: variables[source]
            for name, source in self.sources.items()
            if variables.get(source)
        }
        self.form = form({name: value for name, value in data.items() if value is not None})
        self.values = [variables[one] for one in self.sources.values() if variables.get(one)]
        self.is_valid = self.form.is_valid()
        self.cleaned: dict[str, Any] = self.form.cleaned_data

    def faults(self) -> Iterator[str]:
        """Yield what is wrong, each with the name of its variable and without its value."""
        for name, errors in self.form.errors.items():
            source = self.sources.get(name, name)
            yield f"{source}: {redact(' '.join(map(str, errors)), self.values)}"
