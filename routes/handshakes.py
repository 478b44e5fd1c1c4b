"""Set-up requests: what a sender asks to see that the address is ours (facts/sources.md §2).

Nothing here wakes anybody or writes anything. What is echoed is bounded and of the type that the
source documents, and never HTML.
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from urllib.parse import parse_qsl

import orjson

from .parsing import Unparseable, parse_body
from .presets.record import Greets, Preset
from .signatures import Address, Refused, Verified
from .signatures.asked import in_text
from .signatures.encryption import Undecipherable, hidden_text, opened
from .signatures.judging import Judge
from .signatures.keys import key_of, parts_of

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

_MAX_PARAMETERS = 20
# What the sources document as a challenge or a token, and some room.
_CHALLENGE = re.compile(r"[\x20-\x7e]{1,512}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_.=+/~-]{1,255}", re.ASCII)
# No colon: Zoom's token must never be a text that its requests are signed with.
_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_NEW_SECRET = re.compile(r"[A-Za-z0-9_.=+/~-]{16,255}", re.ASCII)
_ORIGIN = re.compile(r"[A-Za-z0-9_.*:-]{1,255}", re.ASCII)
_RATE = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Greeting:
    """The answer to a set-up request.

    ``new_secret`` is the secret that the sender has just told, for a route that has none: to be
    kept only where the operator waits for it (whoever asks first could tell one).
    """

    status: int = 200
    body: bytes = b""
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)
    new_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class _Hello:
    """One request, as the handshakes look at it."""

    preset: Preset
    secrets: Sequence[str]
    method: str
    query: Mapping[str, str]
    raw_query: str
    headers: Mapping[str, str]
    payload: object
    verified: Verified | None
    now: float
    rate_limit: int

    def text(self, name: str) -> str:
        """Return a text of the body, "" where there is none."""
        found = self.payload.get(name) if isinstance(self.payload, dict) else None
        return found if isinstance(found, str) else ""


def greet(
    preset: Preset,
    secrets: Sequence[str],
    method: str,
    query: str,
    headers: Mapping[str, str],
    payload: object,
    verified: Verified | None,
    *,
    now: float,
    rate_limit: int = 0,
) -> Greeting | Refused | None:
    """Answer a set-up request; None for any other, which then goes its usual way.

    ``query`` is the URL's, still encoded; ``payload`` the parsed body, None where it can't be
    parsed (some of these requests have none); ``verified`` what the signature came to, None
    where it was not judged yet, as for a handshake that is ``unsigned``. ``now`` is unix time,
    ``rate_limit`` requests a minute, 0 for no limit. Refused: somebody asked who does not know
    the secret. Never raises for anything a sender can send.
    """
    handshake = preset.handshake
    if handshake is None or method not in handshake.methods:
        return None
    if verified is None and not handshake.unsigned:
        return None
    hello = _Hello(
        preset, secrets, method, _parameters(query), query, headers, payload, verified, now,
        rate_limit,
    )  # fmt: skip
    return _ANSWERS[handshake.kind](hello)


Answer = Greeting | Refused | None


def _challenge(hello: _Hello) -> Answer:
    """https://docs.slack.dev/reference/events/url_verification."""
    challenge = hello.text("challenge")
    if hello.text("type") != "url_verification" or not _CHALLENGE.fullmatch(challenge):
        return None
    return _json({"challenge": challenge})


def _feishu(hello: _Hello) -> Answer:
    """As Slack's, but unsigned: knowing the Encrypt Key or the Verification Token proves it."""
    if hello.verified is None and hello.headers.get(hello.preset.header):
        return None  # an event, whose signature is to be judged
    kind = hello.preset.encryption
    hidden = hidden_text(kind, hello.payload) if kind else ""
    for secret in hello.secrets:
        parts = parts_of(hello.preset, secret)
        payload = hello.payload
        if kind and hidden:
            try:
                payload = parse_body(opened(kind, hidden, parts), JSON)
            except (Undecipherable, Unparseable):
                continue
        said = payload if isinstance(payload, dict) else {}
        challenge, token = said.get("challenge"), said.get("token")
        if said.get("type") != "url_verification" or not isinstance(challenge, str):
            continue
        if not _CHALLENGE.fullmatch(challenge):
            return None
        # With an Encrypt Key the token is the second piece, and may be left out.
        expected = parts[-1] if not kind or len(parts) > 1 else ""
        named = isinstance(token, str) and _same(token, expected)
        if named or ((hidden or hello.verified) and not expected):
            return _json({"challenge": challenge})
    if hello.text("type") == "url_verification":
        return _stranger("The Verification Token is not the one in the route's secret.")
    return None


def _zoom(hello: _Hello) -> Answer:
    """https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint."""
    if hello.text("event") != "endpoint.url_validation" or hello.verified is None:
        return None
    inner = hello.payload.get("payload") if isinstance(hello.payload, dict) else None
    token = inner.get("plainToken") if isinstance(inner, dict) else None
    if not isinstance(token, str) or not _PLAIN_TOKEN.fullmatch(token):
        return _stranger("The plainToken of this validation is not one.")
    key = key_of(hello.preset, hello.verified.secret) or b""
    encrypted = hmac.digest(key, token.encode(), "sha256").hex()
    return _json({"plainToken": token, "encryptedToken": encrypted})


def _discord(hello: _Hello) -> Answer:
    """Interactions ping with type 1, webhook events with type 0 (their type 1 has an event)."""
    if not isinstance(hello.payload, dict):
        return None
    kind = hello.payload.get("type")
    if isinstance(kind, bool) or "event" in hello.payload:
        return None
    if kind == 1:
        return _json({"type": 1})
    return Greeting(204) if kind == 0 else None


def _notion(hello: _Hello) -> Answer:
    """https://developers.notion.com/reference/webhooks: the first request tells the token."""
    token = hello.text("verification_token")
    if not token or not isinstance(hello.payload, dict) or len(hello.payload) > 1:
        return None
    return _told(hello, token, Greeting(200, _dumped({}), JSON))


def _asana(hello: _Hello) -> Answer:
    """https://developers.asana.com/docs/webhooks-guide#the-webhook-handshake."""
    secret = hello.headers.get("x-hook-secret", "")
    if not secret or hello.headers.get(hello.preset.header):
        return None
    return _told(hello, secret, Greeting(200, headers={"X-Hook-Secret": secret}))


def _told(hello: _Hello, secret: str, answer: Greeting) -> Answer:
    """Answer a sender that tells the secret: a route that has one takes no other."""
    if any(_same(secret, own) for own in hello.secrets):
        return answer
    if hello.secrets:
        return Refused(
            "has_secret",
            "The sender tells a new secret, but the route has one already. If you set the sender "
            "up anew, choose “Wait for a new secret” on the route's page and let the sender "
            "repeat this.",
        )
    if not _NEW_SECRET.fullmatch(secret):
        return _stranger("The sender tells a secret that is too short or too odd to be one.")
    return Greeting(answer.status, answer.body, answer.content_type, answer.headers, secret)


def _meta(hello: _Hello) -> Answer:
    """https://developers.facebook.com/docs/graph-api/webhooks/getting-started."""
    challenge = hello.query.get("hub.challenge", "")
    if hello.query.get("hub.mode") != "subscribe" or not _WORD.fullmatch(challenge):
        return None
    token = hello.query.get("hub.verify_token", "")
    # The verify token is the second piece of the secret, or the whole of one.
    if any(_same(token, parts_of(hello.preset, one)[-1]) for one in hello.secrets):
        return _text(challenge)
    return _stranger("hub.verify_token is not the one in the route's secret.")


def _microsoft_graph(hello: _Hello) -> Answer:
    """https://learn.microsoft.com/graph/change-notifications-delivery-webhooks."""
    token = hello.query.get("validationToken", "")
    return _text(token) if _CHALLENGE.fullmatch(token) else None


def _dropbox(hello: _Hello) -> Answer:
    """https://www.dropbox.com/developers/reference/webhooks#verification."""
    challenge = hello.query.get("challenge", "")
    return _text(challenge) if _WORD.fullmatch(challenge) else None


def _wecom(hello: _Hello) -> Answer:
    """https://developer.work.weixin.qq.com/document/path/90238: the echo, decrypted."""
    kind, hidden = hello.preset.encryption, hello.query.get("echostr", "")
    if kind is None or not hidden:
        return None
    # The same signature as a message's, with the echo in the place of the encrypted body.
    body = f"<xml><Encrypt>{hidden}</Encrypt></xml>".encode()
    if not _WORD.fullmatch(hidden[:255]) or "<" in hidden:
        return None
    at = Address(hello.method, "", hello.raw_query)
    found = Judge(hello.preset, hello.secrets).judge(hello.headers, body, hello.now, at)
    if isinstance(found, Refused):
        return found
    echo = (found.body or b"").decode("ascii", "replace")
    return _text(echo) if _CHALLENGE.fullmatch(echo) else None


def _cloudevents(hello: _Hello) -> Answer:
    """https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md#4-abuse-protection.

    The callback that a sender may offer is not called: the answer itself is the permission.
    """
    origin = hello.headers.get("webhook-request-origin", "")
    if not _ORIGIN.fullmatch(origin):
        return None
    headers = {"Allow": "POST, OPTIONS", "WebHook-Allowed-Origin": origin}
    wanted = hello.headers.get("webhook-request-rate", "")
    if _RATE.fullmatch(wanted):
        rate = min(int(wanted), hello.rate_limit) if hello.rate_limit else int(wanted)
        headers["WebHook-Allowed-Rate"] = str(rate)
    return Greeting(200, headers=headers)


_ANSWERS: Mapping[Greets, Callable[[_Hello], Answer]] = {
    Greets.CHALLENGE: _challenge,
    Greets.FEISHU: _feishu,
    Greets.ZOOM: _zoom,
    Greets.DISCORD: _discord,
    Greets.NOTION: _notion,
    Greets.META: _meta,
    Greets.MICROSOFT_GRAPH: _microsoft_graph,
    Greets.DROPBOX: _dropbox,
    Greets.ASANA: _asana,
    Greets.WECOM: _wecom,
    Greets.CLOUDEVENTS: _cloudevents,
}


def _parameters(query: str) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS))
    except ValueError:
        return {}


def _same(one: str, other: str) -> bool:
    return bool(other.strip()) and compare_digest(in_text(one), in_text(other))


def _stranger(explanation: str) -> Refused:
    return Refused("bad_handshake", explanation)


def _json(value: object) -> Greeting:
    return Greeting(200, _dumped(value), JSON)


def _text(value: str) -> Greeting:
    # No browser is to take the echo for a page.
    return Greeting(200, value.encode(), TEXT, {"X-Content-Type-Options": "nosniff"})


def _dumped(value: object) -> bytes:
    return orjson.dumps(value)
