"""A graceful stop: what is under way on either side is finished first."""

import hashlib
import hmac
import http.client
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import MakeGateway
from tests.gateway.process import Gateway

pytestmark = pytest.mark.processes

SLOW = 2.0  # seconds
SECRET = "the secret of every route in this test"


class Slow(BaseHTTPRequestHandler):
    """An endpoint that takes its time and counts."""

    arrived: list[str]
    began: threading.Event

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.arrived.append(self.headers.get("webhook-id", ""))
        self.began.set()
        time.sleep(SLOW)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def slow_server() -> Iterator[ThreadingHTTPServer]:
    Slow.arrived, Slow.began = [], threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def sending_to(server: ThreadingHTTPServer, make_gateway: MakeGateway) -> Gateway:
    """Return a gateway that is in the middle of a delivery to this server."""
    gateway = make_gateway(OUTBOUND_ALLOW_PRIVATE="true")
    gateway.start().wait_healthy()
    gateway.python(
        "from platforms.models import Channel\n"
        "from platforms.services import notice, save_config\n"
        "channel = Channel(name='slow', kind='webhook')\n"
        f"save_config(channel, {{'url': 'http://127.0.0.1:{server.server_port}/'}}, {{}})\n"
        "notice(channel, 'hello')"
    )
    assert Slow.began.wait(10)
    return gateway


@pytest.mark.both_databases
def test_a_request_that_is_being_received_is_answered_before_the_stop(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(WEBHOOK_SECRET=SECRET)
    gateway.python("from routes.models import Route; Route.objects.create(name='slow')")
    gateway.start().wait_healthy()
    body = b'{"hello": "world"}'
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
    connection.putrequest("POST", "/webhooks/slow")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.putheader(
        "X-Webhook-Signature", hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    )
    connection.endheaders(body[:5])
    time.sleep(0.5)
    assert gateway.process
    gateway.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    connection.send(body[5:])
    assert connection.getresponse().status == 202
    connection.close()
    assert gateway.wait_ended() == 0
    assert gateway.query("SELECT count(*) FROM deliveries_event") == [(1,)]


@pytest.mark.both_databases
def test_a_delivery_that_is_being_sent_is_recorded_before_the_stop(
    make_gateway: MakeGateway, slow_server: ThreadingHTTPServer
) -> None:
    gateway = sending_to(slow_server, make_gateway)
    assert gateway.stop() == 0
    assert len(Slow.arrived) == 1
    assert gateway.query("SELECT status, attempt_count FROM deliveries_delivery") == [
        ("delivered", 1)
    ]


def test_a_connection_that_is_kept_open_does_not_hold_up_the_stop(gateway: Gateway) -> None:
    idle = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    idle.request("GET", "/health")
    idle.getresponse().read()
    begun = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - begun < 8
    idle.close()


def test_a_second_signal_kills(make_gateway: MakeGateway, slow_server: ThreadingHTTPServer) -> None:
    gateway = sending_to(slow_server, make_gateway)
    assert gateway.process
    gateway.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.wait_ended(2) == 128 + signal.SIGINT
    assert gateway.pids() == []
