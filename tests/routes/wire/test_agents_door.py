"""The agents' door, and what goes through Django."""

import os
from pathlib import Path

import pytest

from .server import Web, chunk, request

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 50_000, b'{"a":' * 50_000, b"1" * 5000,
     b'{"conversation_id":-1,"payload":{}}', b'{"conversation_id":"\\ud800","payload":"\\ud800"}'],
)  # fmt: skip
@pytest.mark.parametrize("charset", ["utf-8", "zlib", "utf-16", "undefined", "none such"])
def test_an_agents_message_that_is_none_is_400(web: Web, body: bytes, charset: str) -> None:
    headers = [
        ("Authorization", f"Bearer {web.token}"),
        ("Content-Type", f"application/json; charset={charset}"),
    ]
    answer = web.send(request(*headers, path=f"/agents/{web.agent}/messages", body=body))
    assert answer.status == 400
    assert answer.json


@pytest.mark.parametrize("token", [b"", b"hsk_", b"\xff\xfe", "hsk_é".encode(), b"x" * 50_000])
def test_a_token_that_is_none_is_401(web: Web, token: bytes) -> None:
    bearer = ("Authorization", b"Bearer " + token)
    answer = web.send(request(bearer, path=f"/agents/{web.agent}/messages"))
    assert answer.status == 401
    assert answer.json


@pytest.mark.parametrize("path", ["/agents/x/messages", "/admin/login/", "/nowhere"])
def test_nobody_fills_the_disk_with_a_body_without_end(web: Web, path: str) -> None:
    frame = request(("Transfer-Encoding", "chunked"), path=path, body=b"", length=None, keep=True)
    answer = web.send(frame, *[chunk(b" " * 2**20)] * 40)
    assert answer.status == 413
    assert answer.ended


def test_requests_that_go_through_django_leave_no_connection_to_the_database_behind(
    web: Web,
) -> None:
    """Each has a thread of its own: what it left open, nobody would ever use again."""

    def connections() -> int:
        if web._database.url:
            statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            return int(web.query(statement)[0][0])
        links = [link for pid in web.pids() for link in Path(f"/proc/{pid}/fd").iterdir()]
        return sum("sqlite3" in os.readlink(link) for link in links if link.is_symlink())

    before = connections()
    bearer = ("Authorization", f"Bearer {web.token}")
    for _ in range(60):
        frame = request(bearer, path=f"/agents/{web.agent}/delivery-logs", method="GET", body=b"")
        assert web.send(frame).status == 200
    assert connections() - before < 15


def test_a_large_length_is_refused_everywhere_without_reading(web: Web) -> None:
    answer = web.send(request(path="/agents/x/messages", body=b"", length=10**10, keep=True))
    assert answer.status == 413
    assert answer.ended
