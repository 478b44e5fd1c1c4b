"""The budget holds in every phase, against receivers that are slow on purpose."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from deliveries.outbound import Policy, TimedOut, request

from .servers import answer, drip, receiving

BUDGET = 0.5  # seconds
FAR_TOO_LONG = 3.0


@contextlib.contextmanager
def in_time(*, sent: bool) -> Iterator[None]:
    started = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        yield
    assert time.monotonic() - started < FAR_TOO_LONG
    assert (caught.value.error_class, caught.value.sent) == ("timeout", sent)


def test_a_receiver_that_never_answers() -> None:
    with receiving(talk=lambda sock: time.sleep(10)) as receiver, in_time(sent=True):
        request("POST", receiver.url, body=b"{}", policy=Policy.LAN, timeout=BUDGET)


@pytest.mark.parametrize("status", [b"HTTP/1.1 200 OK\r\n", b""])
def test_a_receiver_that_drips_its_head(status: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(status)
        drip(sock, answer(b"", "200 OK", *(f"X-{n}: {n}" for n in range(100))))

    with receiving(talk=talk) as receiver, in_time(sent=True):
        request("POST", receiver.url, policy=Policy.LAN, timeout=BUDGET)


def test_a_receiver_that_drips_its_body() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        drip(sock, b"x" * 1000)

    with receiving(talk=talk) as receiver, in_time(sent=True):
        request("POST", receiver.url, policy=Policy.LAN, timeout=BUDGET)


def test_a_receiver_that_drips_its_chunks() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        drip(sock, b"1\r\nx\r\n" * 1000)

    with receiving(talk=talk) as receiver, in_time(sent=True):
        request("POST", receiver.url, policy=Policy.LAN, timeout=BUDGET)


def test_a_receiver_that_says_continue_for_ever() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        while True:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.02)

    with receiving(talk=talk) as receiver, in_time(sent=True):
        request("POST", receiver.url, policy=Policy.LAN, timeout=BUDGET)


def test_a_receiver_that_reads_too_slowly() -> None:
    def talk(sock: socket.socket) -> None:
        while sock.recv(1000):
            time.sleep(0.05)

    with receiving(talk=talk) as receiver, in_time(sent=True):
        body = b"x" * 20_000_000
        request("POST", receiver.url, body=body, policy=Policy.LAN, timeout=BUDGET)


def test_a_receiver_that_never_accepts() -> None:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):  # fill its backlog
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with in_time(sent=False):
            request("POST", f"http://127.0.0.1:{port}/", policy=Policy.LAN, timeout=BUDGET)


def test_a_receiver_that_drips_its_handshake() -> None:
    def talk(sock: socket.socket) -> None:
        sock.recv(4096)
        drip(sock, b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xfc" + b"\x00" * 1000)

    with receiving(talk=talk) as receiver, in_time(sent=False):
        url = f"https://127.0.0.1:{receiver.port}/"
        request("POST", url, policy=Policy.LAN, timeout=BUDGET)


def test_a_connection_that_ran_out_of_time_is_not_used_again() -> None:
    def talk(sock: socket.socket) -> None:
        while receiver.read(sock):
            if len(receiver.requests) == 2:
                time.sleep(BUDGET * 1.5)
            sock.sendall(answer(str(len(receiver.requests)).encode()))

    with receiving(talk=talk) as receiver:
        assert request("GET", receiver.url, policy=Policy.LAN).body == b"1"
        with in_time(sent=True):
            request("GET", receiver.url, policy=Policy.LAN, timeout=BUDGET)
        assert request("GET", receiver.url, policy=Policy.LAN, timeout=BUDGET).body == b"3"
        time.sleep(BUDGET)
        assert request("GET", receiver.url, policy=Policy.LAN).body == b"4"
    assert receiver.connections == 2
