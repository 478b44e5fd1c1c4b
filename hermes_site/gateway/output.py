"""One stream for what every process of the gateway prints, each line with its origin."""

import os
import sys
from typing import IO

from django.conf import settings

from hermes_site.logs import as_json

LONGEST_LINE = 65_536


class Relay:
    """Passes the lines of one child on to our standard output.

    As ``name | line``; with LOG_FORMAT=json as JSON, whoever printed them.
    """

    def __init__(self, name: str, source: IO[bytes]) -> None:
        self._name = name
        self._source = source
        self._partial = b""
        os.set_blocking(source.fileno(), False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._source.fileno()

    def pass_on(self) -> bool:
        """Pass on the whole lines that are there; return False at the end of the stream."""
        try:
            chunk = os.read(self.fileno(), LONGEST_LINE)
        except BlockingIOError:
            return True
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if self._partial and (not chunk or len(self._partial) > LONGEST_LINE):
            lines.append(self._partial)
            self._partial = b""
        if lines:
            sys.stdout.buffer.write(b"".join(self._shown(line) + b"\n" for line in lines))
            sys.stdout.buffer.flush()
        return bool(chunk)

    def _shown(self, line: bytes) -> bytes:
        if settings.LOG_FORMAT == "json":
            return as_json(line, self._name)
        return f"{self._name:<7} | ".encode() + line

    def close(self) -> None:
        """Let go of the stream."""
        self._source.close()
