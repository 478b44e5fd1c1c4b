"""What is read of an answer: how much of it, unpacked how, and what becomes of it."""

import gzip
import socket
import zlib
from typing import Any

import pytest

from deliveries.outbound import BadResponse, Policy, request

from .servers import answer, receiving


def test_a_huge_body_is_cut_and_its_connection_given_up() -> None:
    with receiving(answer(b"x" * 5_000_000)) as receiver:
        for _ in range(2):
            reply = request("GET", receiver.url, policy=Policy.LAN)
            assert reply.body == b"x" * 65536
            assert reply.truncated is True
    assert receiver.connections == 2


def test_a_body_of_exactly_the_limit_is_whole() -> None:
    with receiving(answer(b"x" * 100)) as receiver:
        reply = request("GET", receiver.url, policy=Policy.LAN, max_response=100)
    assert reply.body == b"x" * 100
    assert reply.truncated is False


def test_an_endless_body_is_cut() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sock.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    with receiving(talk=talk) as receiver:
        reply = request("GET", receiver.url, policy=Policy.LAN, timeout=3)
    assert (len(reply.body), reply.truncated) == (65536, True)


def test_a_gzip_bomb_stays_small() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    with receiving(answer(bomb, "200 OK", "Content-Encoding: gzip")) as receiver:
        reply = request("GET", receiver.url, policy=Policy.LAN)
    assert reply.body == b"0" * 65536
    assert reply.truncated is True


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress)],
)
def test_encodings_sent_unasked_are_unpacked(coding: str, pack: Any) -> None:
    with receiving(answer(pack(b'{"ok": 1}'), "200 OK", f"Content-Encoding: {coding}")) as receiver:
        assert request("GET", receiver.url, policy=Policy.LAN).json() == {"ok": 1}


def test_a_body_that_is_not_what_its_encoding_says_is_kept_as_it_is() -> None:
    with receiving(answer(b"plain", "200 OK", "Content-Encoding: gzip")) as receiver:
        assert request("GET", receiver.url, policy=Policy.LAN).body == b"plain"


def test_an_endless_head_is_refused() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            sock.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")

    with receiving(talk=talk) as receiver, pytest.raises(BadResponse) as caught:
        request("GET", receiver.url, policy=Policy.LAN, timeout=3)
    assert caught.value.sent is True


# -- What is read out of a reply ------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "héllo 路".encode(), "héllo 路"),
        ("text/plain; charset=ISO-8859-1", "héllo".encode("latin-1"), "héllo"),
        ('text/plain; charset="gbk"', "路".encode("gbk"), "路"),
        ("text/plain; charset=none-such", b"hello", "hello"),
        ("application/json", b"\xff", "�"),
    ],
)
def test_text_never_fails(content_type: str, body: bytes, text: str) -> None:
    with receiving(answer(body, "200 OK", f"Content-Type: {content_type}")) as receiver:
        assert request("GET", receiver.url, policy=Policy.LAN).text == text


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff\xfe\x00", b"[" * 50_000])
def test_json_is_none_when_there_is_none(body: bytes) -> None:
    with receiving(answer(body)) as receiver:
        assert request("GET", receiver.url, policy=Policy.LAN).json() is None
