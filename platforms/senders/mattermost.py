"""Mattermost: posts by the REST API, or an incoming webhook.

https://developers.mattermost.com/api-documentation/#/operations/CreatePost
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from deliveries.retry_after import bounded
from platforms.fields import ApiBaseField, SecretField
from platforms.incoming import IncomingWebhookField, TokenOrWebhook, no_credential, refuse_both
from platforms.markup import defuse_mentions
from platforms.parts import send_parts
from platforms.places import Place, place_of
from platforms.replies import (
    BAD_REPLY,
    NOT_FOUND,
    RATE_LIMITED,
    REFUSED,
    UNAUTHORIZED,
    Meaning,
    meaning_of,
    outcome_of,
    retry_after,
)
from platforms.sender import Check
from platforms.splitting import split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import Wire

ID = re.compile(r"[a-z0-9]{26}")
PENDING_WAIT = 2.0  # seconds: the same post is being written at this moment

NO_RIGHTS = Meaning(Verdict.FAILED, "no_rights")
CHANNEL_GONE = Meaning(Verdict.FAILED, "chat_gone")
NO_THREAD = Meaning(Verdict.FAILED, "thread_not_found")
# A wait, not a failure: the post that was sent before this one is about to be there.
PENDING = Meaning(Verdict.RETRY, "rate_limited")
DISABLED = Meaning(Verdict.FAILED, "disabled", faults_channel=True)
WEBHOOK_GONE = Meaning(Verdict.FAILED, "webhook_gone", faults_channel=True)
# What has come to be of the channel, not of the message; the home's trouble is the channel's.
OF_THE_PLACE = frozenset(meaning.error_class for meaning in (NO_RIGHTS, CHANNEL_GONE, NOT_FOUND))

# By the beginning of the error's id: server/i18n/en.json of mattermost/mattermost.
IDS = (
    ("api.post.deduplicate_create_post.pending", PENDING),
    ("api.post.create_post.channel_root_id", NO_THREAD),
    ("api.post.create_post.root_id", NO_THREAD),
    ("api.post.create_post.town_square_read_only", NO_RIGHTS),
    ("api.post.create_post.can_not_post_to_deleted", CHANNEL_GONE),
    ("model.post.is_valid.", REFUSED),
    ("api.context.session_expired", UNAUTHORIZED),
    ("api.context.invalid_token", UNAUTHORIZED),
    ("web.incoming_webhook.disabled", DISABLED),
    ("web.incoming_webhook.invalid", WEBHOOK_GONE),
)


class Mattermost(TokenOrWebhook):
    """Posts Markdown as it is; a repeat within half a minute is recognised by the server."""

    kind = "mattermost"
    addresses = ("url",)
    label = "Mattermost"
    summary = gettext_lazy("Posts to a channel or a thread of a Mattermost server.")
    check_calls = gettext_lazy(
        "The token's account is read, and the home channel; a webhook is sent a post without a "
        "message, which it refuses. Nothing is posted."
    )
    max_length = 16_383
    token_name: ClassVar[str] = "token"  # noqa: S105  a name

    class Config(forms.Form):
        url = ApiBaseField(
            label=gettext_lazy("Server"),
            help_text=gettext_lazy(
                "The address of the server, such as https://chat.example.com. The token goes "
                "there. Not needed with a webhook."
            ),
        )
        token = SecretField(
            label=gettext_lazy("Access token"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{ID.pattern}\Z",
                    gettext_lazy("A token has 26 small letters and digits."),
                )
            ],
            help_text=gettext_lazy("Of a bot account, or a personal access token."),
        )
        webhook_url = IncomingWebhookField(
            path=r"(?:/.*)?/hooks/[a-z0-9]{26}",
            help_text=gettext_lazy("Instead of a token: https://…/hooks/…"),
        )
        defuse_mentions = forms.BooleanField(
            label=gettext_lazy("Defuse @mentions"),
            required=False,
            initial=True,
            help_text=gettext_lazy("@names in the text call nobody. Payloads are not trusted."),
        )

        def clean(self) -> dict[str, Any]:
            refuse_both(self.cleaned_data, "token")
            if self.cleaned_data.get("token") and not self.cleaned_data.get("url"):
                self.add_error("url", _("Enter the server that the token is for."))
            return self.cleaned_data

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("Channel"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{ID.pattern}\Z",
                    gettext_lazy("A channel's id has 26 small letters and digits."),
                )
            ],
            help_text=gettext_lazy("Its id, from “View Info”. A webhook has its own channel."),
        )
        thread_id = forms.CharField(
            label=gettext_lazy("Thread"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{ID.pattern}\Z",
                    gettext_lazy("A thread is the id of its first post."),
                )
            ],
        )

    @property
    def api_base(self) -> str:
        """Return the address of the server."""
        return str(self.config.get("url") or super().api_base)

    def send(self, message: Message) -> Outcome:
        """Post the text to the channel of the target or the home, in parts if it is long."""
        if not (self.webhook_url or (self.token and self.api_base)):
            return no_credential()
        place = place_of(message, self.home, "root_id")
        if not self.webhook_url and (problem := _problem(place)):
            return problem
        text = message.text
        if self.config.get("defuse_mentions", True):
            text = defuse_mentions(text)
        parts = split(text, self.max_length)
        if not parts:
            return no_text()
        wire = Wire(self)

        def send_part(number: int, text: str) -> Outcome:
            if self.webhook_url:
                return _of_webhook(wire.post(self.webhook_url, {"text": text}))
            outcome = self._post(wire, place, text, f"{message.id}:{number}")
            is_fault = place.is_home and outcome.error_class in OF_THE_PLACE
            return replace(outcome, faults_channel=True) if is_fault else outcome

        return send_parts(wire, message, parts, send_part)

    def check(self) -> Check:
        """Read the token's account and the home channel; post nothing to a webhook."""
        wire = Wire(self)
        if not (self.webhook_url or (self.token and self.api_base)):
            return Check(False, no_credential().error)
        try:
            if self.webhook_url:
                return self._checked_webhook(wire)
            me = self._call(wire, "GET", "/api/v4/users/me")
            name = _text(me, "username")
            if not (me.status == 200 and name):
                return Check(False, wire.reason(_failure(me)))
            found = wire.clean(_("Signed in as %s.") % name)
            home = value_of(self.home, "chat_id")
            if not home:
                return Check(True, found + " " + _("There is no home channel."))
            channel = self._call(wire, "GET", f"/api/v4/channels/{home}")
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if channel.status != 200 or not _text(channel, "id"):
            why = wire.reason(_failure(channel))
            return Check(False, found + " " + _("Its home channel cannot be used: %s") % why)
        name = _text(channel, "display_name") or home
        return Check(True, found + " " + wire.clean(_("The home channel is %s.") % name))

    def _post(self, wire: Wire, place: Place, text: str, key: str) -> Outcome:
        post = {"channel_id": place.chat, "message": text, "pending_post_id": key}
        if place.thread:
            post["root_id"] = place.thread
        reply = self._call(wire, "POST", "/api/v4/posts", post)
        post_id = _text(reply, "id")
        if reply.status == 201 and post_id:
            return Outcome.delivered(provider_ids={"post_id": post_id})
        return _failure(reply)

    def _checked_webhook(self, wire: Wire) -> Check:
        reply = wire.post(self.webhook_url, {})
        outcome = _of_webhook(reply)
        # An empty message is refused by a webhook that is there and switched on.
        if reply.status == 400 and outcome.error_class == REFUSED.error_class:
            return Check(True, _("The webhook is there."))
        return Check(False, wire.reason(outcome))

    def _call(
        self, wire: Wire, method: str, path: str, document: Mapping[str, Any] | None = None
    ) -> Reply:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.api_base}{path}"
        if document is not None:
            return wire.post(url, document, headers)
        return wire.call(method, url, headers)


def _problem(place: Place) -> Outcome | None:
    if not place.chat:
        return no_destination("chat_id")
    if not ID.fullmatch(place.chat):
        return bad_target("chat_id", place.chat)
    if place.thread and not ID.fullmatch(place.thread):
        return bad_target("thread_id", place.thread)
    return None


def _of_webhook(reply: Reply) -> Outcome:
    """Return what a webhook's answer means; "ok" as plain text is its success."""
    if reply.status == 200 and reply.text.strip() == "ok":
        return Outcome.delivered()
    words = (_text(reply, "message") or reply.text[:500]).lower()
    if reply.status == 404 or "invalid webhook" in words:
        return _failure(reply, WEBHOOK_GONE)
    return _failure(reply, DISABLED if reply.status == 403 else None)


def _failure(reply: Reply, meaning: Meaning | None = None) -> Outcome:
    """Return what a reply means that is not a success."""
    meaning = meaning or _meaning(reply)
    wait = None
    if meaning is PENDING:
        wait = PENDING_WAIT
    elif meaning is RATE_LIMITED and retry_after(reply.headers) is None:
        wait = _reset(reply)
    detail = " ".join(filter(None, (_text(reply, "id"), _text(reply, "message"))))
    return outcome_of(reply, meaning, detail, wait=wait)


def _meaning(reply: Reply) -> Meaning:
    if not 200 <= reply.status < 300:
        error = _text(reply, "id")
        for beginning, meaning in IDS:
            if error.startswith(beginning):
                return meaning
    match reply.status:
        case 403 if _text(reply, "id"):  # else it is a proxy that speaks
            return NO_RIGHTS
        case 501 if _text(reply, "id"):
            return DISABLED
    return BAD_REPLY if 200 <= reply.status < 300 else meaning_of(reply.status)


def _reset(reply: Reply) -> float | None:
    """Return the seconds until the server's limit is reset; None if it does not say."""
    try:
        return bounded(float(reply.headers.get("X-RateLimit-Reset", "")))
    except ValueError:
        return None


def _text(reply: Reply, name: str) -> str:
    """Return a text of the reply's JSON; empty if it has none."""
    body = reply.json()
    value = body.get(name) if isinstance(body, dict) else ""
    return value if isinstance(value, str) else ""
