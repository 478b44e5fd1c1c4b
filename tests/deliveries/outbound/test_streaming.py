"""Answers that are read while they come: guarded, bounded, and ended in time."""

import socket
import threading
import time

import pytest
from pytest_django import Settings

from deliveries.outbound import BlockedAddress, ConnectionLost, Policy, TimedOut
from deliveries.outbound.connections import idle
from deliveries.outbound.streaming import Streamed, TooLong, stream

from .servers import answer, drip, receiving

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LIMIT = 10_000


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def lines_of(answered: Streamed) -> list[bytes]:
    return list(answered.lines(LIMIT))


def all_lines(url: str, timeout: float = 2) -> list[bytes]:
    with stream("POST", url, policy=Policy.LAN, timeout=timeout) as answered:
        return lines_of(answered)


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"one\ntwo\r\n\nthree"),
        CHUNKED + chunk(b"on") + chunk(b"e\ntwo\r") + chunk(b"\n\nthree") + b"0\r\n\r\n",
    ],
)
def test_lines_come_as_they_are_however_they_are_cut(reply: bytes) -> None:
    with (
        receiving(reply) as receiver,
        stream("POST", receiver.url, policy=Policy.LAN, timeout=2) as got,
    ):
        assert got.status == 200
        assert lines_of(got) == [b"one", b"two", b"", b"three"]


def test_a_line_is_there_before_the_next_one_is_sent() -> None:
    go_on = threading.Event()

    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(CHUNKED + chunk(b"one\n"))
        assert go_on.wait(5)
        sock.sendall(chunk(b"two\n") + b"0\r\n\r\n")

    with (
        receiving(talk=talk) as receiver,
        stream("POST", receiver.url, policy=Policy.LAN, timeout=5) as got,
    ):
        lines = got.lines(LIMIT)
        assert next(lines) == b"one"
        go_on.set()
        assert list(lines) == [b"two"]


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\none\n",
        CHUNKED + b"64\r\none\n",
        CHUNKED + chunk(b"one\n"),
        CHUNKED + chunk(b"one\n") + b"nonsense",
    ],
)
def test_a_body_that_ends_too_early_is_no_end(reply: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(reply)

    with receiving(talk=talk) as receiver, pytest.raises(ConnectionLost) as caught:
        all_lines(receiver.url)
    assert caught.value.sent


def test_the_time_is_for_everything_however_often_a_byte_comes() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        drip(sock, b"one\n" * 100)

    started = time.monotonic()
    with receiving(talk=talk) as receiver, pytest.raises(TimedOut) as caught:
        all_lines(receiver.url, 0.4)
    assert time.monotonic() - started < 2
    assert caught.value.sent


def test_the_bytes_are_counted_over_all_lines() -> None:
    with receiving(answer(b"x\n" * 6000)) as receiver, pytest.raises(TooLong):
        all_lines(receiver.url)


def test_a_line_without_an_end_is_bounded() -> None:
    with receiving(answer(b"x" * 50_000)) as receiver, pytest.raises(TooLong):
        all_lines(receiver.url)


def test_a_body_is_read_whole_up_to_its_limit() -> None:
    with receiving(answer(b"x" * LIMIT), answer(b"x" * (LIMIT + 1))) as receiver:
        with stream("POST", receiver.url, policy=Policy.LAN, timeout=2) as got:
            assert len(got.read(LIMIT)) == LIMIT
        with (
            pytest.raises(TooLong),
            stream("POST", receiver.url, policy=Policy.LAN, timeout=2) as got,
        ):
            got.read(LIMIT)


def test_a_connection_that_was_read_to_its_end_is_used_again() -> None:
    with receiving(answer(b"one\n")) as receiver:
        for _again in range(2):
            with stream("POST", receiver.url, policy=Policy.LAN, timeout=2) as got:
                lines_of(got)
        assert (receiver.connections, len(receiver.requests)) == (1, 2)


def test_a_connection_that_was_not_is_closed() -> None:
    with receiving(answer(b"one\ntwo\n" * 50_000)) as receiver:
        with stream("POST", receiver.url, policy=Policy.LAN, timeout=2) as got:
            next(got.lines(LIMIT))
        assert not idle._by_origin
        with stream("POST", receiver.url, policy=Policy.LAN, timeout=2) as got:
            next(got.lines(LIMIT))
        assert receiver.connections == 2


def test_an_address_inside_is_refused(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    with pytest.raises(BlockedAddress), stream("POST", "http://127.0.0.1:9/", timeout=2):
        raise AssertionError("it was called")


def test_an_error_holds_no_secret() -> None:
    with (
        receiving(talk=lambda sock: None) as receiver,
        pytest.raises(ConnectionLost) as caught,
        stream("POST", receiver.url, policy=Policy.LAN, timeout=2, secrets=("127.0.0.1",)),
    ):
        pass
    assert "127.0.0.1" not in str(caught.value)
