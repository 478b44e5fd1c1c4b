"""As much of S3 as a storage needs, over HTTP: put, get, ask, delete."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Bucket:
    """What was put, by path; ``away``: everything is answered with 503."""

    url: str = ""
    away: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)


def serve(bucket: Bucket) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            who = self.headers.get("Authorization", "")
            bucket.asked.append((self.command, path, who))
            if bucket.away:
                return self.answer(503, b"<Error><Code>SlowDown</Code></Error>")
            match self.command:
                case "PUT":
                    chunked = "aws-chunked" in self.headers.get("Content-Encoding", "")
                    bucket.files[path] = unchunked(body) if chunked else body
                    return self.answer(200, b"")
                case "DELETE":
                    bucket.files.pop(path, None)
                    return self.answer(204, b"")
            if path not in bucket.files:
                return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return self.answer(200, bucket.files[path])

        do_GET = do_HEAD = do_PUT = do_DELETE = do_any

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Fri, 15 May 2026 10:24:11 GMT")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    return server


def unchunked(body: bytes) -> bytes:
    """Return what a body in Amazon's own chunks carries."""
    content = b""
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if not size:
            break
        content, body = content + body[:size], body[size + 2 :]
    return content
