"""A fake platform's token call, answered beside the script of the others."""

import threading

from .fake import Answer, FakePlatform, Seen


class Lender:
    """Answers every request to one path with the next of its own script, the last for ever."""

    def __init__(self, fake: FakePlatform, path: str, *answers: Answer) -> None:
        self.requests: list[Seen] = []
        self._path = path
        self._script = list(answers)
        self._others = fake.take
        self._lock = threading.Lock()
        fake.take = self._take  # type: ignore[method-assign]

    def script(self, *answers: Answer) -> None:
        """Say from now on what is answered, one after the other."""
        self._script = list(answers)

    def _take(self, seen: Seen) -> Answer:
        if seen.path.partition("?")[0] != self._path:
            return self._others(seen)
        with self._lock:
            self.requests.append(seen)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]
