"""The life of a gateway: what stops a start, what a stop leaves, what a crash costs."""

import signal
import time

import pytest

from tests.conftest import MakeGateway
from tests.gateway.process import Gateway, eventually

pytestmark = pytest.mark.processes

WEB = "hermes_site.gateway.web"
WORKER = "hermes_site.gateway.worker"


@pytest.mark.both_databases
def test_a_stop_by_sigterm_is_clean_and_leaves_no_process(gateway: Gateway) -> None:
    assert gateway.stop() == 0
    assert gateway.pids() == []


def test_a_stop_by_ctrl_c_is_clean_and_leaves_no_process(gateway: Gateway) -> None:
    assert gateway.process
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.wait_ended() == 0
    assert gateway.pids() == []


def test_it_starts_again_at_once_after_a_stop(gateway: Gateway) -> None:
    gateway.stop()
    gateway.start().wait_healthy()


def test_a_killed_supervisor_leaves_no_process(gateway: Gateway) -> None:
    assert gateway.process
    gateway.process.kill()
    eventually(lambda: not gateway.pids(), 5, "the end of the children")
    gateway.process.wait()
    gateway.start().wait_healthy()


@pytest.mark.parametrize("which", [0, -1], ids=["granian", "its worker"])
def test_a_killed_web_server_is_started_again(gateway: Gateway, which: int) -> None:
    before = set(gateway.pids(WEB))
    gateway.kill(sorted(before)[which])
    eventually(lambda: not before & set(gateway.pids(WEB)), 10, "the end of the old one")
    eventually(gateway.is_up, 15, "a new web server")
    assert "web ended" in gateway.log


def test_a_killed_cluster_is_started_again(gateway: Gateway) -> None:
    before = set(gateway.pids(WORKER))
    gateway.kill(min(before))
    eventually(lambda: set(gateway.pids(WORKER)) - before, 10, "a new cluster")
    assert not before & set(gateway.pids(WORKER))
    eventually(lambda: gateway.silence() < 2, 15, "a runner")


def test_a_cluster_whose_workers_were_killed_runs_again(gateway: Gateway) -> None:
    # A worker that waits for work dies with the lock of the queue, and bare django-q2 would stand
    # still for ever. That it is watched again afterwards: see test_watchdog.
    before = gateway.cluster_workers()
    for pid in before:
        gateway.kill(pid)
    time.sleep(3)
    eventually(lambda: gateway.silence() < 2, 17, "a runner")
    assert not set(before) & set(gateway.cluster_workers())
    assert "Starting worker anew: no lane runner was heard" in gateway.log


def test_an_idle_worker_that_was_killed_does_not_stop_the_sending(gateway: Gateway) -> None:
    at_work = {int(path.stem) for path in (gateway.data / "run").glob("*.wake")}
    for pid in set(gateway.cluster_workers()) - at_work:
        gateway.kill(pid)
    deadline = time.monotonic() + 6  # the watchdog would have noticed by then
    while time.monotonic() < deadline:
        assert gateway.silence() < 3
        time.sleep(0.5)


def test_a_second_gateway_on_the_same_data_is_refused(gateway: Gateway) -> None:
    assert gateway.process
    second = gateway.manage("gateway", check=False)
    assert second.returncode == 1
    assert f"A gateway already runs on {gateway.data} (process {gateway.process.pid})" in (
        second.stderr
    )
    assert gateway.is_up()


def test_a_port_in_use_stops_the_start(gateway: Gateway, make_gateway: MakeGateway) -> None:
    other = make_gateway(WEBHOOK_PORT=gateway.port).manage("gateway", check=False)
    assert other.returncode == 1
    assert f"Port {gateway.port} is in use" in other.stderr


@pytest.mark.both_databases
def test_missing_migrations_stop_the_start(make_gateway: MakeGateway) -> None:
    behind = make_gateway()
    behind.manage("migrate", "django_q", "zero")
    refused = behind.manage("gateway", check=False)
    assert refused.returncode == 1
    assert "The database is behind: django_q.0001_initial" in refused.stderr
    assert "manage.py migrate" in refused.stderr

    behind.start("--migrate").wait_healthy()


def test_a_database_that_is_away_stops_the_start(make_gateway: MakeGateway) -> None:
    away = make_gateway(DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")
    refused = away.manage("gateway", check=False)
    assert refused.returncode == 1
    assert "The database can't be reached" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_uncollected_static_files_stop_the_start(make_gateway: MakeGateway) -> None:
    bare = make_gateway()
    (bare.data / "static/staticfiles.json").unlink()
    refused = bare.manage("gateway", check=False)
    assert refused.returncode == 1
    assert "manage.py setup" in refused.stderr


def test_a_route_without_a_secret_stops_the_start_by_name(make_gateway: MakeGateway) -> None:
    unsafe = make_gateway(WEBHOOK_SECRET="")
    unsafe.python("from routes.models import Route; Route.objects.create(name='no-secret')")
    refused = unsafe.manage("gateway", check=False)
    assert refused.returncode == 1
    assert "no-secret" in refused.stderr


def test_a_web_server_that_can_not_start_ends_the_start(make_gateway: MakeGateway) -> None:
    broken = make_gateway()
    (broken.data / "uvloop.py").write_text("raise ImportError('broken for this test')")
    broken.settings["PYTHONPATH"] = str(broken.data)
    broken.start()
    assert broken.wait_ended(60) == 1
    assert "web could not start" in broken.log
    assert "uvloop" in broken.log
    assert broken.pids() == []


def test_every_line_of_the_log_says_where_it_comes_from(gateway: Gateway) -> None:
    gateway.kill(min(gateway.cluster_workers()))
    eventually(lambda: "reincarnated" in gateway.log, 10, "a word from the cluster")
    gateway.stop()
    origins = {line.partition(" | ")[0].strip() for line in gateway.log.splitlines()}
    assert origins <= {"gateway", "web", "worker"}
