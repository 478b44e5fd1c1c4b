import json
import socket
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from deliveries.outbound import (
    BadResponse,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    OutboundError,
    Policy,
    TimedOut,
    TlsFailed,
    request,
)

from .servers import answer, receiving


def test_what_goes_over_the_wire() -> None:
    with receiving(answer(b'{"ok": true}', "201 Created", "X-Id: a", "X-ID: b")) as receiver:
        reply = request(
            "post",
            f"{receiver.url}/hook/路?x=1#top",
            headers={"X-Hashee-Event": "message", "content-type": "application/json"},
            body=b'{"a": 1}',
            policy=Policy.LAN,
        )
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /hook/%E8%B7%AF?x=1 HTTP/1.1",
        f"Host: 127.0.0.1:{receiver.port}".encode(),
        b"User-Agent: Hermes/0.1 (+webhook gateway)",
        b"Accept: */*",
        b"Accept-Encoding: identity",
        b"X-Hashee-Event: message",
        b"content-type: application/json",
        b"Content-Length: 8",
    ]
    assert body == b'{"a": 1}'
    assert reply.status == 201
    assert reply.json() == {"ok": True}
    assert reply.headers["x-id"] == "a, b"
    assert reply.truncated is False
    assert 0 <= reply.elapsed_ms < 3000


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_methods_without_a_body_send_none(method: str) -> None:
    with receiving(b"HTTP/1.1 204 No Content\r\n\r\n") as receiver:
        assert request(method, receiver.url, policy=Policy.LAN).body == b""
    assert b"content-length" not in receiver.requests[0].lower()


def test_an_empty_post_says_so() -> None:
    with receiving(answer()) as receiver:
        request("POST", receiver.url, policy=Policy.LAN)
    assert b"Content-Length: 0\r\n" in receiver.requests[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_answers(status: int) -> None:
    with (
        receiving(answer()) as elsewhere,
        receiving(answer(b"", f"{status} Moved", f"Location: {elsewhere.url}")) as receiver,
    ):
        reply = request("POST", receiver.url, body=b"{}", policy=Policy.LAN)
    assert reply.status == status
    assert elsewhere.connections == 0


def test_neither_proxy_nor_netrc_leaks_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password open-sesame\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with receiving(answer(b"proxy")) as proxy, receiving(answer(b"receiver")) as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        reply = request("GET", receiver.url, policy=Policy.LAN)
    assert reply.body == b"receiver"
    assert proxy.connections == 0
    assert b"authorization" not in receiver.requests[0].lower()


def test_cookies_are_not_kept() -> None:
    with receiving(answer(b"", "200 OK", "Set-Cookie: a=b; Path=/")) as receiver:
        request("GET", receiver.url, policy=Policy.LAN)
        request("GET", receiver.url, policy=Policy.LAN)
    assert b"cookie" not in receiver.requests[1].lower()


def test_the_connection_goes_to_the_address_that_was_judged(
    names: dict[str, list[str]], connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = []
    fake = socket.getaddrinfo

    def rebinding(host: str, *args: Any, **kwargs: Any) -> Any:
        lookups.append(host)
        names[host] = ["93.184.216.34"] if len(lookups) == 1 else ["127.0.0.1"]
        return fake(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with receiving(answer()) as receiver:
        connected.to = receiver.port
        assert request("POST", "http://rebind.example/hook", body=b"{}").status == 200
    assert lookups == ["rebind.example"]
    assert connected == [("93.184.216.34", 80)]
    assert b"\r\nHost: rebind.example\r\n" in receiver.requests[0]


def test_the_second_address_is_tried_when_the_first_refuses(names: dict[str, list[str]]) -> None:
    names["two.example"] = ["::1", "127.0.0.1"]
    with receiving(answer()) as receiver:
        url = f"http://two.example:{receiver.port}/"
        assert request("GET", url, policy=Policy.LAN).status == 200


def test_a_chunked_answer_is_put_together() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    )
    with receiving(chunked) as receiver:
        assert request("GET", receiver.url, policy=Policy.LAN).body == b"abcde"
        assert request("GET", receiver.url, policy=Policy.LAN).body == b"abcde"
    assert receiver.connections == 1


def test_an_answer_that_ends_with_the_connection() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    with receiving(talk=talk) as receiver:
        assert request("GET", receiver.url, policy=Policy.LAN).body == b"all of it"


def test_interim_answers_are_skipped() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    with receiving(early + answer(b"late")) as receiver:
        assert request("POST", receiver.url, policy=Policy.LAN).body == b"late"


def test_an_early_answer_to_a_large_body_is_read() -> None:
    def talk(sock: socket.socket) -> None:
        sock.recv(1024)
        sock.sendall(answer(b"too large", "413 Payload Too Large", "Connection: close"))
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1 << 24)

    with receiving(talk=talk) as receiver:
        reply = request("POST", receiver.url, body=b"x" * 3_000_000, policy=Policy.LAN, timeout=3)
    assert reply.status == 413


# -- Errors ---------------------------------------------------------------------------------


def test_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed, match="refused") as caught:
        request("POST", f"http://127.0.0.1:{port}/", policy=Policy.LAN)
    assert (caught.value.error_class, caught.value.sent) == ("connect", False)


def test_a_receiver_that_closes_without_an_answer_may_have_got_it() -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)

    with receiving(talk=talk) as receiver, pytest.raises(ConnectionLost) as caught:
        request("POST", receiver.url, body=b"{}", policy=Policy.LAN)
    assert (caught.value.error_class, caught.value.sent) == ("reset", True)
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_an_answer_cut_short_is_lost(cut: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        receiver.read(sock)
        sock.sendall(cut)

    with receiving(talk=talk) as receiver, pytest.raises(ConnectionLost) as caught:
        request("POST", receiver.url, policy=Policy.LAN)
    assert caught.value.sent is True


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"x" * 100_000,
    ],
)
def test_nonsense_is_a_bad_response(nonsense: bytes) -> None:
    with receiving(nonsense) as receiver, pytest.raises(BadResponse) as caught:
        request("POST", receiver.url, policy=Policy.LAN, timeout=3)
    assert (caught.value.error_class, caught.value.sent) == ("protocol", True)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "b\r\nX-Evil: 1"},
        {"X-A": "b\nX-Evil: 1"},
        {"X-A": "b\rc"},
        {"X-A": "b\x00"},
        {"X-A\r\nX-Evil": "1"},
        {"X A": "1"},
        {"X-A:": "1"},
        {"": "1"},
        {"X-A": "路"},
        {"Host": "other.example"},
        {"host": "other.example"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "close"},
    ],
)
def test_headers_that_would_change_the_request_are_refused(headers: dict[str, str]) -> None:
    with receiving(answer()) as receiver, pytest.raises(InvalidRequest) as caught:
        request("POST", receiver.url, headers=headers, policy=Policy.LAN)
    assert caught.value.sent is False
    assert receiver.requests == []


@pytest.mark.parametrize("method", ["GET / HTTP/1.1\r\nX: y\r\n\r\nGET", "", "GE T"])
def test_a_method_is_one_word(method: str) -> None:
    with receiving(answer()) as receiver, pytest.raises(InvalidRequest):
        request(method, receiver.url, policy=Policy.LAN)


def test_secrets_are_blanked_in_the_message() -> None:
    with pytest.raises(OutboundError) as caught:
        request(
            "GET",
            "http://hook-0123456789.invalid/path-secret?token=query-secret",
            secrets=["0123456789", "path-secret", "query-secret"],
        )
    told = f"{caught.value!s} {caught.value!r}"
    assert "***" in told
    for secret in ("0123456789", "path-secret", "query-secret"):
        assert secret not in told
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ is True


# -- The wire as tests of senders fake it ---------------------------------------------------


@responses.activate
def test_responses_can_stand_in_for_the_wire() -> None:
    responses.post(
        "https://api.example/x", json={"ok": True}, status=429, headers={"Retry-After": "3"}
    )
    reply = request("POST", "https://api.example/x", body=json.dumps({"a": 1}).encode())
    assert (reply.status, reply.json(), reply.headers["retry-after"]) == (429, {"ok": True}, "3")
    call = responses.calls[0].request
    assert call.body == b'{"a": 1}'
    assert call.headers["user-agent"] == "Hermes/0.1 (+webhook gateway)"


@pytest.mark.parametrize(
    ("fault", "expected", "sent"),
    [
        (requests.ConnectTimeout(), TimedOut, False),
        (requests.ReadTimeout(), TimedOut, True),
        (requests.exceptions.SSLError(), TlsFailed, False),
        (requests.ConnectionError("https://secret"), ConnectionLost, True),
    ],
)
@responses.activate
def test_faults_that_a_test_puts_on_the_wire_are_ours(
    fault: Exception, expected: type[OutboundError], sent: bool
) -> None:
    responses.post("https://api.example/x", body=fault)
    with pytest.raises(expected) as caught:
        request("POST", "https://api.example/x")
    assert caught.value.sent is sent
    assert "secret" not in str(caught.value)
