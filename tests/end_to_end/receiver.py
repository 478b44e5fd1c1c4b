"""An agent, or another place that is posted to, that only counts; slow or mute when told."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.gateway.process import free_port

# An agent's deliveries and those of a webhook channel carry their id in these.
ID_HEADERS = ("X-Hashee-Delivery-Id", "webhook-id")


class Receiver:
    """Answers 204 after ``delay`` seconds, or not before `answer` when it is ``mute``.

    ``arrivals`` are the delivery ids in the order in which they came; ``story`` has them twice,
    as ``came`` and as ``done``.
    """

    def __init__(self, port: int = 0, *, delay: float = 0.0, mute: bool = False) -> None:
        self.arrivals: list[str] = []
        self.story: list[tuple[str, str]] = []
        self.delay = delay
        self._may_answer = threading.Event()
        if not mute:
            self._may_answer.set()
        self._server = _Server(("127.0.0.1", port), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/hashee/webhook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self) -> None:
        """Answer from now on, also what has waited."""
        self._may_answer.set()

    def work_on(self, delivery_id: str) -> None:
        """Take one delivery, as long as it takes."""
        self.arrivals.append(delivery_id)
        self.story.append(("came", delivery_id))
        time.sleep(self.delay)
        self._may_answer.wait(30)
        self.story.append(("done", delivery_id))

    def close(self) -> None:
        """Stop listening."""
        self._may_answer.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a gateway that was killed and reads no answer."""


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            receiver.work_on(next(self.headers[name] for name in ID_HEADERS if self.headers[name]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


class Unreached:
    """A port on which connections are never made: what is sent there has not left the machine.

    The queue of the listening socket is full, so that the kernel drops every further attempt.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/hashee/webhook"
        self._sockets = [socket.socket()]
        self._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sockets[0].bind(("127.0.0.1", self.port))
        self._sockets[0].listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._sockets.append(filler)

    def close(self) -> None:
        """Free the port."""
        for each in self._sockets:
            each.close()
