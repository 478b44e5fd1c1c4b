"""Whatever is sent and whatever is configured: an answer, and nothing kept that was refused."""

import contextlib
import gzip
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries.models import Delivery, Event
from routes import greeting, refusals
from routes.inbound import JSON, Answer, Inbound, ReadFailed, TooLarge
from routes.models import Refusal, Route, RouteSecret
from routes.parsing import Unparseable, parse_body
from routes.presets import AUTO, Preset, presets
from routes.receive import handle
from routes.signatures import Address, Refused, Verifier, doctor, sign_request

from .keypairs import secret_pair
from .test_receive import signature

pytestmark = pytest.mark.django_db

SECRET = "canary-secret-of-the-route"
OTHER_PROCESS = 1.1  # seconds after which a change made elsewhere must count


def make_route(name: str = "r", secret: str = SECRET, **fields: Any) -> Route:
    route = Route.objects.create(name=name, **{"rate_limit": 0, **fields})
    if secret:
        RouteSecret.objects.create(route=route, value=secret)
    return route


def ask(
    body: bytes = b"{}",
    headers: Mapping[str, str] | None = None,
    *,
    route: str = "r",
    fault: type[Exception] | None = None,
    method: str = "POST",
    query: str = "",
) -> Answer:
    """Ask the receive path itself; the body is honestly signed where no headers are given."""
    if headers is None:
        headers = {"x-hub-signature-256": signature(body, SECRET)}

    async def read(limit: int) -> bytes:
        if fault:
            raise fault
        if len(body) > limit:
            raise TooLarge
        return body

    answer: Answer = async_to_sync(handle)(
        Inbound(method, route, headers, read, query, "192.0.2.1")
    )
    return answer


# -- Anything at all -----------------------------------------------------------------------

# Text as HTTP gives it: bytes, spelled as latin-1.
wire_text = st.binary(max_size=40).map(lambda raw: raw.decode("latin-1"))
header_names = st.sampled_from(
    sorted(
        {
            "content-length", "content-type", "x-request-id", "user-agent", "x-github-event",
            "x-gitlab-event", "x-gitlab-event-uuid", "idempotency-key", "authorization",
            "content-encoding", "x-hook-secret", "webhook-request-origin", "webhook-request-rate",
        }
        | {preset.header for preset in presets().values()}
        | {mark for preset in presets().values() for mark in preset.marks}
        | {name for preset in presets().values() for name in preset.id_headers}
        | {p.timestamp.header for p in presets().values() if p.timestamp}
    )
)  # fmt: skip
header_values = st.one_of(
    wire_text,
    st.integers().map(str),
    st.sampled_from(
        ["", "sha256=", "v1,", "9" * 5000, "²", "application/json", "a" * 9000, str(time.time()),
         "application/x-www-form-urlencoded", "Merge Request Hook", "ping", "push", "\x00", "\x85",
         "gzip", "deflate", "gzip, gzip", "br"]
    ),
)  # fmt: skip
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
    st.sampled_from(["\ud800", "a\0b", 10**400, -(2**63), "{number}", "ping", 1e308]),
)  # fmt: skip
keys = st.sampled_from(["number", "type", "event_type", "action", "object_kind", "", "\0", "a.b"])
payloads = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)


def encoded(payload: object, encoding: str, pad: bytes) -> bytes:
    return pad + json.dumps(payload).encode(encoding) + pad


bodies = st.one_of(
    st.builds(
        encoded, payloads, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
        st.sampled_from([b"", b" ", b"\n"]),
    ),
    st.builds(encoded, payloads, st.just("utf-8"), st.just(b"")),
    st.builds(encoded, st.dictionaries(keys, payloads), st.just("utf-8"), st.just(b"")),
    st.binary(max_size=80),
    st.builds(
        lambda depth, pad: pad + b"[" * depth + b"]" * depth,
        st.sampled_from([10, 900, 985, 995, 1010, 1024, 3000]),
        st.sampled_from([b"", b" "]),
    ),
    st.sampled_from(
        [b"payload=%7B%7D", b"payload=[", b"a=b&a=c", b"a=%ff", b"=", b"&" * 2000, b"<xml>",
         gzip.compress(b'{"number": 1}'), gzip.compress(b" " * 5_000_000), b"\x1f\x8b\x08",
         b'{"type": "url_verification", "challenge": "c", "token": "t"}', b'{"type": 1}',
         b'{"verification_token": "secret_of_somebody_else"}']
    ),
)  # fmt: skip
queries = st.one_of(
    st.just(""),
    wire_text,
    st.sampled_from(
        ["challenge=abc", "validationToken=%ff%00", "hub.mode=subscribe&hub.challenge=1", "&" * 99,
         "hub.mode=subscribe&hub.challenge=1&hub.verify_token=hermes-second", "echostr=a",
         "msg_signature=a&timestamp=1&nonce=n&echostr=b", "token=" + "9" * 9000]
    ),
)  # fmt: skip

SOURCES = (AUTO, *presets())
PAIRS = {name: secret_pair(preset) for name, preset in presets().items()} | {AUTO: (SECRET, SECRET)}
# What must not be seen anywhere; the pieces of a secret are secrets, too.
CANARIES = {piece for pair in PAIRS.values() for piece in pair[1].split(":") if len(piece) > 12}
TEMPLATES = {
    "prompt": "{number} {type} {__raw__} {a.b} {event_type}",
    "deliver_extra": {"chat_id": "{number}", "repo": "{type}", "raw": "{__raw__}", "n": 7},
    "conversation_key": "{number}#{type}",
    "coalesce": {"key": "{number}{action}"},
}
CHOOSY = {
    "events": ["push", "issues.opened", "unknown", "p*"],
    "filters": [
        {"not": {"field": "payload", "regex": "forbidden|[0-9]{9}"}},
        {"any": [{"field": "type", "exists": True}, {"field": "headers.x-a", "missing": True}]},
        {"field": "number", "not_equals": [[1]]},
    ],
}


@pytest.fixture
def every_source() -> None:
    for source in SOURCES:
        secret = PAIRS[source][1]
        make_route(f"{source}-all", preset=source, secret=secret, **TEMPLATES)
        make_route(f"{source}-some", preset=source, secret=secret, **CHOOSY)
    make_route("off", enabled=False)
    make_route("bare", secret="")
    make_route("gone", preset="gone")
    make_route("small", max_body_bytes=8)


def sent_by(
    source: str, secret: str, headers: dict[str, str], body: bytes, words: tuple[str, str]
) -> tuple[dict[str, str], bytes, str]:
    """Return headers, body and query as a source signs them; as they were where it can't."""
    at = Address("POST", "http://localhost:8644/webhooks/any", "")
    try:
        signed = sign_request(
            presets()[source], secret, body, now=time.time(), delivery_id=words[0], event=words[1],
            at=at,
        )  # fmt: skip
    except ValueError:
        return headers, body, ""
    return headers | dict(signed.headers), signed.body, signed.at.query


@pytest.mark.usefixtures("every_source")
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    route=st.sampled_from(
        [f"{source}-{which}" for source in SOURCES for which in ("all", "some")]
        + ["off", "bare", "gone", "small", "nobody", "", "\0", "\ud800"]
    ),
    headers=st.dictionaries(header_names, header_values, max_size=6),
    body=bodies,
    genuine=st.booleans(),
    signed_as=st.none() | st.sampled_from(list(presets())),
    words=st.tuples(wire_text, wire_text),
    fault=st.sampled_from([None] * 30 + [TooLarge, ReadFailed]),
    method=st.sampled_from(["POST"] * 20 + ["GET", "OPTIONS", "HEAD", "BREW"]),
    query=queries,
)
def test_every_request_has_an_answer_and_every_refusal_a_row(
    route: str,
    headers: dict[str, str],
    body: bytes,
    genuine: bool,
    signed_as: str | None,
    words: tuple[str, str],
    fault: type[Exception] | None,
    method: str,
    query: str,
) -> None:
    own = route.removesuffix("-all").removesuffix("-some")
    if genuine and own in presets():
        headers, body, query = sent_by(own, PAIRS[own][0], headers, body, words)
    elif signed_as:
        headers, body, _query = sent_by(signed_as, PAIRS[signed_as][0], headers, body, words)
    greeting._asked.clear()
    doctor.pace._groups.clear()
    events, last = Event.objects.count(), Refusal.objects.order_by("-pk").first()
    answer = ask(body, headers, route=route, fault=fault, method=method, query=query)

    assert answer.status in {200, 202, 204, 400, 401, 403, 404, 405, 409, 413, 415}
    assert len(answer.content) < 10_000
    assert all(value.isprintable() for value in answer.headers.values())
    assert Event.objects.count() == events + (answer.status == 202)
    assert Delivery.objects.count() == Event.objects.count()
    if answer.status < 400 or answer.status == 405:
        return
    assert answer.content_type == JSON
    assert set(json.loads(answer.content)) == {"error"}
    kept = Refusal.objects.latest("pk")
    assert last is None or kept.pk > last.pk
    assert (kept.status, kept.client) == (answer.status, "192.0.2.1")
    assert len(bytes(kept.body)) <= refusals.BODY_LIMIT
    assert len(kept.headers) <= 40
    assert Refusal.objects.filter(route=kept.route).count() <= 200
    seen = json.dumps(kept.headers) + kept.explanation + bytes(kept.body).decode("latin-1")
    assert not [canary for canary in CANARIES if canary in seen]


@settings(max_examples=300, deadline=None)
@given(
    preset=st.sampled_from([one for one in presets().values() if one.header]),
    headers=st.dictionaries(header_names, header_values, max_size=6),
    body=bodies,
    number=st.integers(0, 10**9),
)
def test_looking_closer_at_what_is_refused_breaks_nothing(
    preset: Preset, headers: dict[str, str], body: bytes, number: int
) -> None:
    doctor.pace._groups.clear()
    verifier = Verifier(preset, [f"{number}-{SECRET}"])
    found = verifier.verify({preset.header: "sha256=00", **headers}, body, time.time())
    assert isinstance(found, Refused)


@pytest.mark.parametrize("depth", [*range(900, 1030, 6), 5000])
def test_a_body_of_any_depth_under_a_wrong_signature_is_401(depth: int) -> None:
    make_route()
    for left, right in ((b"[", b"]"), (b'{"a":', b"}")):
        doctor.pace._groups.clear()
        body = left * depth + b"1" + right * depth
        assert ask(body, {"x-hub-signature-256": "sha256=" + "0" * 64}).status == 401


@settings(max_examples=300, deadline=None)
@given(body=bodies, content_type=wire_text)
def test_parsing_ends_in_data_or_in_unparseable(body: bytes, content_type: str) -> None:
    with contextlib.suppress(Unparseable):
        parse_body(body, content_type)


@pytest.mark.parametrize("length", ["9" * 5000, "1" * 25, "0" * 30 + "9", "²", "-1", "", "x"])
def test_a_length_that_no_body_has_is_no_error_of_ours(length: str) -> None:
    make_route()
    signed = {"x-hub-signature-256": signature(b"{}", SECRET)}
    assert ask(b"{}", {**signed, "content-length": length}).status in (202, 413)


@pytest.mark.parametrize("before", [b"", b" ", b"\xef\xbb\xbf"], ids=["", "space", "mark"])
def test_a_body_of_every_depth_is_taken_or_refused(before: bytes) -> None:
    make_route()
    found = {
        ask(before + left * depth + b"1" + right * depth).status
        for depth in (*range(900, 1030, 7), 5000)
        for left, right in ((b"[", b"]"), (b'{"a":', b"}"))
    }
    assert found <= {202, 400}
