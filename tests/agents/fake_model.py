"""A chat endpoint's end of the wire: a real HTTP server that answers by its script."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent.parent / "fixtures" / "chat_completions"
JSON, EVENTS = "application/json", "text/event-stream"

Step = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FakeModel:
    """Takes one step of ``script`` for each request, then ``always``; remembers the requests."""

    base_url: str = ""
    script: list[Step] = field(default_factory=list)
    always: Step = field(default_factory=lambda: says("Looks good to me."))
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        """Return what was asked last in each request."""
        return [request["messages"][-1]["content"] for request in self.requests]


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def sends(
    body: bytes, status: int = 200, content_type: str = JSON, headers: dict[str, str] | None = None
) -> Step:
    """Return a step that answers this at once."""

    def step(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return step


def says(text: str, **choice: Any) -> Step:
    """Return a step that answers with a completion of this text."""
    message = {"role": "assistant", "content": text}
    content = {
        "model": "fake-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }
    return sends(json.dumps(content).encode())


def streams(text: bytes, *, end: bool = True, pause: float = 0.0, size: int = 7) -> Step:
    """Return a step that sends a stream in small pieces, and ends it well or not at all."""

    def step(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", f"{EVENTS}; charset=utf-8")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(text), size):
            piece = text[start : start + size]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            handler.wfile.flush()
            time.sleep(pause)
        if end:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.close_connection = True

    return step


def waits(until: threading.Event, then: Step) -> Step:
    """Return a step that thinks until it is let go on."""

    def step(handler: BaseHTTPRequestHandler) -> None:
        until.wait(30)
        then(handler)

    return step


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    """Close without a word."""
    handler.close_connection = True


@contextlib.contextmanager
def serving(model: FakeModel) -> Iterator[FakeModel]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            model.requests.append(json.loads(body))
            model.headers.append(dict(self.headers))
            model.paths.append(self.path)
            step = model.script.pop(0) if model.script else model.always
            with contextlib.suppress(OSError):
                step(self)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_arguments: object) -> None:
            pass  # a client that has hung up

    server = Server(("127.0.0.1", 0), Handler)
    model.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
