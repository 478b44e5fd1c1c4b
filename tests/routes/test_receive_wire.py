"""The receive path against a real server, byte by byte: what HTTP allows, and what it does not."""

import gzip
import hashlib
import hmac
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from tests.gateway.process import ROOT, Gateway, eventually

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]

T = TypeVar("T")
READ_SECONDS = 1.0
HOLE_SECONDS = 12.0  # longer than an attempt may take
LIMIT = 4096  # bytes, of the route that has one
ROUTE_SECRET = "canary-route-secret-7c1f"
AGENT_SECRET = "canary-agent-secret-52aa"
CHANNEL_SECRET = "whsec_" + "Y2FuYXJ5LWNoYW5uZWwtc2VjcmV0LTAx"
DJANGO_KEY = "canary-secret-key-of-django-0123456789-0123456789-0123456789"
PROVIDER_WORDS = "canary-words-of-the-provider"
BODY = b'{"action":"opened","number":7}'


class Places(BaseHTTPRequestHandler):
    """Somewhere to deliver to: /ok, /broken, and /hole, which never answers in time."""

    arrived: list[str]
    broken = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.arrived.append(self.path)
        if self.path == "/hole":
            time.sleep(HOLE_SECONDS)
        if self.path == "/slow":
            time.sleep(0.5)
        self.send_response(500 if self.path == "/broken" and self.broken else 200)
        self.end_headers()
        self.wfile.write(PROVIDER_WORDS.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass(frozen=True)
class Answer:
    """What came back on one connection, and whether the server then ended it."""

    raw: bytes
    ended: bool
    seconds: float

    @property
    def status(self) -> int:
        """The status of the last answer; an interim 100 comes before it."""
        return self.statuses[-1]

    @property
    def statuses(self) -> list[int]:
        return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3})", self.raw)]

    @property
    def json(self) -> Any:
        return json.loads(self.raw.rpartition(b"\r\n\r\n")[2])

    def header(self, name: str) -> str:
        found = re.search(rf"(?im)^{name}: (.*?)\r$", self.raw.decode("latin-1"))
        return found[1] if found else ""


class Web(Gateway):
    """A gateway's web server alone, as its supervisor would start it."""

    agent = token = ""  # the default agent's id, and a bearer token of it

    def serve(self) -> "Web":
        command = [sys.executable, "-m", "hermes_site.gateway.web"]
        with (self.data / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, str(os.getpid()), "127.0.0.1", str(self.port)],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(self.is_up, 30, "GET /health")
        return self

    def send(self, *parts: bytes, pause: float = 0.0, close: bool = False) -> Answer:
        """Send bytes on a connection of their own; read until the server ends it or is silent."""
        began = time.monotonic()
        received, ended = b"", False
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as wire:
            try:
                for part in parts:
                    wire.sendall(part)
                    time.sleep(pause)
                if close:
                    wire.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has heard enough; what it said is still to be read
            try:
                while not ended:
                    wire.settimeout(5 if not received else 0.2)
                    chunk = wire.recv(65_536)
                    received, ended = received + chunk, not chunk
            except TimeoutError:
                pass
            except ConnectionResetError:
                ended = True
        return Answer(received, ended, time.monotonic() - began)

    def events(self) -> int:
        return int(self.query("SELECT count(*) FROM deliveries_event")[0][0])


ids = count(1)


def signed(body: bytes, secret: str = ROUTE_SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def request(
    *headers: tuple[str, str | bytes],
    body: bytes = BODY,
    path: str | bytes = "/webhooks/wire",
    method: str = "POST",
    version: str = "1.1",
    length: int | None = -1,
    signature: str | bytes | None = "",
    delivery: str | bytes | None = "",
    keep: bool = False,
) -> bytes:
    """Return a request, byte for byte; honest where nothing else is said.

    ``keep`` leaves it to the server whether the connection ends.
    """
    lines: list[tuple[str, str | bytes]] = [("Host", "localhost")]
    if not keep:
        lines.append(("Connection", "close"))
    if length is not None:
        lines.append(("Content-Length", str(len(body) if length < 0 else length)))
    if signature is not None:
        lines.append(("X-Hub-Signature-256", signature or signed(body)))
    if delivery is not None:
        lines.append(("X-GitHub-Delivery", delivery or f"wire-{next(ids)}"))
    start = f"{method} ".encode() + _bytes(path) + f" HTTP/{version}\r\n".encode()
    text = b"".join(_bytes(n) + b": " + _bytes(v) + b"\r\n" for n, v in [*lines, *headers])
    return start + text + b"\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def at_once(number: int, act: Callable[[int], T]) -> list[T]:
    """Do something so many times side by side; return what came of each."""
    found: dict[int, T] = {}
    start = threading.Barrier(number)

    def one(index: int) -> None:
        start.wait()
        found[index] = act(index)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[index] for index in range(number)]


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


@pytest.fixture(scope="module")
def places() -> Iterator[ThreadingHTTPServer]:
    Places.arrived = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Places)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def make_web(
    prepared: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Web]]:
    made: list[Web] = []

    def make(**settings: str | int | float) -> Web:
        folder = tmp_path_factory.mktemp("web") / "data"
        web = Web(folder, prepared, LOG_LEVEL="DEBUG", **settings)
        made.append(web)
        return web

    yield make
    for web in made:
        web.clean_up()


ROUTES = f"""
from agents.models import Agent, AgentSecret
from agents.services import issue_token
from platforms.models import Channel
from platforms.services import save_config
from routes.models import Route, RouteSecret

def route(name, **fields):
    made = Route.objects.create(name=name, **{{"rate_limit": 0, **fields}})
    RouteSecret.objects.create(route=made, value={ROUTE_SECRET!r})

def channel(name):
    made = Channel(name=name, kind="webhook")
    save_config(made, {{"url": "PLACES/" + name, "secret": {CHANNEL_SECRET!r}}}, {{}})

route("wire")
route("ten", rate_limit=10)
route("small", max_body_bytes={LIMIT})
route("off", enabled=False)
for name in ("ok", "broken", "hole", "slow"):
    channel(name)
    route("to-" + name, deliver=name, deliver_only=True)
agent = Agent.objects.get(is_default=True)
AgentSecret.objects.create(agent=agent, value={AGENT_SECRET!r})
result = [str(agent.pk), issue_token(agent)]
"""


@pytest.fixture(scope="module")
def web(make_web: Callable[..., Web], places: ThreadingHTTPServer) -> Web:
    made = make_web(
        WEBHOOK_READ_SECONDS=READ_SECONDS, OUTBOUND_ALLOW_PRIVATE="true", SECRET_KEY=DJANGO_KEY
    )
    made.agent, made.token = made.python(
        ROUTES.replace("PLACES", f"http://127.0.0.1:{places.server_port}")
    )
    return made.serve()


@pytest.fixture(autouse=True)
def _still_up(web: Web) -> Iterator[None]:
    """Whatever a test did: the next honest request is taken, and nothing raised."""
    said = len(web.log)
    yield
    assert web.send(request()).status == 202
    assert "Traceback" not in web.log[said:]


# -- Signatures ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    [
        None,
        b"sha256=",
        b"sha256=" + b"0" * 64,
        signed(BODY, "another secret"),
        signed(BODY).upper(),
        signed(BODY).removeprefix("sha256="),
        signed(BODY) + "0",
        "sha256=é".encode("latin-1"),
        "sha256=é中".encode(),
        b"sha256=\x80\xff\xfe",
        b"," * 5000,
        b"sha256=" * 5000,
    ],
)
def test_a_signature_that_is_not_right_is_401(web: Web, signature: str | bytes | None) -> None:
    before = web.events()
    answer = web.send(request(signature=signature))
    assert (answer.status, answer.json) == (401, {"error": "Invalid signature"})
    assert web.events() == before


@pytest.mark.parametrize("name", ["X-Gitlab-Token", "X-Webhook-Signature", "Webhook-Signature"])
@pytest.mark.parametrize("value", [b"\xff\xfe", "é".encode(), b"v1,\xff", b"1" * 9000])
def test_bytes_of_every_kind_in_every_signature_header_are_401(
    web: Web, name: str, value: bytes
) -> None:
    answer = web.send(request((name, value), ("X-Gitlab-Event", value), signature=None))
    assert answer.status == 401


def test_a_signature_sent_twice_counts_when_one_is_right(web: Web) -> None:
    assert web.send(request(("X-Hub-Signature-256", "sha256=00"))).status == 202


def test_a_signature_sent_twice_and_wrong_both_times_is_401(web: Web) -> None:
    answer = web.send(request(("X-Hub-Signature-256", "sha256=00"), signature="sha256=11"))
    assert answer.status == 401


def test_the_right_signature_behind_many_wrong_ones_is_not_looked_for(web: Web) -> None:
    many = ",".join(["sha256=00"] * 50)
    assert web.send(request(signature=f"{many},{signed(BODY)}")).status == 401


# -- Bodies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{bad", b"\xff\xfe\x00", b"no json", b"[" * 5000, b" " + b"[" * 980]
)
def test_a_body_that_says_nothing_is_400(web: Web, body: bytes) -> None:
    answer = web.send(request(body=body))
    assert (answer.status, answer.json) == (400, {"error": "Cannot parse body"})


@pytest.mark.parametrize("depth", [500, 900, 950, 990, 1020, 2000])
@pytest.mark.parametrize("before", [b"", b" "], ids=["", "behind a space"])
def test_deep_nesting_is_taken_or_refused_and_never_an_error_of_ours(
    web: Web, depth: int, before: bytes
) -> None:
    answer = web.send(request(body=before + b"[" * depth + b"]" * depth))
    assert answer.status in (202, 400)
    assert answer.json


def test_a_body_that_breaks_off_is_400_and_nothing_is_kept(web: Web) -> None:
    before = web.events()
    answer = web.send(request(length=len(BODY) + 1, signature=signed(BODY)), close=True)
    assert (answer.status, answer.json) == (400, {"error": "Bad request"})
    assert web.events() == before


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(web: Web) -> None:
    before = web.events()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", web.port)) as wire:
            wire.sendall(request(length=len(BODY) + 1, signature=signed(BODY)))
    time.sleep(0.2)
    assert web.events() == before


def test_clients_that_do_not_wait_for_the_answer_may_ask_again(web: Web) -> None:
    before = web.events()
    frames = [request() for _ in range(20)]
    for frame in frames:
        with socket.create_connection(("127.0.0.1", web.port)) as wire:
            wire.sendall(frame)
    assert {web.send(frame).status for frame in frames} <= {200, 202}
    assert web.events() == before + 20


@pytest.mark.parametrize("length", [LIMIT + 1, 10**9, 2**63])
def test_a_length_over_the_limit_is_413_without_a_byte_being_read(web: Web, length: int) -> None:
    answer = web.send(request(path="/webhooks/small", body=b"", length=length, keep=True))
    assert (answer.status, answer.json) == (413, {"error": "Payload too large"})
    assert answer.ended
    assert answer.seconds < READ_SECONDS


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(web: Web) -> None:
    just = BODY.ljust(LIMIT)
    assert web.send(request(path="/webhooks/small", body=just)).status == 202
    assert web.send(request(path="/webhooks/small", body=just + b" ")).status == 413


def test_a_chunked_body_is_taken(web: Web) -> None:
    frame = request(("Transfer-Encoding", "chunked"), body=b"", length=None, signature=signed(BODY))
    assert web.send(frame, chunk(BODY[:9]), chunk(BODY[9:]), chunk(b"")).status == 202


def test_a_chunked_body_of_one_byte_too_many_is_413(web: Web) -> None:
    frame = request(("Transfer-Encoding", "chunked"), path="/webhooks/small", body=b"", length=None)
    answer = web.send(frame, chunk(b" " * LIMIT), chunk(b" "), chunk(b""))
    assert answer.status == 413


def test_a_chunked_body_without_end_is_cut_off_at_the_limit(web: Web) -> None:
    frame = request(("Transfer-Encoding", "chunked"), body=b"", length=None, keep=True)
    answer = web.send(frame, *[chunk(b" " * 65_536)] * 400)
    assert answer.status == 413
    assert answer.ended


@pytest.mark.parametrize(
    "junk", [b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n", b"ffffffffffffffffff\r\n"]
)
def test_chunks_that_are_none_are_400(web: Web, junk: bytes) -> None:
    frame = request(("Transfer-Encoding", "chunked"), body=b"", length=None)
    assert web.send(frame, junk, close=True).status == 400


@pytest.mark.parametrize("length", ["-1", "+7", "7, 8", "abc", "9" * 5000])
def test_a_length_that_is_none_is_400(web: Web, length: str) -> None:
    assert web.send(request(("Content-Length", length), length=None)).status == 400


def test_two_lengths_are_400(web: Web) -> None:
    assert web.send(request(("Content-Length", str(len(BODY) + 1)))).status == 400


def test_a_length_beside_chunks_smuggles_nothing_in(web: Web) -> None:
    hidden = request()
    chunks = ("Transfer-Encoding", "chunked")
    frame = request(chunks, body=b"", length=5, signature=signed(BODY), keep=True)
    answer = web.send(frame, chunk(BODY), chunk(b""), hidden)
    assert len(answer.statuses) == 1
    assert answer.ended


def test_a_compressed_body_is_refused_and_not_taken_for_what_it_holds(web: Web) -> None:
    body = gzip.compress(BODY)
    answer = web.send(request(("Content-Encoding", "gzip"), body=body))
    assert 400 <= answer.status < 500
    assert answer.json["error"]


# -- Slowness ------------------------------------------------------------------------------


def test_a_body_that_drips_is_cut_off_and_the_connection_ends(web: Web) -> None:
    frame = request(body=b"", length=len(BODY), signature=signed(BODY), keep=True)
    answer = web.send(frame, *[bytes([byte]) for byte in BODY[:20]], pause=0.2)
    assert (answer.status, answer.json) == (400, {"error": "Bad request"})
    assert answer.ended


def test_a_body_that_stalls_is_cut_off_in_time(web: Web) -> None:
    answer = web.send(request(body=b"", length=10, keep=True))
    assert answer.status == 400
    assert READ_SECONDS * 0.9 < answer.seconds < READ_SECONDS * 3
    assert answer.ended


def test_a_good_request_goes_through_beside_many_slow_ones(web: Web) -> None:
    slow = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(150)]
    try:
        for wire in slow:
            wire.sendall(request(body=b'{"a":', length=1000))
        answers = [web.send(request()) for _ in range(3)]
    finally:
        for wire in slow:
            wire.close()
    assert [answer.status for answer in answers] == [202] * 3
    assert max(answer.seconds for answer in answers) < READ_SECONDS


def test_memory_is_bounded_by_what_the_limit_lets_in(web: Web) -> None:
    def resident() -> int:
        pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in web.pids()]
        return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE")

    frame = request(("Transfer-Encoding", "chunked"), body=b"", length=None)
    before = resident()
    at_once(10, lambda _: [web.send(frame, *[chunk(b" " * 65_536)] * 100) for _ in range(5)])
    assert resident() - before < 64 * 2**20


# -- Addresses, methods, HTTP itself -------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/webhooks/wire?a=1&b=%00", "/webhooks/%77ire", "/webhooks/wire?", "/webhooks/wire#x"]
)
def test_other_spellings_of_the_address_reach_the_route(web: Web, path: str) -> None:
    assert web.send(request(path=path)).status == 202


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/webhooks/", ""),
        ("/webhooks/WIRE", "WIRE"),
        ("/webhooks/wire%20", "wire "),
        ("/webhooks/%E4%B8%AD", "中"),
        ("/webhooks/a%00b", "a\0b"),
        ("/webhooks/%ff", "\N{REPLACEMENT CHARACTER}"),
        ("/webhooks/%0d%0aX-Evil:%201", "\r\nX-Evil: 1"),
        ("/webhooks/..", ".."),
    ],
)
def test_a_name_that_is_no_route_is_404(web: Web, path: str, name: str) -> None:
    answer = web.send(request(path=path))
    assert (answer.status, answer.json) == (404, {"error": f"Unknown route: {name}"})
    assert not answer.header("X-Evil")


@pytest.mark.parametrize("path", ["/webhooks/wire/", "/webhooks/wire%2F", "/webhooks/a/b", "//x"])
def test_what_is_not_one_name_is_404(web: Web, path: str) -> None:
    before = web.events()
    assert web.send(request(path=path)).status == 404
    assert web.events() == before


def test_a_very_long_address_is_refused(web: Web) -> None:
    assert web.send(request(path="/webhooks/" + "a" * 60_000)).status in (404, 414)


def test_a_disabled_route_is_403_before_its_signature_is_looked_at(web: Web) -> None:
    answer = web.send(request(path="/webhooks/off", signature=None))
    assert (answer.status, answer.json) == (403, {"error": "Route disabled: off"})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_only_post_is_answered(web: Web, method: str) -> None:
    answer = web.send(request(method=method, body=b""))
    assert (answer.status, answer.header("allow")) == (405, "POST")


def test_health_answers_get_and_head_alone(web: Web) -> None:
    statuses = {
        method: web.send(request(method=method, path="/health", body=b"")).status
        for method in ("GET", "HEAD", "POST")
    }
    assert statuses == {"GET": 200, "HEAD": 200, "POST": 405}


def test_http_1_0_is_answered_and_the_connection_ends(web: Web) -> None:
    answer = web.send(request(version="1.0", keep=True))
    assert (answer.status, answer.ended) == (202, True)


def test_a_client_that_asks_first_is_told_to_go_on(web: Web) -> None:
    frame = request(("Expect", "100-continue"), body=b"", length=len(BODY), signature=signed(BODY))
    assert web.send(frame, BODY, pause=0.2).statuses == [100, 202]


def test_a_client_that_asks_first_with_too_much_is_told_no_at_once(web: Web) -> None:
    answer = web.send(request(("Expect", "100-continue"), body=b"", length=10**9))
    assert answer.statuses == [413]


def test_requests_sent_behind_each_other_are_answered_in_their_order(web: Web) -> None:
    three = request(keep=True) + request(path="/webhooks/nobody", keep=True)
    three += request(signature="sha256=0")
    assert web.send(three).statuses == [202, 404, 401]


@pytest.mark.parametrize(
    "flood",
    [
        [(f"X-{number}", "v") for number in range(2000)],
        [("X-Big", "v" * 1_000_000)],
    ],
    ids=["many", "huge"],
)
def test_a_flood_of_headers_is_refused(web: Web, flood: list[tuple[str, str]]) -> None:
    answer = web.send(request(*flood))
    assert answer.statuses in ([431], [400], [])


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"POST\r\n\r\n", b"\0" * 99])
def test_what_is_no_http_is_refused(web: Web, junk: bytes) -> None:
    assert web.send(junk, close=True).statuses in ([400], [])


@pytest.mark.parametrize("value", [b"\xff\xfe\xe9", b"a\tb", b"z" * 5000, "中文".encode()])
def test_ids_and_names_of_any_bytes_are_kept_short_and_printable(web: Web, value: bytes) -> None:
    unique = value + str(next(ids)).encode()
    answer = web.send(request(("X-GitHub-Event", value), delivery=unique))
    assert answer.status == 202
    assert len(answer.json["delivery_id"]) <= 255
    assert len(answer.json["event"]) <= 200
    again = web.send(request(("X-GitHub-Event", value), delivery=unique))
    assert again.json["status"] == "duplicate"


# -- Side by side --------------------------------------------------------------------------


def test_of_many_at_once_with_one_id_exactly_one_is_stored(web: Web) -> None:
    before = web.events()
    answers = at_once(20, lambda _: web.send(request(delivery="one and the same")))
    assert sorted(answer.status for answer in answers) == [200] * 19 + [202]
    assert web.events() == before + 1


def test_one_id_with_two_bodies_at_once_is_one_event_and_one_conflict(web: Web) -> None:
    bodies = [b'{"n":1}', b'{"n":2}']
    answers = at_once(2, lambda n: web.send(request(body=bodies[n], delivery="two bodies")))
    assert sorted(answer.status for answer in answers) == [202, 409]


def test_a_limit_of_ten_lets_exactly_ten_of_fifty_in(web: Web) -> None:
    answers = at_once(50, lambda _: web.send(request(path="/webhooks/ten")))
    assert [answer.status for answer in answers].count(202) == 10
    refused = [answer for answer in answers if answer.status != 202]
    assert {answer.status for answer in refused} == {429}
    assert all(1 <= int(answer.header("retry-after")) <= 60 for answer in refused)


# -- Direct delivery -----------------------------------------------------------------------


def test_a_direct_delivery_answers_200_once_it_is_there(web: Web) -> None:
    answer = web.send(request(path="/webhooks/to-ok", delivery="direct"))
    assert (answer.status, answer.json["status"]) == (200, "delivered")
    assert answer.json["target"] == "webhook"


def test_a_failed_direct_delivery_is_502_in_our_own_words_and_may_be_sent_again(web: Web) -> None:
    again = request(path="/webhooks/to-broken", delivery="second chance")
    answer = web.send(again)
    expected = {"status": "error", "error": "Delivery failed", "delivery_id": "second chance"}
    assert (answer.status, answer.json) == (502, expected)
    assert PROVIDER_WORDS.encode() not in answer.raw
    Places.broken = False
    try:
        assert web.send(again).json["status"] == "delivered"
    finally:
        Places.broken = True
    assert web.send(again).json["status"] == "duplicate"


def test_two_direct_deliveries_of_one_id_at_once_are_one_send(web: Web) -> None:
    Places.arrived.clear()
    answers = at_once(
        2, lambda _: web.send(request(path="/webhooks/to-slow", delivery="once, please"))
    )
    assert sorted(answer.json["status"] for answer in answers) == ["delivered", "duplicate"]
    assert Places.arrived == ["/slow"]


def test_a_sender_that_hangs_up_early_does_not_undo_its_direct_delivery(web: Web) -> None:
    again = request(path="/webhooks/to-slow", delivery="hung up")
    Places.arrived.clear()
    with socket.create_connection(("127.0.0.1", web.port)) as wire:
        wire.sendall(again)
        eventually(lambda: Places.arrived, 5, "the delivery")
    time.sleep(0.8)
    assert web.send(again).json["status"] == "duplicate"
    assert Places.arrived == ["/slow"]


def test_direct_deliveries_to_a_black_hole_all_end_within_their_time(web: Web) -> None:
    """More at once than there are threads to send them: nobody waits for a second round."""
    began = time.monotonic()
    answers = at_once(24, lambda _: _patiently(web, request(path="/webhooks/to-hole")))
    assert set(answers) <= {502, 503}
    assert time.monotonic() - began < 14


def _patiently(web: Web, frame: bytes) -> int:
    with socket.create_connection(("127.0.0.1", web.port), timeout=40) as wire:
        wire.sendall(frame)
        return int(wire.recv(65_536).split()[1])


# -- The agents' door ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 50_000, b'{"a":' * 50_000, b"1" * 5000,
     b'{"conversation_id":-1,"payload":{}}', b'{"conversation_id":"\\ud800","payload":"\\ud800"}'],
)  # fmt: skip
@pytest.mark.parametrize("charset", ["utf-8", "zlib", "utf-16", "undefined", "none such"])
def test_an_agents_message_that_is_none_is_400(web: Web, body: bytes, charset: str) -> None:
    headers = [
        ("Authorization", f"Bearer {web.token}"),
        ("Content-Type", f"application/json; charset={charset}"),
    ]
    answer = web.send(request(*headers, path=f"/agents/{web.agent}/messages", body=body))
    assert answer.status == 400
    assert answer.json


@pytest.mark.parametrize("token", [b"", b"hsk_", b"\xff\xfe", "hsk_é".encode(), b"x" * 50_000])
def test_a_token_that_is_none_is_401(web: Web, token: bytes) -> None:
    bearer = ("Authorization", b"Bearer " + token)
    answer = web.send(request(bearer, path=f"/agents/{web.agent}/messages"))
    assert answer.status == 401
    assert answer.json


@pytest.mark.parametrize("path", ["/agents/x/messages", "/admin/login/", "/nowhere"])
def test_nobody_fills_the_disk_with_a_body_without_end(web: Web, path: str) -> None:
    frame = request(("Transfer-Encoding", "chunked"), path=path, body=b"", length=None, keep=True)
    answer = web.send(frame, *[chunk(b" " * 2**20)] * 40)
    assert answer.status == 413
    assert answer.ended


def test_requests_that_go_through_django_leave_no_connection_to_the_database_behind(
    web: Web,
) -> None:
    """Each has a thread of its own: what it left open, nobody would ever use again."""

    def connections() -> int:
        if web._database.url:
            statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            return int(web.query(statement)[0][0])
        links = [link for pid in web.pids() for link in Path(f"/proc/{pid}/fd").iterdir()]
        return sum("sqlite3" in os.readlink(link) for link in links if link.is_symlink())

    before = connections()
    bearer = ("Authorization", f"Bearer {web.token}")
    for _ in range(60):
        frame = request(bearer, path=f"/agents/{web.agent}/delivery-logs", method="GET", body=b"")
        assert web.send(frame).status == 200
    assert connections() - before < 15


def test_a_large_length_is_refused_everywhere_without_reading(web: Web) -> None:
    answer = web.send(request(path="/agents/x/messages", body=b"", length=10**10, keep=True))
    assert answer.status == 413
    assert answer.ended


# -- The database --------------------------------------------------------------------------


@pytest.fixture
def ours(make_web: Callable[..., Web]) -> Web:
    """A web server whose database may be taken away."""
    made = make_web()
    made.python(ROUTES)
    return made.serve()


def test_it_goes_on_after_the_database_hung_up(ours: Web) -> None:
    """PostgreSQL restarts or fails over; connections that nobody used meanwhile are dead."""
    if not ours._database.url:
        pytest.skip("a file does not hang up")
    assert ours.send(request()).status == 202
    for silence in (0.0, 1.5):  # with the routes at hand, and when they are to be read again
        _disconnect_all(ours)
        time.sleep(silence)
        answers = [ours.send(request()) for _ in range(3)]
        assert {answer.status for answer in answers} <= {202, 503}
        assert answers[-1].status == 202
    assert ours.send(request(signature="sha256=0")).status == 401


def test_an_unreachable_database_is_503_and_nothing_is_half_stored(ours: Web) -> None:
    if not ours._database.url:
        pytest.skip("see tests/routes/test_intake.py for a locked file")
    assert ours.send(request()).status == 202
    _allow_connections(ours, False)
    _disconnect_all(ours)
    try:
        for silence in (0.0, 1.5):
            time.sleep(silence)
            for frame in (request(), request(path="/webhooks/nobody"), request(signature=None)):
                answer = ours.send(frame)
                assert answer.status in (401, 404, 503)
                assert answer.json["error"]
            answer = ours.send(request())
            assert answer.status == 503
            assert int(answer.header("retry-after")) > 0
        assert ours.send(request(method="GET", path="/health", body=b"")).status == 200
    finally:
        _allow_connections(ours, True)
    eventually(lambda: ours.send(request()).status == 202, 5, "a request that is taken")
    assert ours.events() == 2


def _disconnect_all(web: Web) -> None:
    statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(statement, [web._database.name])


def _allow_connections(web: Web, allowed: bool) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(
            psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                psycopg.sql.Identifier(web._database.name), psycopg.sql.Literal(allowed)
            )
        )


# -- Secrets -------------------------------------------------------------------------------

EVERYTHING = """
from django.apps import apps
rows = [
    f"{model._meta.label} {value!r}"
    for model in apps.get_models()
    for row in model.objects.all().values()
    for name, value in row.items()
    if model._meta.label not in SEALED or name not in ("value", "config")
]
result = "\\n".join(rows)
""".replace("SEALED", repr({"routes.RouteSecret", "agents.AgentSecret", "platforms.Channel"}))


def test_after_every_kind_of_refusal_no_secret_is_anywhere(web: Web) -> None:
    """The canaries travel in headers and bodies of what is refused, in clear and in JSON."""
    secrets = (ROUTE_SECRET, AGENT_SECRET, CHANNEL_SECRET, DJANGO_KEY)
    tell = [("X-Custom", ROUTE_SECRET), ("Authorization", f"Bearer {ROUTE_SECRET}"),
            ("Cookie", f"a={ROUTE_SECRET}"), ("X-Api-Key", ROUTE_SECRET)]  # fmt: skip
    telling = json.dumps({"secret": ROUTE_SECRET}).encode()
    web.send(request(*tell, body=b"not json " + ROUTE_SECRET.encode()))
    web.send(request(*tell, body=b" " * 4090 + ROUTE_SECRET.encode()))
    web.send(request(*tell, body=telling, signature="sha256=0"))
    web.send(request(*tell, body=telling, signature=None))
    web.send(request(*tell, ("X-Gitlab-Token", ROUTE_SECRET), path="/webhooks/off", body=telling))
    web.send(request(*tell, path="/webhooks/small", body=b" " * (LIMIT + 1)))
    web.send(request(*tell, delivery="leaky"))
    web.send(request(*tell, body=telling, delivery="leaky"))
    for _ in range(11):
        web.send(request(*tell, path="/webhooks/ten"))
    web.send(request(*tell, path="/webhooks/to-broken"))
    web.send(request(*tell, body=b"", length=10))
    time.sleep(1)
    kept = web.python(EVERYTHING)
    assert "id_conflict" in kept
    for secret in secrets:
        assert secret not in kept, _around(kept, secret)
        assert secret not in web.log, _around(web.log, secret)
    assert PROVIDER_WORDS not in web.log


def _around(text: str, found: str) -> str:
    place = text.index(found)
    return text[max(0, place - 300) : place + 100]
