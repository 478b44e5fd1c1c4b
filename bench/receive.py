"""Receiving, side by side: Hermes, an in-memory receiver that keeps nothing, the usual view.

    python -m bench.receive [--database sqlite|postgresql] [--rounds 5] [--seconds 4]

Every server runs on core 0, one after the other in interleaved rounds; the load comes from core 1
(PostgreSQL runs where it likes). A signed GitHub body of 8 kB, 32 connections. Hermes writes event
and delivery durably before it answers; afterwards every accepted id is looked up in the ledger.
"""

import argparse
import hashlib
import hmac
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import machine
from bench.load import Load, Report, run

SECRET = "bench-secret"
BODY = (machine.ROOT / "bench" / "pull_request.json").read_bytes()
PROMPT = (
    "Review this pull request:\nRepository: {repository.full_name}\n"
    "PR #{number}: {pull_request.title}\nAuthor: {pull_request.user.login}\n"
    "URL: {pull_request.html_url}\nDiff URL: {pull_request.diff_url}\nAction: {action}\n"
)
GRANIAN = [
    sys.executable, "-m", "granian", "--workers", "1", "--http", "1", "--loop", "uvloop",
    "--host", "127.0.0.1", "--no-ws", "--log-level", "warning",
]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default="", help="one of hermes, memory, usual")
    options = parser.parse_args()
    machine.pin(machine.BENCH_CORE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-bench-")))
        env = {
            "HERMES_DATA_DIR": str(folder),
            "HERMES_ENV_FILE": "/dev/null",
            "HERMES_HOME": "",
            "DATABASE_URL": stack.enter_context(machine.database(options.database, folder)),
            "WEBHOOK_ENABLED": "true",
            "WEBHOOK_SECRET": SECRET,
            "LOG_LEVEL": "WARNING",
        }
        machine.manage(env, "migrate", "-v0")
        machine.manage(env, "shell", "-c", SETUP.format(secret=SECRET, prompt=PROMPT))
        servers = {}
        for name, command in COMMANDS.items():
            if options.only in ("", name):
                port = machine.free_port()
                servers[name] = stack.enter_context(
                    machine.serving([*command, *_port(name, port)], env, port)
                )
        reports = _measure(servers, options.rounds, options.seconds)
        _print(servers, reports)
        _account(env, [i for report, _cpu in reports.get("hermes", []) for i in report.accepted])


SETUP = """
from agents.models import Agent
from routes.models import Route, RouteSecret
agent, _ = Agent.objects.get_or_create(name="bench")
route = Route.objects.create(
    name="bench", preset="github", events=["pull_request"], prompt={prompt!r}, agent=agent,
    deliver="log", deliver_extra={{"repo": "{{repository.full_name}}", "pr_number": "{{number}}"}},
    rate_limit=10_000_000,
)
RouteSecret.objects.create(route=route, value={secret!r})
"""

COMMANDS = {
    "memory": [sys.executable, "-m", "bench.reference"],
    # As the gateway starts it.
    "hermes": [sys.executable, "-m", "hermes_site.gateway.web", str(os.getpid()), "127.0.0.1"],
    "usual": [*GRANIAN, "--interface", "wsgi", "--blocking-threads", "1",
              "bench.usual.application:application"],
}  # fmt: skip


def _port(name: str, port: int) -> list[str]:
    return ["--port", str(port)] if name == "usual" else [str(port)]


def _measure(
    servers: dict[str, machine.Server], rounds: int, seconds: float
) -> dict[str, list[tuple[Report, float]]]:
    reports: dict[str, list[tuple[Report, float]]] = {name: [] for name in servers}
    for number in range(rounds + 1):
        for name, server in servers.items():
            before = server.cpu_seconds()
            report = run(_load(server.port, seconds if number else 1.0))
            if number:  # the first round warms up
                reports[name].append((report, server.cpu_seconds() - before))
    return reports


def _load(port: int, seconds: float) -> Load:
    signature = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/bench",
        "X-GitHub-Event": "pull_request",
        "X-Hub-Signature-256": f"sha256={signature}",
    }
    return Load(port, "/webhooks/bench", BODY, headers, seconds=seconds)


def _print(
    servers: dict[str, machine.Server], reports: dict[str, list[tuple[Report, float]]]
) -> None:
    print(f"{'':10}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}{'PSS MB':>9}  statuses")
    speed = {}
    for name, rows in reports.items():
        speed[name] = statistics.median(report.per_second for report, _ in rows)
        p50 = statistics.median(report.percentile(0.50) for report, _ in rows)
        p99 = statistics.median(report.percentile(0.99) for report, _ in rows)
        cpu = statistics.median(1e6 * used / max(1, sum(r.statuses.values())) for r, used in rows)
        statuses: dict[int, int] = {}
        for report, _ in rows:
            for status, count in report.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
        memory = servers[name].memory_mb()
        print(f"{name:10}{speed[name]:9.0f}{p50:9.2f}{p99:9.2f}{cpu:9.0f}{memory:9.0f}  {statuses}")
    for other in ("memory", "usual"):
        if "hermes" in speed and other in speed:
            print(f"hermes : {other} = {speed['hermes'] / speed[other]:.2f}")


def _account(env: dict[str, str], accepted: list[str]) -> None:
    """Look every accepted id up in the ledger."""
    if not accepted:
        return
    stored = json.loads(
        machine.manage(
            env,
            "shell",
            "-c",
            "import json; from deliveries.models import Delivery, Event; "
            "rows = dict(Event.objects.filter(source='route').values_list('id', 'dedupe_key')); "
            "have = set(map(str, Delivery.objects.values_list('event_id', flat=True))); "
            "print(json.dumps([k for i, k in rows.items() if str(i) in have]))",
        ).splitlines()[-1]
    )
    missing = set(accepted) - set(stored)
    twice = len(stored) - len(set(stored))
    print(f"accepted {len(accepted)}, lost {len(missing)}, stored twice {twice}")


if __name__ == "__main__":
    main()
