"""Fifty endpoints for `bench.send`: one process, one loop, an address of loopback each.

    python -m bench.receiver PORT REPORT [DEAD]

Addresses 127.0.1.1 to 127.0.1.50; the first DEAD of them take connections and never answer. Each
arrival is a line in the file REPORT: endpoint, unix time, delivery id.
"""

import asyncio
import sys
import time
from typing import Any

import uvloop

ENDPOINTS = 50
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Endpoint(asyncio.Protocol):
    """One connection to one endpoint."""

    def __init__(self, number: int, dead: bool, report: list[str]) -> None:
        self._number, self._dead, self._report = number, dead, report
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport  # uvloop's is no asyncio.Transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            headers = {}
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                headers[name.lower()] = value.strip()
            length = int(headers.get(b"content-length", b"0"))
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            delivery = headers.get(b"x-hashee-delivery-id", b"?").decode()
            self._report.append(f"{self._number} {time.time():.6f} {delivery}\n")
            if not self._dead:
                self._transport.write(ANSWER)


async def serve(port: int, path: str, dead: int) -> None:
    """Listen on every address; write the report twice a second."""
    loop = asyncio.get_running_loop()
    report: list[str] = []
    for number in range(1, ENDPOINTS + 1):
        await loop.create_server(
            lambda n=number: Endpoint(n, n <= dead, report),  # type: ignore[misc]
            f"127.0.1.{number}",
            port,
            backlog=512,
        )
    with open(path, "a") as file:
        while True:
            await asyncio.sleep(0.1)
            lines, report[:] = list(report), []
            file.writelines(lines)
            file.flush()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0))
