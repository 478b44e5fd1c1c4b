"""One gateway per data folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError

LOCK_FILE = "gateway.lock"


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the data folder, for one gateway at a time; the kernel lets go when we end.

    Raises CommandError when another gateway holds it.
    """
    path = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise CommandError(
            f"The data folder {folder} can't be written: {error.strerror}. Give it to the user "
            "Hermes runs as, or set HERMES_DATA_DIR."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CommandError(
                f"A gateway already runs on {folder} (process {file.read().strip()}). Stop it "
                "first, or set HERMES_DATA_DIR and WEBHOOK_PORT for a second one."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
