"""A real gateway with real processes, on a data folder, a database and a port of its own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import environ
import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent.parent
LOGIN = "admin"

T = TypeVar("T")


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        port: int = attempt.getsockname()[1]
        return port


def eventually(check: Callable[[], T], seconds: float, what: str) -> T:
    """Return the first truthy answer of ``check``; fail with ``what`` after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


class Gateway:
    """One installation: `start` it, talk to `url`, `kill` parts of it, `stop` it.

    ``prepared`` is an installation that `setup` was run on, to copy; without it, run `setup`.
    Further keywords are settings. What it prints is in `log`.
    """

    def __init__(
        self, data: Path, prepared: "Gateway | None" = None, **settings: str | int
    ) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.password = prepared.password if prepared else ""
        self.process: subprocess.Popen[bytes] | None = None
        self._database = Database.beside(os.environ.get("DATABASE_URL"), prepared)
        if prepared:
            shutil.copytree(prepared.data, data, dirs_exist_ok=True)
            (data / "gateway.log").unlink(missing_ok=True)
        data.mkdir(parents=True, exist_ok=True)
        self.settings = {
            "HERMES_DATA_DIR": str(data),
            "HERMES_ENV_FILE": os.devnull,
            "WEBHOOK_ENABLED": "true",
            "WEBHOOK_HOST": "127.0.0.1",
            "WEBHOOK_PORT": str(self.port),
            "WEBHOOK_SECRET": "the secret of every route in this test",
            "PUBLIC_URL": self.url,
            "DATABASE_URL": self._database.url or f"sqlite:///{data / 'hermes.sqlite3'}",
            **{name: str(value) for name, value in settings.items()},
        }

    @property
    def env(self) -> dict[str, str]:
        """The environment of every process of this installation."""
        ours = {"DJANGO_SETTINGS_MODULE": "hermes_site.settings", **self.settings}
        return {**os.environ, **ours}

    @property
    def log(self) -> str:
        """Everything the gateway has printed so far."""
        path = self.data / "gateway.log"
        return path.read_text() if path.exists() else ""

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments}: {done.stdout}{done.stderr}")
        return done

    def python(self, code: str) -> Any:
        """Run code in this installation and return what it leaves in ``result`` (JSON)."""
        marker = uuid.uuid4().hex
        ending = (
            "\nimport json as _json, sys as _sys\n"
            f"_sys.stdout.write('{marker}' + _json.dumps(globals().get('result'), default=str))"
        )
        return json.loads(self.manage("shell", "-c", code + ending).stdout.split(marker)[1])

    def setup(self) -> None:
        """Run `setup` and remember the password of the admin."""
        printed = self.manage("setup").stdout
        found = re.search(r"Password +(\S+)", printed)
        if found:
            self.password = found[1]

    def start(self, *arguments: str) -> "Gateway":
        """Start the gateway in the background."""
        with (self.data / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "gateway", *arguments],
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def wait_healthy(self, seconds: float = 60) -> "Gateway":
        """Wait until the web server answers and a lane runner beats."""
        self._wait(self.is_up, seconds, "GET /health")
        self._wait(lambda: self.silence() < 3, seconds, "a runner's heartbeat")
        return self

    def is_up(self) -> bool:
        """Return whether the web server says that all is well."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as reply:
                body: dict[str, str] = json.load(reply)
                return body == {"status": "ok", "platform": "webhook"}
        except OSError:
            return False

    def post(
        self, path: str, body: bytes, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Post to the gateway; return status and JSON."""
        request = urllib.request.Request(
            self.url + path, body, {"Content-Type": "application/json", **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)

    def silence(self) -> float:
        """Return how many seconds ago the most silent runner beat; infinite when none ever did."""
        ages = self.query(
            "SELECT EXTRACT(EPOCH FROM now() - beat_at) FROM deliveries_runner"
            if self._database.url
            else "SELECT (julianday('now') - julianday(beat_at)) * 86400 FROM deliveries_runner"
        )
        return max((float(age) for (age,) in ages), default=float("inf"))

    def query(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Read from the database past Django, as nobody in the gateway would notice."""
        if self._database.url:
            with psycopg.connect(self._database.url) as postgres:
                return postgres.execute(statement.replace("?", "%s"), parameters).fetchall()  # type: ignore[arg-type]
        import sqlite3

        sqlite = sqlite3.connect(f"file:{self.data / 'hermes.sqlite3'}?mode=ro", uri=True)
        try:
            return sqlite.execute(statement, parameters).fetchall()
        finally:
            sqlite.close()

    def pids(self, part: str = "") -> list[int]:
        """Return the processes of this installation whose command line holds ``part``.

        Found by their environment, so that orphans are found, too.
        """
        return [pid for pid, command in self._processes() if part in command]

    def cluster_workers(self) -> list[int]:
        """Return the processes at the leaves of the cluster: workers, monitor and pusher."""
        family = set(self.pids("hermes_site.gateway.worker"))
        parents = {pid: _parent(pid) for pid in family}
        return sorted(pid for pid in family if pid not in parents.values())

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send a signal, by default the one that nobody can catch."""
        os.kill(pid, number)

    def wait_ended(self, seconds: float = 20) -> int:
        """Wait until the supervisor has ended; return its exit code."""
        assert self.process
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.log}") from None

    def stop(self, seconds: float = 20) -> int:
        """Send SIGTERM; return the exit code."""
        assert self.process
        self.process.terminate()
        return self.wait_ended(seconds)

    def clean_up(self) -> None:
        """End whatever is left, and drop the database."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        eventually(lambda: not self.pids(), 5, "the end of all processes")
        self._database.drop()

    def _wait(self, check: Callable[[], bool], seconds: float, what: str) -> None:
        def checked() -> bool:
            if self.process and self.process.poll() is not None:
                raise AssertionError(f"the gateway ended before {what}:\n{self.log}")
            return check()

        try:
            eventually(checked, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def _processes(self) -> Iterator[tuple[int, str]]:
        mark = f"HERMES_DATA_DIR={self.data}".encode()
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    yield int(folder.name), command.decode()
            except OSError:
                continue  # gone meanwhile, or a zombie


class Database:
    """The PostgreSQL database of one installation; none of its own on SQLite (``url`` empty)."""

    def __init__(self, server: str, name: str) -> None:
        self._server = server
        self.name = name
        self.url = environ.urlparse(server)._replace(path=f"/{name}").geturl() if server else ""

    @classmethod
    def beside(cls, server: str | None, prepared: Gateway | None) -> "Database":
        """Create a database on the server the suite runs on, as a copy of the prepared one."""
        if not (server or "").startswith("postgres"):
            return cls("", "")
        database = cls(server or "", f"hermes_{uuid.uuid4().hex[:12]}")
        template = prepared._database.name if prepared else "template1"
        database._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(database.name), sql.Identifier(template)
            )
        )
        return database

    def drop(self) -> None:
        """Drop the database, whoever may still be connected."""
        if self.url:
            self._execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name))
            )

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement)


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
