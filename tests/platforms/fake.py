"""A platform at the other end of the wire: a local server that answers by a script."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the server says to one request.

    ``delay`` is in seconds before the first byte, ``drip`` between the bytes of the body;
    ``missing`` so many bytes of the body are promised and never come.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    drip: float = 0.0
    missing: int = 0
    hangs_up: bool = False  # before a byte of an answer

    @classmethod
    def json(cls, status: int, document: Any, **rest: Any) -> "Answer":
        """Return an answer with a JSON body."""
        headers = {"Content-Type": "application/json", **rest.pop("headers", {})}
        return cls(status, headers, json.dumps(document).encode(), **rest)


@dataclass(frozen=True)
class Seen:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def document(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class FakePlatform:
    """Answers each request with the next of the script, the last one for ever."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Seen] = []
        self._script: list[Answer] = [Answer()]
        self._lock = threading.Lock()
        self.closing = threading.Event()

    def script(self, *answers: Answer) -> None:
        """Say from now on what is answered, one after the other."""
        with self._lock:
            self._script = list(answers)

    def take(self, seen: Seen) -> Answer:
        """Keep a request and return the answer to it."""
        with self._lock:
            self.requests.append(seen)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    @property
    def documents(self) -> list[Any]:
        """Return the JSON bodies that came in."""
        return [seen.document for seen in self.requests if seen.body]


@contextmanager
def fake_platform() -> Iterator[FakePlatform]:
    """Serve on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else the body waits for the client to confirm the head, which takes it 40 ms.
        disable_nagle_algorithm = True

        def log_message(self, *_args: Any) -> None:
            pass

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(length)
            answer = platform.take(Seen(self.command, self.path, headers, body))
            platform.closing.wait(answer.delay)
            if answer.hangs_up:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) + answer.missing))
            self.end_headers()
            self._write(answer)
            if answer.missing:
                self.close_connection = True

        def _write(self, answer: Answer) -> None:
            if not answer.drip:
                self.wfile.write(answer.body)
                return
            for byte in answer.body:
                if platform.closing.is_set():
                    return
                self.wfile.write(bytes([byte]))
                time.sleep(answer.drip)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # whoever asked has left

    server = Server(("127.0.0.1", 0), Handler)
    platform = FakePlatform(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
    thread.start()
    try:
        yield platform
    finally:
        platform.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
