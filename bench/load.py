"""A load generator: keep-alive connections that post prepared requests.

One process, one loop. Every request has its own delivery id; what was accepted is remembered, so
that it can be asked for afterwards.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import uvloop


@dataclass(slots=True)
class Load:
    """What to post, and where."""

    port: int
    path: str
    body: bytes
    headers: dict[str, str]
    id_header: str = "X-GitHub-Delivery"
    connections: int = 32
    seconds: float = 4.0
    rate: float = 0.0  # requests a second over all connections; 0: as fast as possible
    bad_signature: bool = False


@dataclass(slots=True)
class Report:
    """What came of it; latencies are in seconds."""

    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Return answered requests a second."""
        return sum(self.statuses.values()) / self.seconds

    def percentile(self, share: float) -> float:
        """Return a latency percentile in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load, report: Report, deadline: float) -> None:
        self._load, self._report, self._deadline = load, report, deadline
        head = "".join(f"{name}: {value}\r\n" for name, value in load.headers.items())
        self._head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n{head}"
            f"Content-Length: {len(load.body)}\r\n{load.id_header}: "
        ).encode()
        self._tail = b"\r\n\r\n" + load.body
        self._buffer = b""
        self._gap = load.connections / load.rate if load.rate else 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport  # uvloop's is no asyncio.Transport
        self._due = time.perf_counter()
        self._post()

    def _post(self) -> None:
        now = time.perf_counter()
        if now >= self._deadline:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self._id = str(uuid4())
        self._began = now
        self._transport.writelines([self._head, self._id.encode(), self._tail])

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return
        self._buffer = b""
        status = int(head[9:12])
        self._report.statuses[status] += 1
        self._report.latencies.append(time.perf_counter() - self._began)
        if status < 300:
            self._report.accepted.append(self._id)
        if self._gap:
            self._due += self._gap
            asyncio.get_running_loop().call_later(
                max(0.0, self._due - time.perf_counter()), self._post
            )
        else:
            self._post()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(exc)


def run(load: Load) -> Report:
    """Post for so many seconds and return what came of it."""
    return uvloop.run(_run(load))


async def _run(load: Load) -> Report:
    report = Report(load.seconds)
    deadline = time.perf_counter() + load.seconds
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(load.connections):
        _transport, protocol = await loop.create_connection(
            lambda: _Connection(load, report, deadline), "127.0.0.1", load.port
        )
        connections.append(protocol)
    await asyncio.wait([connection.done for connection in connections], timeout=load.seconds + 15)
    return report
