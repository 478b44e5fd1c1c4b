"""The doctor, on the command line and as the System page."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from agents.models import Agent
from deliveries.models import Runner
from hermes_site import doctor, surroundings
from hermes_site.findings import Finding, Level
from hermes_site.models import AlertSettings, Tally
from platforms.models import Channel
from tests.admin.rows import a_delivery
from vault import keyring

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.site.urls")]


class Health(BaseHTTPRequestHandler):
    """Answers /health as a gateway does, or as somebody else would."""

    status = 200
    body = b'{"status": "ok", "platform": "webhook"}'
    behind = timedelta()

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        now = (timezone.now() - self.behind).timestamp()
        return super().date_time_string(now)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve(settings: Any) -> Iterator[Callable[..., None]]:
    """A function that lets something answer where the gateway should."""
    servers = []

    def start(**as_: Any) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Other", (Health,), as_))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        settings.WEBHOOK_HOST, settings.WEBHOOK_PORT = "0.0.0.0", server.server_address[1]
        settings.PUBLIC_URL = f"http://127.0.0.1:{settings.WEBHOOK_PORT}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def well(serve: Callable[..., None], runner: Runner, settings: Any) -> None:
    """A gateway that runs and answers."""
    serve()
    settings.ALLOWED_HOSTS = ["127.0.0.1", "testserver"]


def of(area: str, *, clock: bool = False) -> list[tuple[str, str]]:
    """Return what is found of an area: level and sentence."""
    found = [(str(one.level), one.said) for one in doctor.examine(clock=clock) if one.area == area]
    assert found
    return found


def command(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("doctor", *arguments, stdout=out, no_color=True)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_a_gateway_that_is_well_fails_nowhere_and_exits_0(well: None) -> None:
    code, said = command()
    assert code == 0
    assert "fail" not in said
    assert "ok    worker: The lane runners are alive" in said


def test_something_that_fails_exits_1_and_says_the_way_out(well: None) -> None:
    Runner.objects.all().delete()
    code, said = command()
    assert code == 1
    assert "fail  worker: No lane runner is alive: nothing is sent.\n      Start `manage.py" in said


def test_a_warning_does_not_fail(well: None, channel: Channel) -> None:
    Channel.objects.update(health="needs_attention", health_reason="401.")
    code, said = command()
    assert code == 0
    assert "warn  channels: team-chat needs attention: 401." in said


def test_json_is_a_list_of_objects(well: None) -> None:
    _code, said = command("--json")
    found = json.loads(said)
    assert {"area", "level", "said", "way_out"} == set(found[0])
    assert {one["level"] for one in found} <= {"ok", "warn", "fail"}


def test_every_examination_has_something_to_say(well: None) -> None:
    areas = {one.area for one in doctor.examine()}
    assert len(areas) == len(doctor.EXAMINATIONS) + 1


def test_an_examination_that_stumbles_is_a_finding_without_its_text(
    well: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumbles() -> Any:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(doctor, "EXAMINATIONS", (("odd", stumbles), ("agents", doctor.agents)))
    found = doctor.examine()
    assert found[0].level is Level.FAIL
    assert "RuntimeError" in found[0].said
    assert "hunter2" not in str(found)
    assert found[1].level is Level.OK


def test_the_write_leaves_nothing_behind(well: None) -> None:
    assert of("database")[-1][0] == "ok"
    assert not Tally.objects.exists()


def test_a_runner_that_is_silent_fails_with_its_age(well: None) -> None:
    Runner.objects.update(beat_at=timezone.now() - timedelta(seconds=75))
    assert of("worker") == [("fail", "A lane runner has not been heard for 75 s.")]


def test_nobody_on_the_port_fails(settings: Any, well: None) -> None:
    settings.WEBHOOK_PORT = 1
    [(level, said)] = of("web")
    assert level == "fail"
    assert said == "Nothing answers on 127.0.0.1:1 (ConnectionRefusedError)."


@pytest.mark.parametrize(
    "as_", [{"body": b"<html>"}, {"body": b"{}"}, {"body": b"[1]"}, {"status": 404}]
)
def test_another_program_on_the_port_fails(
    serve: Callable[..., None], runner: Runner, as_: dict[str, Any]
) -> None:
    serve(**as_)
    [(level, said)] = of("web")
    assert level == "fail"
    assert said.startswith("Something else than Hermes answers on 127.0.0.1:")
    assert of("public address")[-1][0] == "fail"


def test_a_loopback_address_is_said_to_be_reached_from_here_alone(well: None) -> None:
    assert [level for level, _said in of("public address")] == ["warn", "ok"]


@pytest.mark.parametrize(
    ("behind", "level"),
    [(timedelta(), "ok"), (timedelta(seconds=20), "warn"), (timedelta(minutes=3), "fail")],
)
def test_the_clock_is_compared_with_the_public_address_when_asked(
    serve: Callable[..., None], runner: Runner, behind: timedelta, level: str
) -> None:
    serve(behind=behind)
    assert len(of("public address")) == 2
    assert of("public address", clock=True)[-1][0] == level


def test_a_heartbeat_from_the_future_is_said(well: None) -> None:
    Runner.objects.update(beat_at=timezone.now() + timedelta(minutes=2))
    assert of("clock")[-1][0] == "warn"


def env_file(path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)
    monkeypatch.setenv("HERMES_ENV_FILE", str(path))


def findings(lines: Any) -> list[tuple[str, str]]:
    return [(str(level), f"{said} {way_out}".strip()) for level, said, way_out in lines]


def test_a_settings_file_that_others_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file(tmp_path / "e", monkeypatch, "WEBHOOK_PORT=1\n", 0o644)
    [(level, said)] = findings(surroundings.settings_file())
    assert level == "warn"
    assert f"chmod 600 {tmp_path / 'e'}" in said


@pytest.mark.parametrize(
    ("line", "meant"),
    [("WEBHOOK_SECERT=x", "WEBHOOK_SECRET"), ("export WEBHOOK_PORTS=1", "WEBHOOK_PORT")],
)
def test_a_name_that_is_nearly_a_setting_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, meant: str
) -> None:
    env_file(tmp_path / "e", monkeypatch, f"{line}\n")
    [(level, said)] = findings(surroundings.settings_file())
    assert level == "warn"
    assert f"Perhaps {meant} is meant." in said


@pytest.mark.parametrize(
    "line", ["WEBHOOK_SECRET_FILE=/run/secret", "GH_TOKEN=x", "# WEBHOOK_SECERT=x", "TZ=UTC"]
)
def test_other_names_may_stand_in_a_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    env_file(tmp_path / "e", monkeypatch, f"{line}\n")
    [(level, _said)] = findings(surroundings.settings_file())
    assert level == "ok"


def test_a_settings_file_that_can_not_be_read_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "e").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("HERMES_ENV_FILE", str(tmp_path / "e"))
    assert findings(surroundings.settings_file())[0][0] == "fail"


def test_without_a_settings_file_the_environment_says_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERMES_ENV_FILE", str(tmp_path / "none"))
    assert findings(surroundings.settings_file())[0][0] == "ok"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"WEBHOOK_SECRET": "short"}, "fewer than 16 characters"),
        ({"DEBUG": True}, "DEBUG is on"),
        ({"PUBLIC_URL": "https://hermes.example.com"}, "HTTPS_ONLY=true"),
    ],
)
def test_what_stands_open_is_said_without_the_secret(
    settings: Any, changes: dict[str, Any], said: str
) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    [(level, words)] = findings(surroundings.secrets())
    assert level == "warn"
    assert said in words
    assert "short" not in words


@pytest.mark.parametrize(
    ("free", "level"), [(50 * 1024**3, "ok"), (1024**3, "warn"), (1024**2, "fail")]
)
def test_little_room_on_the_disk_is_said(
    monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    monkeypatch.setattr(
        surroundings.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": free})
    )
    assert findings(surroundings.disk())[0][0] == level


def test_a_data_folder_that_is_not_there_fails(settings: Any, tmp_path: Path) -> None:
    settings.HERMES_DATA_DIR = tmp_path / "gone"
    assert findings(surroundings.disk())[0][0] == "fail"


def test_another_vault_key_fails(well: None, settings: Any) -> None:
    settings.VAULT_KEYS = ["T0hlVGhpc0lzQW5vdGhlcktleU9mMzJCeXRlc19fX18="]
    keyring._cached = None
    [(level, said)] = of("vault key")
    assert level == "fail"
    assert "can't be opened" in said


def test_an_unreachable_agent_and_one_that_is_waited_for_are_said(
    well: None, unreachable: Agent
) -> None:
    waited_for = Agent.objects.get(is_default=True)
    a_delivery(waited_for.lane_id, "pending")
    found = of("agents")
    assert [level for level, _said in found] == ["warn", "warn"]
    assert found[0][1].startswith("DemoBot is unreachable since")
    assert found[1][1] == f"{waited_for.name} is offline, and deliveries wait for it."


def test_alerts_that_reach_nobody_are_said(well: None, told: AlertSettings) -> None:
    assert of("alerts") == [("ok", "Incidents are told on ops.")]
    Channel.objects.filter(pk=told.channel_id).update(enabled=False)
    assert of("alerts")[0][0] == "warn"


def test_the_worst_of_nothing_is_well() -> None:
    assert doctor.worst([]) is Level.OK
    both = [Finding("a", Level.WARN, "x"), Finding("b", Level.OK, "y")]
    assert doctor.worst(both) is Level.WARN


def test_the_system_page_shows_what_the_doctor_found_the_worst_first(
    well: None, operator: Client
) -> None:
    Runner.objects.all().delete()
    answer = operator.get("/admin/system/")
    shown = answer.content.decode()
    assert "Something does not work" in shown
    assert shown.index("No lane runner is alive") < shown.index("Nothing stands open")
    assert "no-store" in answer["Cache-Control"]


def test_the_system_page_is_for_superusers(person_with: Callable[..., Client]) -> None:
    assert person_with("deliveries.view_delivery").get("/admin/system/").status_code == 403
    answer = Client().get("/admin/system/")
    assert answer.headers["Location"].startswith("/admin/login/")


def test_the_system_page_is_only_looked_at(operator: Client) -> None:
    assert operator.post("/admin/system/").status_code == 405
