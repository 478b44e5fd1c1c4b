import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deliveries.outbound.connections import idle

Answers = dict[str, list[str]]


@pytest.fixture(autouse=True)
def fresh_connections() -> Iterator[None]:
    yield
    idle.clear()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Names to their addresses; every other name is left to the real resolver."""
    table: Answers = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host not in table:
            return real(host, port, *args, **kwargs)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (ip, port, 0, 0))
            if ":" in ip
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))
            for ip in table[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return table


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record where sockets connect; they go to the loopback port in `connected.to`, or fail."""

    class Connected(list[Any]):
        to: int | None = None

    log = Connected()
    real: Callable[..., None] = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        log.append(address)
        if log.to is None:
            raise ConnectionRefusedError(111, "Connection refused")
        real(sock, ("127.0.0.1", log.to))

    monkeypatch.setattr(socket.socket, "connect", connect)
    return log
