"""A gateway of the demo's own: its data, port and settings; no other installation is touched."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

from django.conf import settings
from django.core.management.base import CommandError

from vault.services import generate_secret

INSIDE = "HERMES_DEMO"
# Settings of a real installation that would lead into it.
NOT_FOR_THE_DEMO = ("HERMES_", "WEBHOOK_", "KEYS_DIR", "VAULT_KEYS", "SECRET_KEY")
START_SECONDS = 60
STOP_SECONDS = 20


def is_inside() -> bool:
    """Return whether this process has the sandbox's settings."""
    return INSIDE in os.environ


def enter(folder: Path | None, port: int | None, *, once: bool) -> NoReturn:
    """Begin this command anew with the settings of a sandbox; None: a temporary one, a free port.

    Settings are read once for each process, so the process is what has to change.
    """
    temporary = folder is None
    folder = folder or Path(tempfile.mkdtemp(prefix="hermes-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    port = port or free_port()
    ours = {
        INSIDE: "temporary" if temporary else "kept",
        "HERMES_DATA_DIR": str(folder),
        "HERMES_ENV_FILE": os.devnull,
        "DATABASE_URL": f"sqlite:///{folder / 'hermes.sqlite3'}",
        "WEBHOOK_ENABLED": "true",
        "WEBHOOK_HOST": "127.0.0.1",
        "WEBHOOK_PORT": str(port),
        "WEBHOOK_SECRET": generate_secret(),
        "PUBLIC_URL": f"http://localhost:{port}",
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "HTTPS_ONLY": "false",
        # The agent and the platforms of the demo are on this machine.
        "OUTBOUND_ALLOW_PRIVATE": "true",
        "PYTHONUNBUFFERED": "1",
    }
    theirs = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(NOT_FOR_THE_DEMO) and name.removesuffix("_FILE") not in ours
    }
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "demo"]
    if once:
        command.append("--once")
    os.execve(sys.executable, command, theirs | ours)  # noqa: S606  no shell is what we want


def is_temporary() -> bool:
    """Return whether the sandbox is to be removed when the demo ends."""
    return os.environ[INSIDE] == "temporary"


@contextmanager
def gateway() -> Iterator[None]:
    """Run the gateway, healthy from the first moment; its log is in the data folder."""
    log_path = settings.HERMES_DATA_DIR / "gateway.log"
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "gateway"]
    with log_path.open("ab") as log, _running(command, dict(os.environ), log) as running:
        deadline = time.monotonic() + START_SECONDS
        while not _is_healthy():
            if running.poll() is not None or time.monotonic() > deadline:
                raise CommandError(f"The gateway did not start:\n{log_path.read_text()}")
            time.sleep(0.1)
        yield


@contextmanager
def agent(port: int, given: dict[str, str]) -> Iterator[None]:
    """Run the demo's agent; ``given`` is what an agent is told when it is connected."""
    command = [sys.executable, "-m", "hermes_site.demo.agent", str(os.getpid()), str(port)]
    with _running(command, {**os.environ, **given}, None):
        yield


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        port: int = attempt.getsockname()[1]
        return port


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], output: IO[bytes] | None
) -> Iterator["subprocess.Popen[bytes]"]:
    # A session of its own: Ctrl-C is for us, and we end it in our order.
    running = subprocess.Popen(  # noqa: S603  our own programs
        command,
        env=environment,
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _is_healthy() -> bool:
    try:
        address = f"http://127.0.0.1:{settings.WEBHOOK_PORT}/health"
        with urllib.request.urlopen(address, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
