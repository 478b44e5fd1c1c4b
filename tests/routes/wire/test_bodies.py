"""Signatures and bodies as bytes: what HTTP allows, and what it does not."""

import gzip
import os
import socket
import time
from pathlib import Path

import pytest

from .server import BODY, LIMIT, READ_SECONDS, Web, at_once, chunk, request, signed

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]


@pytest.mark.parametrize(
    "signature",
    [
        None,
        b"sha256=",
        b"sha256=" + b"0" * 64,
        signed(BODY, "another secret"),
        signed(BODY).upper(),
        signed(BODY).removeprefix("sha256="),
        signed(BODY) + "0",
        "sha256=é".encode("latin-1"),
        "sha256=é中".encode(),
        b"sha256=\x80\xff\xfe",
        b"," * 5000,
        b"sha256=" * 5000,
    ],
)
def test_a_signature_that_is_not_right_is_401(web: Web, signature: str | bytes | None) -> None:
    before = web.events()
    answer = web.send(request(signature=signature))
    assert (answer.status, answer.json) == (401, {"error": "Invalid signature"})
    assert web.events() == before


@pytest.mark.parametrize("name", ["X-Gitlab-Token", "X-Webhook-Signature", "Webhook-Signature"])
@pytest.mark.parametrize("value", [b"\xff\xfe", "é".encode(), b"v1,\xff", b"1" * 9000])
def test_bytes_of_every_kind_in_every_signature_header_are_401(
    web: Web, name: str, value: bytes
) -> None:
    answer = web.send(request((name, value), ("X-Gitlab-Event", value), signature=None))
    assert answer.status == 401


def test_a_signature_sent_twice_counts_when_one_is_right(web: Web) -> None:
    assert web.send(request(("X-Hub-Signature-256", "sha256=00"))).status == 202


def test_a_signature_sent_twice_and_wrong_both_times_is_401(web: Web) -> None:
    answer = web.send(request(("X-Hub-Signature-256", "sha256=00"), signature="sha256=11"))
    assert answer.status == 401


def test_the_right_signature_behind_many_wrong_ones_is_not_looked_for(web: Web) -> None:
    many = ",".join(["sha256=00"] * 50)
    assert web.send(request(signature=f"{many},{signed(BODY)}")).status == 401


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{bad", b"\xff\xfe\x00", b"no json", b"[" * 5000, b" " + b"[" * 980]
)
def test_a_body_that_says_nothing_is_400(web: Web, body: bytes) -> None:
    answer = web.send(request(body=body))
    assert (answer.status, answer.json) == (400, {"error": "Cannot parse body"})


@pytest.mark.parametrize("depth", [500, 900, 950, 990, 1020, 2000])
@pytest.mark.parametrize("before", [b"", b" "], ids=["", "behind a space"])
def test_deep_nesting_is_taken_or_refused_and_never_an_error_of_ours(
    web: Web, depth: int, before: bytes
) -> None:
    answer = web.send(request(body=before + b"[" * depth + b"]" * depth))
    assert answer.status in (202, 400)
    assert answer.json


def test_a_body_that_breaks_off_is_400_and_nothing_is_kept(web: Web) -> None:
    before = web.events()
    answer = web.send(request(length=len(BODY) + 1, signature=signed(BODY)), close=True)
    assert (answer.status, answer.json) == (400, {"error": "Bad request"})
    assert web.events() == before


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(web: Web) -> None:
    before = web.events()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", web.port)) as wire:
            wire.sendall(request(length=len(BODY) + 1, signature=signed(BODY)))
    time.sleep(0.2)
    assert web.events() == before


def test_clients_that_do_not_wait_for_the_answer_may_ask_again(web: Web) -> None:
    before = web.events()
    frames = [request() for _ in range(20)]
    for frame in frames:
        with socket.create_connection(("127.0.0.1", web.port)) as wire:
            wire.sendall(frame)
    assert {web.send(frame).status for frame in frames} <= {200, 202}
    assert web.events() == before + 20


@pytest.mark.parametrize("length", [LIMIT + 1, 10**9, 2**63])
def test_a_length_over_the_limit_is_413_without_a_byte_being_read(web: Web, length: int) -> None:
    answer = web.send(request(path="/webhooks/small", body=b"", length=length, keep=True))
    assert (answer.status, answer.json) == (413, {"error": "Payload too large"})
    assert answer.ended
    assert answer.seconds < READ_SECONDS


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(web: Web) -> None:
    just = BODY.ljust(LIMIT)
    assert web.send(request(path="/webhooks/small", body=just)).status == 202
    assert web.send(request(path="/webhooks/small", body=just + b" ")).status == 413


def test_a_chunked_body_is_taken(web: Web) -> None:
    frame = request(("Transfer-Encoding", "chunked"), body=b"", length=None, signature=signed(BODY))
    assert web.send(frame, chunk(BODY[:9]), chunk(BODY[9:]), chunk(b"")).status == 202


def test_a_chunked_body_of_one_byte_too_many_is_413(web: Web) -> None:
    frame = request(("Transfer-Encoding", "chunked"), path="/webhooks/small", body=b"", length=None)
    answer = web.send(frame, chunk(b" " * LIMIT), chunk(b" "), chunk(b""))
    assert answer.status == 413


def test_a_chunked_body_without_end_is_cut_off_at_the_limit(web: Web) -> None:
    frame = request(("Transfer-Encoding", "chunked"), body=b"", length=None, keep=True)
    answer = web.send(frame, *[chunk(b" " * 65_536)] * 400)
    assert answer.status == 413
    assert answer.ended


@pytest.mark.parametrize(
    "junk", [b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n", b"ffffffffffffffffff\r\n"]
)
def test_chunks_that_are_none_are_400(web: Web, junk: bytes) -> None:
    frame = request(("Transfer-Encoding", "chunked"), body=b"", length=None)
    assert web.send(frame, junk, close=True).status == 400


@pytest.mark.parametrize("length", ["-1", "+7", "7, 8", "abc", "9" * 5000])
def test_a_length_that_is_none_is_400(web: Web, length: str) -> None:
    assert web.send(request(("Content-Length", length), length=None)).status == 400


def test_two_lengths_are_400(web: Web) -> None:
    assert web.send(request(("Content-Length", str(len(BODY) + 1)))).status == 400


def test_a_length_beside_chunks_smuggles_nothing_in(web: Web) -> None:
    hidden = request()
    chunks = ("Transfer-Encoding", "chunked")
    frame = request(chunks, body=b"", length=5, signature=signed(BODY), keep=True)
    answer = web.send(frame, chunk(BODY), chunk(b""), hidden)
    assert len(answer.statuses) == 1
    assert answer.ended


GZIP = ("Content-Encoding", "gzip")


def test_a_compressed_body_is_signed_as_it_was_before(web: Web) -> None:
    body = gzip.compress(BODY)
    assert web.send(request(GZIP, body=body, signature=signed(BODY))).status == 202
    assert web.send(request(GZIP, body=body, signature=signed(body))).status == 401


def test_a_compressed_body_that_is_damaged_is_415(web: Web) -> None:
    answer = web.send(request(GZIP, body=gzip.compress(BODY)[:-1], signature=signed(BODY)))
    assert (answer.status, answer.json) == (415, {"error": "Cannot decode body"})


def test_the_limit_is_that_of_the_inflated_body(web: Web) -> None:
    def send(body: bytes) -> int:
        packed = gzip.compress(body)
        assert len(packed) < LIMIT
        frame = request(GZIP, path="/webhooks/small", body=packed, signature=signed(body))
        return web.send(frame).status

    assert send(BODY.ljust(LIMIT)) == 202
    assert send(BODY.ljust(LIMIT + 1)) == 413


def test_a_bomb_is_413_before_it_goes_off(web: Web) -> None:
    bomb = gzip.compress(bytes(200 * 2**20), 9)
    chunked = ("Transfer-Encoding", "chunked")
    frames = [
        [request(GZIP, body=bomb)],
        [request(GZIP, chunked, body=b"", length=None), chunk(bomb), chunk(b"")],
        # Member behind member: each of them within the limit.
        [request(GZIP, body=gzip.compress(bytes(1_000_000)) * 200)],
    ]
    before = resident(web)
    answers = at_once(9, lambda number: web.send(*frames[number % 3]))
    assert {answer.status for answer in answers} == {413}
    assert max(answer.seconds for answer in answers) < READ_SECONDS
    assert resident(web) - before < 64 * 2**20


def test_a_body_that_drips_is_cut_off_and_the_connection_ends(web: Web) -> None:
    frame = request(body=b"", length=len(BODY), signature=signed(BODY), keep=True)
    answer = web.send(frame, *[bytes([byte]) for byte in BODY[:20]], pause=0.2)
    assert (answer.status, answer.json) == (400, {"error": "Bad request"})
    assert answer.ended


def test_a_body_that_stalls_is_cut_off_in_time(web: Web) -> None:
    answer = web.send(request(body=b"", length=10, keep=True))
    assert answer.status == 400
    assert READ_SECONDS * 0.9 < answer.seconds < READ_SECONDS * 3
    assert answer.ended


def test_a_good_request_goes_through_beside_many_slow_ones(web: Web) -> None:
    slow = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(150)]
    try:
        for wire in slow:
            wire.sendall(request(body=b'{"a":', length=1000))
        answers = [web.send(request()) for _ in range(3)]
    finally:
        for wire in slow:
            wire.close()
    assert [answer.status for answer in answers] == [202] * 3
    assert max(answer.seconds for answer in answers) < READ_SECONDS


def test_memory_is_bounded_by_what_the_limit_lets_in(web: Web) -> None:
    frame = request(("Transfer-Encoding", "chunked"), body=b"", length=None)
    before = resident(web)
    at_once(10, lambda _: [web.send(frame, *[chunk(b" " * 65_536)] * 100) for _ in range(5)])
    assert resident(web) - before < 64 * 2**20


def resident(web: Web) -> int:
    """Return how much memory the server holds, in bytes."""
    pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in web.pids()]
    return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE")
