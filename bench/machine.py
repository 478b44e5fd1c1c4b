"""Servers under measurement: started on one core, watched, stopped; the bench runs on the other."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, BENCH_CORE = 0, 1
POSTGRES_FOLDERS = ("/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/16/bin",
                    "/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/14/bin")  # fmt: skip


def pin(core: int) -> None:
    """Keep this process on one core, where there is more than one."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def unpin() -> None:
    """Let this process run on every core again: PostgreSQL runs where it likes."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass(slots=True)
class Server:
    """A running server process and all its children."""

    process: subprocess.Popen[bytes]
    port: int

    def tree(self) -> list[int]:
        """Return the process ids of the server and everything below it."""
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            if children.exists():
                found += [int(child) for child in children.read_text().split()]
        return found

    def cpu_seconds(self) -> float:
        """Return the processor time of the tree so far."""
        total = 0
        for pid in self.tree():
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Return the proportional set size of the tree: shared pages count once."""
        total = 0
        for pid in self.tree():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.split("Pss:")[1].split()[0])
        return total / 1024


@contextmanager
def serving(
    command: Sequence[str], env: Mapping[str, str], port: int, *, core: int | None = SERVER_CORE
) -> Iterator[Server]:
    """Run a server until the block ends; it is ready when it takes connections."""
    log = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=None if core is None else lambda: pin(core),
    )
    try:
        _wait_for(port, process, log)
        yield Server(process, port)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: object) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return
        except URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                return  # it answers, if only with an error
        except OSError:
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    log.seek(0)  # type: ignore[attr-defined]
    raise SystemExit("the server did not start:\n" + log.read().decode())  # type: ignore[attr-defined]


def manage(env: Mapping[str, str], *arguments: str) -> str:
    """Run a management command and return what it printed."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"manage.py {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """Give a DATABASE_URL: a file in the folder, or a PostgreSQL server of our own."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'bench.sqlite3'}"
        return
    binaries = next((p for p in POSTGRES_FOLDERS if Path(p, "initdb").exists()), None)
    if binaries is None:
        raise SystemExit("PostgreSQL's binaries are not on this machine.")
    data = Path(tempfile.mkdtemp(prefix="hermes-bench-pg-"))
    port = free_port()
    run = _as_postgres(data)
    subprocess.run([*run, f"{binaries}/initdb", "-D", f"{data}/db", "-A", "trust", "-U", "bench"],
                   check=True, capture_output=True)  # fmt: skip
    server = subprocess.Popen(
        [*run, f"{binaries}/postgres", "-D", f"{data}/db", "-p", str(port), "-k", str(data),
         "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=256MB"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=unpin,
    )  # fmt: skip
    try:
        url = f"postgres://bench@127.0.0.1:{port}/postgres"
        _wait_for_postgres(url)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(data, ignore_errors=True)


def _as_postgres(data: Path) -> list[str]:
    """Return the words that run a program as somebody PostgreSQL accepts: not as root."""
    if os.getuid():
        return []
    shutil.chown(data, "postgres", "postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _wait_for_postgres(url: str) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
