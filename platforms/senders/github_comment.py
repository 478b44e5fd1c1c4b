"""GitHub comment: one comment on a pull request or an issue.

https://docs.github.com/en/rest/issues/comments#create-an-issue-comment
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError, Reply
from deliveries.outcomes import Message, Outcome, Verdict
from platforms import github_login
from platforms.fields import ApiBaseField, SecretField
from platforms.markup import defuse_mentions
from platforms.parts import send_parts
from platforms.replies import (
    BAD_REPLY,
    FORBIDDEN,
    RATE_LIMITED,
    REFUSED,
    UNAUTHORIZED,
    Meaning,
    meaning_of,
    outcome_of,
    retry_after,
    unreached,
)
from platforms.sender import Check, Sender
from platforms.splitting import sendable, split
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import Wire

LIMIT = 65_536  # characters of a comment
MARKER_ROOM = 80  # for "\n\n<!-- delivery:<36 characters>:<part> -->"
REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100}")
NUMBER = re.compile(r"[1-9]\d{0,9}", re.ASCII)
PAGE = 100  # comments
PAGES = 3
LONG = 8_388_608  # bytes: a page of comments of the greatest length
CLOCKS_DIFFER = timedelta(minutes=5)
# "Wait at least one minute", and longer each time: docs.github.com, best practices for REST.
SECONDARY_WAIT = 60.0

LOCKED = Meaning(Verdict.FAILED, "locked")


class GitHubComment(Sender):
    """Posts with a marker by which a repeat finds what has arrived already."""

    kind = "github_comment"
    label = gettext_lazy("GitHub comment")
    summary = gettext_lazy("Comments on the pull request or issue that a payload names.")
    check_calls = gettext_lazy(
        "The token's account is read, and the default repository. Nothing is posted."
    )
    max_length = LIMIT - MARKER_ROOM
    default_api_base = "https://api.github.com"
    of_stored = ("use_login",)

    class Config(forms.Form):
        token = SecretField(
            label=gettext_lazy("Token"),
            required=False,
            help_text=gettext_lazy(
                "A personal access token with “Issues: write” or “Pull requests: write”. Empty: "
                "GH_TOKEN or GITHUB_TOKEN of the gateway's environment, else the login of the "
                "gh command."
            ),
        )
        use_login = forms.BooleanField(
            label=gettext_lazy("Forget a stored token and use this machine's login"),
            required=False,
        )
        defuse_mentions = forms.BooleanField(
            label=gettext_lazy("Defuse @mentions"),
            required=False,
            initial=True,
            help_text=gettext_lazy("@names in the text call nobody. Payloads are not trusted."),
        )
        api_base = ApiBaseField(
            help_text=gettext_lazy(
                "GitHub Enterprise Server: https://HOST/api/v3. Empty: api.github.com. The token "
                "goes there."
            )
        )

    class Home(forms.Form):
        repo = forms.CharField(
            label=gettext_lazy("Repository"),
            required=False,
            validators=[
                RegexValidator(
                    rf"\A{REPO.pattern}\Z", gettext_lazy("A repository is written owner/name.")
                )
            ],
            help_text=gettext_lazy("owner/name, for routes that name no repo."),
        )

    def send(self, message: Message) -> Outcome:
        """Comment on the pull request or issue of the target, in parts if the text is long."""
        place = self._place(message)
        if isinstance(place, Outcome):
            return place
        text = message.text
        if self.config.get("defuse_mentions", True):
            text = defuse_mentions(text)
        parts = split(text, self.max_length)
        if not parts:
            return no_text()
        wire = Wire(self)
        if not self._token():
            return _no_token()
        there: dict[int, str] = {}
        if message.retrying:
            # GitHub knows no idempotency key, so what has arrived is looked up by its marker.
            looked_up = self._arrived(wire, message, place)
            if isinstance(looked_up, Outcome):
                return wire.record(looked_up)
            there = looked_up

        def send_part(number: int, text: str) -> Outcome:
            if number in there:
                return Outcome.delivered(provider_ids={"html_url": there[number]})
            body = {"body": f"{text}\n\n{_marker(message, number)}"}
            return self._posted(wire, self._call(wire, "POST", f"{place}/comments", body), message)

        return send_parts(wire, message, parts, send_part)

    def check(self) -> Check:
        """Read the token's account, and the default repository if there is one."""
        token = self._token()
        if not token:
            return Check(False, _no_token().error)
        wire = Wire(self)
        repo = value_of(self.home, "repo")
        found = _("The token is good.")
        try:
            # An installation's token has no account: docs.github.com, GET /user.
            if not token.startswith("ghs_"):
                user = self._call(wire, "GET", "/user")
                if user.status != 200:
                    return Check(False, wire.reason(self._failure(user)))
                found = _("Signed in as %s.") % wire.clean(_text(user, "login"))
            if not repo:
                return Check(True, found)
            answer = self._call(wire, "GET", f"/repos/{repo}")
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if answer.status != 200:
            why = wire.reason(self._failure(answer))
            return Check(False, found + " " + _("%(repo)s: %(why)s") % {"repo": repo, "why": why})
        return Check(True, found + " " + _("%s can be read.") % repo)

    def secrets(self) -> tuple[str, ...]:
        """Return the token in use, wherever it comes from."""
        return tuple({*super().secrets(), self._token()} - {""})

    @classmethod
    def prepare_config(
        cls, stored: Mapping[str, Any], cleaned: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what to store: no token when the machine's login is to be used."""
        config = super().prepare_config(stored, cleaned)
        if config.pop("use_login", False) and not cleaned.get("token"):
            config.pop("token", None)
        return config

    def _token(self) -> str:
        return str(self.config.get("token") or github_login.token(self._enterprise_host()))

    def _enterprise_host(self) -> str:
        """Return the host that the channel names itself: only that one's login may go there."""
        return github_login.host_of(str(self.config.get("api_base") or ""))

    def _place(self, message: Message) -> str | Outcome:
        """Return the path of the issue; a failure if none is named."""
        repo = value_of(message.target, "repo") or value_of(self.home, "repo")
        if not repo:
            return no_destination("repo")
        if not REPO.fullmatch(repo):
            return bad_target("repo", repo)
        number = value_of(message.target, "pr_number")
        if not number:
            # No fault of the channel: a number has no home, it is each payload's own.
            return Outcome.failed("no_destination", _("The route gives no pr_number."))
        if not NUMBER.fullmatch(number):
            return bad_target("pr_number", number)
        return f"/repos/{repo}/issues/{number}"

    def _arrived(self, wire: Wire, message: Message, place: str) -> dict[int, str] | Outcome:
        """Return the addresses of this delivery's comments by part; why not, if it is unknown."""
        found: dict[int, str] = {}
        since = (message.created_at - CLOCKS_DIFFER).astimezone(UTC)
        for page in range(1, PAGES + 1):
            query = urlencode(
                {"since": since.strftime("%Y-%m-%dT%H:%M:%SZ"), "per_page": PAGE, "page": page}
            )
            try:
                reply = self._call(wire, "GET", f"{place}/comments?{query}")
            except OutboundError as error:
                return unreached(error)
            if reply.status != 200:
                return self._failure(reply, message.number)
            comments = reply.json()
            if not isinstance(comments, list):
                return outcome_of(reply, BAD_REPLY)
            found |= _marked(comments, message)
            if len(comments) < PAGE:
                break
        return found

    def _posted(self, wire: Wire, reply: Reply, message: Message) -> Outcome:
        if reply.status != 201:
            return self._failure(reply, message.number)
        address = wire.clean(_text(reply, "html_url"))
        return Outcome.delivered(provider_ids={"html_url": address})

    def _call(
        self, wire: Wire, method: str, path: str, document: Mapping[str, Any] | None = None
    ) -> Reply:
        headers = {
            "Authorization": f"Bearer {self._token()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        url = f"{self.api_base}{path}"
        if document is not None:
            return wire.post(url, document, headers)
        return wire.call(method, url, headers, max_response=LONG)

    def _failure(self, reply: Reply, tries: int = 1) -> Outcome:
        """Return what a reply means that is not a success."""
        words = _text(reply, "message")
        meaning = _meaning(reply, words.lower())
        if meaning is UNAUTHORIZED:
            github_login.forget()
        wait = _wait(reply, tries) if meaning is RATE_LIMITED else None
        return outcome_of(reply, meaning, words, wait=wait)


def _meaning(reply: Reply, words: str) -> Meaning:
    match reply.status:
        case 403 if "locked" in words:
            return LOCKED
        case 403 if "retry-after" in reply.headers or _is_spent(reply) or _is_secondary(words):
            return RATE_LIMITED
        case 403:
            return FORBIDDEN
        case 422 if "submitted too quickly" in words:
            return RATE_LIMITED
        case 422:
            return REFUSED
    return meaning_of(reply.status)


def _is_secondary(words: str) -> bool:
    return "secondary rate limit" in words or "abuse" in words


def _is_spent(reply: Reply) -> bool:
    return reply.headers.get("x-ratelimit-remaining", "") == "0"


def _wait(reply: Reply, tries: int) -> float:
    """Return the seconds to wait, by the first that says: Retry-After, the reset, the rule."""
    # https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
    if (asked := retry_after(reply.headers)) is not None:
        return asked
    if _is_spent(reply):
        try:
            return float(reply.headers["x-ratelimit-reset"]) - time.time()
        except (KeyError, ValueError):
            pass
    return float(SECONDARY_WAIT * 2 ** min(tries - 1, 6))


def _marker(message: Message, number: int) -> str:
    return f"<!-- delivery:{message.id}:{number} -->"


def _marked(comments: list[Any], message: Message) -> dict[int, str]:
    """Return the addresses of the comments that end in this delivery's marker, by part."""
    marker = re.compile(rf"<!-- delivery:{message.id}:(\d{{1,2}}) -->\s*\Z")
    found = {}
    for comment in comments:
        if isinstance(comment, dict) and (part := marker.search(str(comment.get("body")))):
            found[int(part[1])] = sendable(str(comment.get("html_url", "")))
    return found


def _text(reply: Reply, name: str) -> str:
    """Return a text of the reply's JSON; empty if it has none."""
    body = reply.json()
    value = body.get(name) if isinstance(body, dict) else ""
    return value if isinstance(value, str) else ""


def _no_token() -> Outcome:
    return Outcome.failed(
        "unauthorized",
        _("The channel has no token, and this machine no GitHub login (gh auth login)."),
        faults_channel=True,
    )
