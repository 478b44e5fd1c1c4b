"""A PostgreSQL server that is thrown away afterwards, for one command.

``python -m tests.postgres python -m pytest`` starts a server in a temporary folder, sets
DATABASE_URL for the command, and exits as the command does. Where PostgreSQL is not installed it
says so and exits 0 without running the command.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")
START_SECONDS = 30
# The throw-away server keeps nothing, so it need not wait for the disk.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest version first; None: not installed."""
    places = sorted(DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        places.append(Path(on_path).resolve().parent)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    return None


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """Run a server; yield its DATABASE_URL. It listens on loopback, with a password."""
    folder = Path(tempfile.mkdtemp(prefix="hermes-postgres-"))
    user = _own_user()
    password = secrets.token_urlsafe(24)
    password_file = folder / "password"
    password_file.write_text(password)
    if user:
        shutil.chown(folder, user)
        shutil.chown(password_file, user)
    process = None
    try:
        _run_as(
            user,
            [
                str(programs / "initdb"),
                f"--pgdata={folder / 'data'}",
                "--username=hermes",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            ],
            folder,
        )
        port = _free_port()
        settings = (
            f"port={port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={folder}",
            "max_connections=200",
            *FAST,
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *_as(user),
                    str(programs / "postgres"),
                    "-D",
                    str(folder / "data"),
                    *(part for setting in settings for part in ("-c", setting)),
                ],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        url = f"postgres://hermes:{password}@127.0.0.1:{port}/postgres"
        _wait_until_up(url, process, folder / "log")
        yield url
    finally:
        if process:
            _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _own_user() -> str | None:
    """Return the user to run as: PostgreSQL refuses root. None: as we are."""
    return "postgres" if os.geteuid() == 0 else None


def _as(user: str | None) -> list[str]:
    if user is None:
        return []
    # Both replace themselves by the program, so that its process is ours to stop.
    if setpriv := shutil.which("setpriv"):
        return [setpriv, f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
    return [shutil.which("runuser") or "runuser", "-u", user, "--"]


def _run_as(user: str | None, command: list[str], folder: Path) -> None:
    done = subprocess.run([*_as(user), *command], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")


def _free_port() -> int:
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        port: int = attempt.getsockname()[1]
        return port


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(2)  # "fast": disconnects who is still there
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(command: list[str]) -> int:
    """Run the command with a server; return its exit code."""
    programs = binaries()
    if programs is None:
        sys.stderr.write(
            "\n*** PostgreSQL is not installed: NOTHING was run on it. ***\n"
            "*** (Debian: apt-get install postgresql)               ***\n\n"
        )
        return 0
    with server(programs) as url:
        return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
