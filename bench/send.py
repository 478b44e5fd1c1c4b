"""Sending, side by side: the lane runner inside a qcluster, and one tuned task per attempt.

    python -m bench.send [--database sqlite|postgresql] [--rounds 3] [--deliveries 2000]

The cluster runs on core 0, fifty endpoints on addresses of their own on core 1. Attempts are
durable in both. Then: what black holes do to the others, how soon a first attempt starts, how
punctual the rungs are. At the end every delivery is looked up at its receiver.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import machine
from bench.receiver import ENDPOINTS

SETUP = """
from agents.models import Agent, AgentSecret
for n in range(1, {endpoints} + 1):
    agent = Agent.objects.create(name=f"agent-{{n}}", connection_mode="webhook",
        webhook_url=f"http://127.0.1.{{n}}:{port}/hook", connection_status="ready", concurrency=4)
    AgentSecret.objects.create(agent=agent, value="bench-secret-of-32-bytes-at-least")
"""

FILL = """
from bench.usual.fill import fill
fill({count}, tasks={tasks})
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deliveries", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=12.0)
    options = parser.parse_args()
    machine.pin(machine.BENCH_CORE)
    with ExitStack() as stack:
        bench = Bench(stack, options.database)
        lanes, tasks = [], []
        for _ in range(options.rounds):
            lanes.append(bench.throughput(options.deliveries, tasks=False))
            tasks.append(bench.throughput(options.deliveries // 4, tasks=True))
        rate, baseline = statistics.median(lanes), statistics.median(tasks)
        print(f"lane runner   {rate:8.0f} deliveries/s   {[round(x) for x in lanes]}")
        print(f"tuned tasks   {baseline:8.0f} deliveries/s   {[round(x) for x in tasks]}")
        print(f"lane runner : tuned tasks = {rate / baseline:.2f}")
        healthy = bench.latencies(0, options.seconds)
        holes = bench.latencies(ENDPOINTS // 10, options.seconds)
        print(f"healthy, none dead       p50 {healthy[0]:6.1f} ms   p99 {healthy[1]:6.1f} ms")
        print(f"healthy, 1 in 10 dead    p50 {holes[0]:6.1f} ms   p99 {holes[1]:6.1f} ms")
        print(f"p99 with black holes : without = {holes[1] / healthy[1]:.2f}")
        print(bench.punctuality())
        print(bench.account())


class Bench:
    """A database, its endpoints, and clusters that come and go."""

    def __init__(self, stack: ExitStack, kind: str) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-bench-")))
        self.folder, self.port = folder, machine.free_port()
        self.report = folder / "arrivals"
        self.report.touch()
        self.env = {
            "HERMES_DATA_DIR": str(folder),
            "HERMES_ENV_FILE": os.devnull,
            "DATABASE_URL": stack.enter_context(machine.database(kind, folder)),
            "OUTBOUND_ALLOW_PRIVATE": "true",
            "WEBHOOK_ENABLED": "true",
            "LOG_LEVEL": "ERROR",
        }
        machine.manage(self.env, "migrate", "-v0")
        setup = SETUP.format(endpoints=ENDPOINTS, port=self.port)
        machine.manage(self.env, "shell", "-c", setup)

    @contextmanager
    def endpoints(self, dead: int) -> Iterator[None]:
        """Run the receivers."""
        command = [sys.executable, "-m", "bench.receiver"]
        process = subprocess.Popen(
            [*command, str(self.port), str(self.report), str(dead)],
            cwd=machine.ROOT,
            preexec_fn=lambda: machine.pin(machine.BENCH_CORE),
        )
        time.sleep(1)
        try:
            yield
        finally:
            time.sleep(0.3)
            process.terminate()
            process.wait()

    @contextmanager
    def cluster(self, settings: str = "hermes_site.settings") -> Iterator[None]:
        """Run a qcluster on core 0, with a lane runner where the settings are Hermes' own."""
        env = {**os.environ, **self.env, "DJANGO_SETTINGS_MODULE": settings}
        if settings == "hermes_site.settings":
            self.shell(
                "from deliveries.models import Runner; Runner.objects.all().delete(); "
                "from deliveries.tasks import ensure_runners; ensure_runners()"
            )
        process = subprocess.Popen(
            [sys.executable, "manage.py", "qcluster"],
            cwd=machine.ROOT,
            env=env,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: machine.pin(machine.SERVER_CORE),
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.shell("from django_q.models import OrmQ; OrmQ.objects.all().delete()")

    def shell(self, code: str) -> str:
        """Run code in a shell of Hermes."""
        return machine.manage(self.env, "shell", "--no-imports", "-c", code)

    def arrivals(self) -> list[tuple[int, float, str]]:
        """Return what arrived so far: endpoint, unix time, delivery id."""
        rows = [line.split() for line in self.report.read_text().splitlines()]
        return [(int(row[0]), float(row[1]), row[2]) for row in rows]

    def throughput(self, count: int, *, tasks: bool) -> float:
        """Return deliveries a second for a backlog, from the first arrival to the last."""
        before = len(self.arrivals())
        self.shell(FILL.format(count=count, tasks=tasks))
        settings = "bench.usual.cluster" if tasks else "hermes_site.settings"
        with self.endpoints(0), self.cluster(settings):
            deadline = time.monotonic() + 90
            while len(self.arrivals()) - before < count and time.monotonic() < deadline:
                time.sleep(0.2)
            time.sleep(1.5)  # the outcomes of the last ones
        times = sorted(row[1] for row in self.arrivals()[before:])
        if len(times) < count:
            print(f"only {len(times)} of {count} arrived in time")
        return (len(times) - 1) / (times[-1] - times[0])

    def latencies(self, dead: int, seconds: float) -> tuple[float, float]:
        """Return p50 and p99 in milliseconds from record to arrival at healthy endpoints."""
        before = len(self.arrivals())
        with self.endpoints(dead), self.cluster():
            time.sleep(4)
            created = dict(
                line.split()
                for line in self.shell(
                    f"from bench.usual.fill import trickle; trickle({seconds}, rate=100)"
                ).splitlines()
                if len(line.split()) == 2
            )
            time.sleep(2)
        waits = [
            1000 * (at - float(created[delivery]))
            for endpoint, at, delivery in self.arrivals()[before:]
            if endpoint > dead and delivery in created
        ]
        self.shell(
            "from deliveries.models import Delivery, Lane; "
            "Delivery.objects.filter(status='pending').update(status='failed', pending_lane=None, "
            "next_attempt_at=None, claim=None, error_class='bench'); "
            "Lane.objects.filter(kind='agent').exclude(label='default').update("
            "state='open', failures=0, ease=0)"
        )
        waits.sort()
        return statistics.median(waits), waits[int(0.99 * len(waits))]

    def punctuality(self) -> str:
        """Return how late rungs start, and how soon first attempts do, in milliseconds."""
        with self.endpoints(0), self.cluster():
            time.sleep(4)
            return self.shell(
                "from bench.usual.fill import punctuality; print(punctuality())"
            ).splitlines()[-1]

    def account(self) -> str:
        """Return what became of every delivery, by the ledger and by the receivers."""
        seen: dict[str, int] = {}
        for _endpoint, _at, delivery in self.arrivals():
            seen[delivery] = seen.get(delivery, 0) + 1
        delivered = set(
            self.shell(
                "from deliveries.models import Delivery; [print(pk) for pk in "
                "Delivery.objects.filter(status='delivered').values_list('pk', flat=True)]"
            ).split()
        )
        lost = [pk for pk in delivered if pk not in seen]
        twice = [pk for pk in delivered if seen.get(pk, 0) > 1]
        return f"delivered {len(delivered)}, not seen by a receiver {len(lost)}, twice {len(twice)}"


if __name__ == "__main__":
    main()
