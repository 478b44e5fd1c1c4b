"""Receivers of every bad manner, on loopback, in threads."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

Talk = Callable[[socket.socket], None]


class Receiver:
    """A listening socket whose every connection is served by `talk`, in a thread of its own."""

    def __init__(self, talk: Talk, context: ssl.SSLContext | None = None) -> None:
        self.talk = talk
        self.context = context
        self.connections = 0
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                self.open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(sock)
            if self.context:
                sock = stack.enter_context(self.context.wrap_socket(sock, server_side=True))
            self.talk(sock)

    def read(self, sock: socket.socket) -> bytes:
        """Read one request, head and body; b"" at the end of the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = sock.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length:
            body += sock.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def close(self) -> None:
        self.listener.close()
        for sock in self.open:
            with contextlib.suppress(OSError):
                sock.close()


def answer(body: bytes = b"ok", status: str = "200 OK", *headers: str) -> bytes:
    """Spell a response with a Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.contextmanager
def receiving(
    *answers: bytes, context: ssl.SSLContext | None = None, talk: Talk | None = None
) -> Iterator[Receiver]:
    """Serve the answers in turn on each connection, the last one for ever."""

    def speak(sock: socket.socket) -> None:
        number = 0
        while receiver.read(sock):
            sock.sendall(answers[min(number, len(answers) - 1)])
            number += 1

    receiver = Receiver(talk or speak, context)
    try:
        yield receiver
    finally:
        receiver.close()


def drip(sock: socket.socket, data: bytes, pause: float = 0.05) -> None:
    """Send byte by byte, each well within any timeout per read."""
    for index in range(len(data)):
        sock.sendall(data[index : index + 1])
        time.sleep(pause)
