"""Where people talk: Slack, Discord, Feishu, DingTalk, Telegram, Meta, WeCom, Microsoft, Zoom."""

from dataclasses import replace
from types import MappingProxyType

from django.utils.translation import gettext_lazy as _

from .record import (
    Encoding,
    Encryption,
    EventName,
    Greets,
    Handshake,
    Key,
    Preset,
    Scheme,
    Timestamp,
)

# Where the vendor names no window, it is as long as ids are remembered: nothing can be replayed.
ONE_HOUR = 3600

# https://discord.com/developers/docs/interactions/receiving-and-responding
DISCORD_INTERACTIONS = MappingProxyType(
    {
        "1": "ping",
        "2": "application_command",
        "3": "message_component",
        "4": "application_command_autocomplete",
        "5": "modal_submit",
    }
)

# https://core.telegram.org/bots/api#update
TELEGRAM_UPDATES = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
)

# A post without changes carries what people wrote to a page (Messenger, Instagram).
META_MESSAGING = MappingProxyType({"page": "messaging", "instagram": "messaging"})

META = Preset(
    name="meta",
    label=_("Meta (Facebook, Instagram, Messenger)"),
    scheme=Scheme.HMAC,
    header="x-hub-signature-256",
    docs="https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
    # GitHub's header; Meta's programs call themselves facebookexternalua or facebookplatform.
    recognised_by=("x-hub-signature-256", "user-agent"),
    recognised_without=("x-github-event",),
    recognised_values=MappingProxyType({"user-agent": "facebook"}),
    prefix="sha256=",
    # A post is a batch and has no id of its own.
    event=(
        EventName(body="entry.0.changes.0.field"),
        EventName(
            body="object",
            spellings=MappingProxyType({"page": "messaging", "instagram": "messaging"}),
        ),
    ),
    handshake=Handshake(Greets.META, methods=("GET",), unsigned=True),
    secret_parts=("app secret", "verify token"),
    repeats=True,
    setup=_("App dashboard → Webhooks: callback URL and a verify token of your choice."),
)

FEISHU = Preset(
    name="feishu",
    label=_("Feishu / Lark, with an Encrypt Key"),
    scheme=Scheme.HASH,
    header="x-lark-signature",
    docs="https://open.feishu.cn/document/server-docs/event-subscription-guide/event-subscription-configure-/request-url-configuration-case",
    timestamp=Timestamp("x-lark-request-timestamp", tolerance=ONE_HOUR),
    signed="{timestamp}{nonce}{secret}{body}",
    nonce_header="x-lark-request-nonce",
    encryption=Encryption.FEISHU,
    secret_parts=("Encrypt Key", "Verification Token"),
    event=(EventName(body="header.event_type"), EventName(body="event.type")),
    id_paths=("header.event_id", "uuid"),
    handshake=Handshake(Greets.FEISHU, unsigned=True),
    waits=3,
    repeats=True,
    retries=_("after 15 s, 5 min, 1 h, 6 h"),
    setup=_(
        "Events & callbacks → Encryption strategy shows both; then enter the request URL. The "
        "Verification Token may be left out."
    ),
)

MESSENGERS = (
    Preset(
        name="slack",
        label="Slack",
        scheme=Scheme.HMAC,
        header="x-slack-signature",
        docs="https://docs.slack.dev/authentication/verifying-requests-from-slack/",
        prefix="v0=",
        timestamp=Timestamp("x-slack-request-timestamp"),
        signed="v0:{timestamp}:{body}",
        # An event, a slash command, an interaction.
        event=(EventName(body="event.type"), EventName(body="command"), EventName(body="type")),
        id_paths=("event_id",),
        handshake=Handshake(Greets.CHALLENGE),
        waits=3,
        repeats=True,
        retries=_("3: at once, after 1 min, after 5 min"),
        setup=_(
            "Your app → Basic Information → Signing Secret; the address under Event "
            "Subscriptions, Slash Commands or Interactivity."
        ),
    ),
    Preset(
        name="discord",
        label="Discord",
        scheme=Scheme.ED25519,
        header="x-signature-ed25519",
        docs="https://docs.discord.com/developers/interactions/overview",
        timestamp=Timestamp("x-signature-timestamp"),
        signed="{timestamp}{body}",
        key=Key.HEX,
        event=(
            EventName(body="event.type"),
            EventName(body="type", spellings=DISCORD_INTERACTIONS),
        ),
        id_paths=("id",),
        handshake=Handshake(Greets.DISCORD),
        waits=3,
        repeats=False,
        note=_("Discord shows a person its own error where an interaction is not answered in 3 s."),
        setup=_("Developer portal → your app: the secret of the route is the Public Key."),
    ),
    FEISHU,
    replace(
        FEISHU,
        name="feishu_token",
        label=_("Feishu / Lark, Verification Token only"),
        scheme=Scheme.TOKEN,
        header="",
        auto=False,
        paths=("header.token", "token"),
        timestamp=None,
        signed="{body}",
        nonce_header="",
        encryption=None,
        secret_parts=(),
        note=_("Without an Encrypt Key nothing is signed: the body is not protected."),
        setup=_("Events & callbacks → Encryption strategy: the secret is the Verification Token."),
    ),
    Preset(
        name="dingtalk",
        label=_("DingTalk robot"),
        scheme=Scheme.HMAC,
        header="sign",
        docs="https://open.dingtalk.com/document/orgapp/receive-message",
        recognised_by=("sign", "timestamp"),
        encoding=Encoding.BASE64,
        timestamp=Timestamp("timestamp", per_second=1000, tolerance=ONE_HOUR),
        signed="{timestamp}\n{secret}",
        event=(EventName(body="msgtype"),),
        id_paths=("msgId",),
        note=_("Only the time is signed: within the hour, a signature fits any body."),
        setup=_("Robot → message receiving mode HTTP; the secret is the app's AppSecret."),
    ),
    Preset(
        name="telegram",
        label="Telegram",
        scheme=Scheme.TOKEN,
        header="x-telegram-bot-api-secret-token",
        docs="https://core.telegram.org/bots/api#setwebhook",
        event=(EventName(keys=TELEGRAM_UPDATES),),
        id_paths=("update_id",),
        repeats=True,
        note=_("The header is the secret: the body is not protected."),
        setup=_("Call setWebhook with url, and the secret as secret_token (A-Z a-z 0-9 _ -)."),
    ),
    META,
    replace(
        META,
        name="whatsapp",
        label=_("WhatsApp Business (Meta)"),
        docs="https://developers.facebook.com/docs/whatsapp/cloud-api/guides/set-up-webhooks",
        auto=False,
        setup=_("App dashboard → WhatsApp → Configuration: callback URL and verify token."),
    ),
    Preset(
        name="wecom",
        label=_("WeCom"),
        scheme=Scheme.HASH,
        header="",
        docs="https://developer.work.weixin.qq.com/document/path/90238",
        auto=False,
        algorithm="sha1",
        query="msg_signature",
        timestamp=Timestamp(query="timestamp", tolerance=ONE_HOUR),
        signed="{secret}{timestamp}{nonce}{encrypted}",
        signed_sorted=True,
        nonce_query="nonce",
        encryption=Encryption.WECOM,
        xml=True,
        secret_parts=("Token", "EncodingAESKey", "CorpID"),
        # An event's own name, else what kind of message it is.
        event=(EventName(body="Event"), EventName(body="MsgType")),
        id_paths=("MsgId",),
        handshake=Handshake(Greets.WECOM, methods=("GET",), unsigned=True),
        waits=5,
        repeats=True,
        retries="3",
        setup=_(
            "Your app → Receive messages → API: URL, Token and EncodingAESKey. The CorpID may be "
            "left out; with it, messages for another company are refused."
        ),
    ),
    Preset(
        name="microsoft_graph",
        label=_("Microsoft Graph (Teams, Outlook, SharePoint)"),
        scheme=Scheme.TOKEN,
        header="",
        docs="https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks",
        auto=False,
        paths=("value.*.clientState",),
        # A post is a batch and has no id of its own.
        event=(EventName(body="value.0.changeType"),),
        handshake=Handshake(Greets.MICROSOFT_GRAPH, methods=("POST", "GET"), unsigned=True),
        waits=10,
        repeats=True,
        retries=_("for up to 4 h"),
        note=_("clientState is the secret, in clear and in the body: the body is not protected."),
        setup=_("Create a subscription with notificationUrl, and the secret as clientState."),
    ),
    Preset(
        name="zoom",
        label="Zoom",
        scheme=Scheme.HMAC,
        header="x-zm-signature",
        docs="https://developers.zoom.us/docs/api/webhooks/",
        prefix="v0=",
        timestamp=Timestamp("x-zm-request-timestamp"),
        signed="v0:{timestamp}:{body}",
        event=(EventName(body="event"),),
        # Signed as all else: answering anybody would sign whatever they like.
        handshake=Handshake(Greets.ZOOM),
        waits=3,
        repeats=True,
        retries=_("3 over about 2 h"),
        setup=_("Your app → Features → Event Subscriptions: the secret is the Secret Token."),
    ),
)
