import multiprocessing
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from deliveries.outbound import (
    BlockedAddress,
    ConnectionLost,
    Policy,
    connections,
    request,
)

from .servers import answer, receiving


def post(url: str) -> bytes:
    return request("POST", url, body=b"{}", policy=Policy.LAN, timeout=3).body


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_requests_to_one_origin_share_a_connection() -> None:
    with receiving(answer()) as receiver:
        for _ in range(5):
            post(receiver.url)
    assert receiver.connections == 1
    assert len(receiver.requests) == 5


def test_threads_share_what_is_idle() -> None:
    with receiving(answer()) as receiver:
        for _ in range(5):
            thread = threading.Thread(target=post, args=(receiver.url,))
            thread.start()
            thread.join()
    assert receiver.connections == 1


def test_requests_at_once_have_a_connection_each() -> None:
    gate = threading.Barrier(4)

    def talk(sock: socket.socket) -> None:
        while receiver.read(sock):
            gate.wait(3)
            sock.sendall(answer())

    with receiving(talk=talk) as receiver:
        threads = [threading.Thread(target=post, args=(receiver.url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert receiver.connections == 4


def test_a_connection_that_is_to_close_is_not_kept() -> None:
    with receiving(answer(b"ok", "200 OK", "Connection: close")) as receiver:
        post(receiver.url)
        post(receiver.url)
    assert receiver.connections == 2


def test_a_connection_closed_while_idle_is_replaced() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(answer())

    with receiving(talk=talk) as receiver:
        post(receiver.url)
        time.sleep(0.05)
        post(receiver.url)
    assert (receiver.connections, len(receiver.requests)) == (2, 2)


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_a_connection_closed_as_the_request_comes_is_tried_once_more(
    end: Callable[[socket.socket], None],
) -> None:
    def talk(sock: socket.socket) -> None:
        if receiver.connections == 1:
            receiver.read(sock)
            sock.sendall(answer(b"first"))
            sock.recv(1)  # of the second request
            end(sock)
        else:
            receiver.read(sock)
            sock.sendall(answer(b"second"))

    with receiving(talk=talk) as receiver:
        assert post(receiver.url) == b"first"
        assert post(receiver.url) == b"second"
    assert receiver.connections == 2


def test_it_is_tried_once_more_only() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        if receiver.connections == 1:
            sock.sendall(answer())
            receiver.read(sock)

    with receiving(talk=talk) as receiver:
        post(receiver.url)
        with pytest.raises(ConnectionLost) as caught:
            post(receiver.url)
    assert caught.value.sent is True
    assert receiver.connections == 2


def test_it_is_not_tried_again_once_an_answer_has_begun() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(answer())
        receiver.read(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-")
        time.sleep(0.05)
        reset(sock)

    with receiving(talk=talk) as receiver:
        post(receiver.url)
        with pytest.raises(ConnectionLost) as caught:
            post(receiver.url)
    assert caught.value.sent is True
    assert (receiver.connections, len(receiver.requests)) == (1, 2)


def test_an_answer_nobody_asked_for_is_not_taken_for_the_next() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(answer(b"first"))
        time.sleep(0.05)
        sock.sendall(answer(b"stray"))
        if receiver.read(sock):
            sock.sendall(answer(b"never"))

    def second(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(answer(b"second"))

    with receiving(talk=talk) as receiver:
        assert post(receiver.url) == b"first"
        time.sleep(0.2)
        receiver.talk = second
        assert post(receiver.url) == b"second"
    assert receiver.connections == 2


def test_a_private_connection_does_not_serve_a_public_request(settings: Any) -> None:
    with receiving(answer()) as receiver:
        settings.OUTBOUND_ALLOW_PRIVATE = True
        request("GET", receiver.url)
        settings.OUTBOUND_ALLOW_PRIVATE = False
        with pytest.raises(BlockedAddress):
            request("GET", receiver.url)


def test_a_name_made_under_lan_is_judged_again_under_public(names: dict[str, list[str]]) -> None:
    names["box.example"] = ["127.0.0.1"]
    with receiving(answer()) as receiver:
        url = f"http://box.example:{receiver.port}/"
        assert request("GET", url, policy=Policy.LAN).status == 200
        with pytest.raises(BlockedAddress):
            request("GET", url)


@pytest.mark.parametrize("limit", ["MAX_IDLE_SECONDS", "MAX_AGE_SECONDS"])
def test_old_connections_are_not_used(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(answer()) as receiver:
        post(receiver.url)
        monkeypatch.setattr(connections, limit, 0.0)
        post(receiver.url)
    assert receiver.connections == 2


def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_IDLE_CONNECTIONS", 1)
    with receiving(answer()) as one, receiving(answer()) as two:
        for url in (one.url, two.url, two.url, one.url):
            post(url)
    assert (one.connections, two.connections) == (2, 1)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_connections_alone() -> None:
    context = multiprocessing.get_context("fork")
    with receiving(answer()) as receiver:
        post(receiver.url)
        child = context.Process(target=post, args=(receiver.url,))
        child.start()
        child.join(10)
        assert child.exitcode == 0
        assert receiver.connections == 2
        post(receiver.url)
    assert receiver.connections == 2
